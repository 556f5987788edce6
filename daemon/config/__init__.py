"""The configuration of a night: its model, how it is loaded, the sample sheet, the taxonomy, the counting rules.

Face: `counting`, `loading`, `model`, `names`, `samples`, `sheets`, `taxonomy`, `taxonomy_sheet`,
`written_sheets`.
"""
