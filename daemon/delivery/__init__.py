"""The night's side of delivery: sends what is secured until the recorder has it.

Face: `sender`.
"""
