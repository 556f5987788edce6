"""Statistics of counts: numbers in, numbers out.

Face: `poisson`.
"""
