"""Bodies of the virtual slide, by group.

Face: `cabinet`, `canvas`, `collection`, `drawer`, `kinds`, `specimen`.
"""
