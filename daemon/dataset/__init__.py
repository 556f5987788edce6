"""What a recorder keeps, how it is read, and what lies beside it.

Face: `catalog`, `faults`, `field_file`, `held`, `labels`, `measured_tables`, `objects_table`, `only_writer`, `reader`,
`selection`, `standing`, `summary`.
"""
