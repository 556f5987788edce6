"""The commands, and nothing but commands: what is typed becomes one call into the rooms below.

Face: `app`.
"""
