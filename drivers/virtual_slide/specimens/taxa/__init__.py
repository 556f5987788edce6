"""Species of the virtual slide: what light microscopy tells them by, with the spread and the overlap of real ones.

Face: `plan`, `plans`.
"""
