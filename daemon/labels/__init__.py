"""Labels as people handle them: read from tables, written to tables, merged and shown.

Face: `overview`, `rows`, `transfer`.
"""
