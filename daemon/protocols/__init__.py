"""Every message that crosses a process boundary, side by side, with its frames, sockets and keys."""
