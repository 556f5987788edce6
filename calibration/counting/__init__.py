"""Statistics of counts: numbers in, numbers out.

Face: `abundance`, `density`, `dispersion`, `diversity`, `edges`, `poisson`, `replicates`, `shares`, `validated`.
"""
