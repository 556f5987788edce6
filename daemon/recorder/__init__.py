"""Listens for nights over ZeroMQ and keeps what they deliver, each record once.

Face: `process`.
"""
