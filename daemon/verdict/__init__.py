"""How a night stands and what needs a person, in words: one set of sentences for report, page, terminal and alerts.

Face: `afterwards`, `facts`, `verdict`.
"""
