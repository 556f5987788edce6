"""How a classifier learns: a network that sees, the head that reads it, and how sure of it one may be.

Face: `few_labels`, `fitting`, `learning`, `settings`, `training`.
"""
