"""Conducts a night: the way of each field, its focus, its pauses, its children and its end.

Face: `scan`.
"""
