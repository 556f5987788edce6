"""Pixels and numbers as pictures: contact sheets, plots, panels, templates of pages.

Face: `choice`, `composites`, `contact_sheet`, `field_picture`, `html`, `palette`, `panels`, `pixels`, `plots`,
`strips`.
"""
