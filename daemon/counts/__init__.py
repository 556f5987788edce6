"""How much is there: tables of counted objects, and which fields are counted at all.

Face: `called`, `excluding`, `objects`, `taxa`, `unlike`.
"""
