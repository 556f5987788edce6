"""Trains, exports and judges detectors for people: the commands' work, and the pages that show it.

Face: `evaluation_page`, `export`, `train`.
"""
