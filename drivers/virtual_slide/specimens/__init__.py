"""Bodies of the virtual slide, by group."""
