"""The configuration of a night: its model, how it is loaded, the sample sheet.

Face: `loading`, `model`, `samples`.
"""
