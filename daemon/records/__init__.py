"""The words of a night: its records, and the names of the files that hold them.

Face: `attempts`, `counting`, `events`, `faults`, `fields`, `flags`, `names`, `objects`, `records`, `states`.
"""
