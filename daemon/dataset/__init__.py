"""What a recorder keeps, how it is read, and what lies beside it.

Face: `catalog`, `faults`, `features`, `field_file`, `held`, `later_tables`, `objects_table`, `only_writer`, `reader`,
`selection`, `summary`, `taxa`.
"""
