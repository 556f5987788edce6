"""The words of a night: its records, and the names of the files that hold them.

Face: `fields`, `names`, `records`, `states`.
"""
