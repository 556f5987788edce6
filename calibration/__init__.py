"""Pure functions from pixels and stage units to physical quantities, and the step generators of routines.

Face: `corrections`, `record`, `steps`.
"""
