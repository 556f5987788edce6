"""Puts objects before a person: those that look like one, those that want a look first.

Face: `look_first`, `similar`.
"""
