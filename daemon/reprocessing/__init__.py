"""Stacks that lie on disk, analysed, measured or named again: archives, raw stacks, recorded crops.

Face: `analyse`, `archive`, `archive_stacks`, `classify`, `detect`, `look`, `measure`.
"""
