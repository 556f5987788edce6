"""Stacks that lie on disk, analysed or measured again: archives, raw stacks, recorded crops.

Face: `analyse`, `archive`, `archive_stacks`, `detect`, `look`, `measure`.
"""
