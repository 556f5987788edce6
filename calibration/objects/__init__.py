"""What an object is: outline, length, thickness, mass."""
