"""Nights that lie on disk, looked at in the browser: `lamelle view` serves them (docs/view.md).

Face: `afterwards`, `command`.
"""
