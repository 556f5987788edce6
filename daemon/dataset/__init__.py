"""What a recorder keeps, how it is read, and what lies beside it.

Face: `catalog`, `faults`, `features`, `field_file`, `held`, `labels`, `later_tables`, `objects_table`, `only_writer`,
`reader`, `selection`, `standing`, `summary`.
"""
