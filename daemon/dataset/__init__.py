"""What a recorder keeps, how it is read, and what lies beside it.

Face: `catalog`, `exclusions`, `faults`, `features`, `field_file`, `held`, `labels`, `later_tables`, `objects_table`,
`reader`, `selection`, `standing`, `summary`.
"""
