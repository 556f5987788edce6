"""What frames say: focus, shifts, directions, stage positions."""
