"""What is worked out before anything moves: the fields, the time, the bytes, whether it can be done.

Face: `check`, `estimate`, `focus_bounds`, `installation`, `plan`, `software`, `specimens`.
"""
