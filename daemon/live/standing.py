"""How a night stands, for whoever asks it."""

from __future__ import annotations

from typing import NamedTuple

from daemon.records.states import NightState


class Standing(NamedTuple):
    """How a night stands, in short; `headline` says it to a person."""

    headline: str
    state: NightState
    reason: str
    slide: int | None
    secured: int
    skipped: int
    planned: int
