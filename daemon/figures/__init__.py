"""Pixels and numbers as pictures: contact sheets, plots, panels, templates of pages.

Face: `contact_sheet`, `field_picture`, `html`, `panels`, `pixels`, `plots`, `strips`.
"""
