"""How a detector learns, and goes on learning after an interruption.

Face: `checkpoint`, `settings`, `train`.
"""
