"""Which parts of lamelle an instrument needs to be installed."""

from __future__ import annotations

from drivers.settings import Instrument

MICROMANAGER = frozenset({"micromanager", "bridge", "emulated"})
"""Backends that drive a core of Micro-Manager."""


def extras_for(instrument: Instrument) -> tuple[str, ...]:
    """Name the extras without which an instrument cannot be opened."""
    return ("microscope",) if instrument.backend in MICROMANAGER else ()
