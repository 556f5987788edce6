"""Nights as tables for other programs: fields, samples, counts, objects, and what each of their columns means.

Face: `columns`, `night_tables`, `written`.
"""
