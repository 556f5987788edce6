"""What the emulated microscope has no fault for: calls of a core, and how they are answered while it lasts."""

from __future__ import annotations

from benchmarks.faults.world import Answering, Tampering

WAYS: dict[str, Tampering] = {}


def refusing(text: str) -> Answering:
    """Answer with an error, as a device's adapter does."""

    def refuse(*_call: object) -> None:
        raise RuntimeError(text)

    return refuse


def ignoring(*_call: object) -> None:
    """Do nothing, and say nothing."""
