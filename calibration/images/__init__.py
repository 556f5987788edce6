"""What frames say: focus, shifts, directions, stage positions, what disturbs them.

Face: `direction`, `disturbances`, `focus`, `frames`, `registration`, `stage`, `states`.
"""
