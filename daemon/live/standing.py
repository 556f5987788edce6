"""How a night stands, for whoever asks it."""

from __future__ import annotations

from typing import NamedTuple

from daemon.records.states import NightState


class Standing(NamedTuple):
    """How a night stands, in short."""

    state: NightState
    reason: str
    slide: int | None
    secured: int
    skipped: int
    planned: int

    def sentence(self) -> str:
        """Say it to a person."""
        state = f"{self.state}: {self.reason}" if self.reason else self.state
        where = "" if self.slide is None else f", mini-slide {self.slide}"
        skipped = f", {self.skipped} of them skipped" if self.skipped else ""
        return f"{state}{where}, {self.secured + self.skipped} of {self.planned} fields done{skipped}"
