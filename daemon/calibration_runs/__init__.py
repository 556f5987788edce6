"""Carries out the calibration routines on the instrument, and shows what they found.

Face: `listing`, `run`.
"""
