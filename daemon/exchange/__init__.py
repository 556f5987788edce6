"""To and from other programs: single objects as pictures and stacks, findings as annotations.

Face: `annotations`, `kept_stacks`, `objects`.
"""
