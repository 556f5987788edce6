"""How a command that records a dataset ends."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit status of a night, and of the detector over an archive."""

    COMPLETE = 0
    FAULT = 1
    REFUSED = 2
    SKIPPED = 3
    INTERRUPTED = 130
