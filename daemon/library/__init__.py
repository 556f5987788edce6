"""Libraries of labelled specimens to learn names from: built from pictures and datasets, checked, split.

Face: `build`, `check`, `library`, `mislabelled`, `page`, `pictures`, `places`, `show`, `split`, `table`, `taxa`.
"""
