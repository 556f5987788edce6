"""How much is there: tables of counted objects."""
