"""What a recorder keeps, how it is read, and what lies beside it."""
