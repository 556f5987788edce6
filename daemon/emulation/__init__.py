"""The virtual slide for people and for training: annotated fields, galleries, tables of the truth.

Face: `export`, `gallery`, `specimen_index`, `specimens`.
"""
