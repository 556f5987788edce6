"""What a night does, and how it can end."""

from __future__ import annotations

ENDED = ("complete", "not delivered", "stopped", "interrupted", "terminated", "refused")
"""States in which a night has said itself that, and how, it ended."""
