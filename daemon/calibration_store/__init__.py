"""The shelf of calibration records, and which of them a night uses.

Face: `corrections`, `quantities`, `shelf`.
"""
