"""The morning report: what a dataset says of its night, as an HTML page and a PDF.

Face: `gather`, `morning`, `numbers`, `objects`, `report`, `verdict`, `words`.
"""
