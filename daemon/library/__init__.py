"""Libraries of labelled specimens to learn names from: built from pictures and datasets, checked, split.

Face: `build`, `check`, `library`, `mislabelled`, `page`, `show`, `split`, `taxa`.
"""
