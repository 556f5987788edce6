"""Every message that crosses a process boundary, side by side, with its frames, sockets and keys.

Face: `control`, `delivery`, `keys`, `pipes`, `router`, `sockets`, `watching`.
"""
