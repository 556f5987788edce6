"""How good a detector is: figures with intervals, and where they break down.

Face: `breakdown`, `figures`.
"""
