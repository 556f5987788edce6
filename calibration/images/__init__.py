"""What frames say: focus, shifts, directions, stage positions.

Face: `direction`, `focus`, `frames`, `registration`, `stage`, `states`.
"""
