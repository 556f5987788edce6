"""What stands under every page that lamelle serves: door, token, guard, connections, and the files all pages share.

Face: `access`, `answers`, `connection`, `gate`, `login`, `morning`, `server`.
"""
