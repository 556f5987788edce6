"""Names objects: what a classifier looks at.

Face: `specimens`.
"""
