"""Tells a person, by mail, chat or push, what a night needs; watches from outside the night's process.

Face: `channels`, `guard`.
"""
