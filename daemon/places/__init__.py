"""Which nights are meant by the folders that a person names.

Face: `nights`.
"""
