"""Pixels and numbers as pictures: contact sheets, plots, panels, templates of pages."""
