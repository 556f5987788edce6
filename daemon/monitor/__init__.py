"""The page in the browser: `lamelle monitor` follows a night and serves what it knows of it (docs/monitor.md).

Face: `command`, `terminal_watch`.
"""
