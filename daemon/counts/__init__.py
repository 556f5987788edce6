"""How much is there: tables of counted objects.

Face: `objects`, `taxa`, `unlike`.
"""
