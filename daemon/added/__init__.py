"""What people add to what a night recorded: rows beside it, never over it, by any number of writers at once.

Face: `store`.
"""
