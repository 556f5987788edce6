"""Trains, exports and judges detectors and classifiers for people: the commands' work, and the pages that show it.

Face: `evaluation_page`, `export`, `names`, `names_library`, `ordinary`, `train`.
"""
