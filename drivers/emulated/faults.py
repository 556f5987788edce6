"""Faults on demand: whether an exposure meets one is a function of the settings, the seed and the exposure alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from drivers.microscope import Exposure
from drivers.settings import ChanceFault
from drivers.virtual_slide.seeds import chance

Kind = Literal[
    "dropped_frame", "repeated_frame", "dark_frame", "saturated_frame", "stage_stuck", "stage_busy",
    "preset_missed", "hang", "die", "oil_lost", "lamp_dim", "bubble", "blank",
]  # fmt: skip


class Faults:
    """Says which faults strike, and sees to it that each strikes once an exposure."""

    def __init__(self, faults: Sequence[ChanceFault], seed: int) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._exposure: Exposure | None = None
        self._plane = 0
        self._begun: set[str] = set()
        self._struck: set[Kind] = set()

    def stage(self, exposure: Exposure, state: str, plane: int) -> None:
        """Take in which plane of which polarization comes next."""
        # A focus search exposes several times under the same name: going back in a polarization is another exposure.
        again = plane == 0 and self._plane > 0 and state in self._begun
        if exposure != self._exposure or again:
            self._exposure = exposure
            self._begun.clear()
            self._struck.clear()
        self._begun.add(state)
        self._plane = plane

    def meets(self, kind: Kind) -> bool:
        """Whether the present exposure meets a fault."""
        exposure = self._exposure
        return exposure is not None and any(
            self._hits(fault, exposure, number) for number, fault in enumerate(self._faults) if fault.kind == kind
        )

    def strikes(self, kind: Kind, first_plane: int = 1) -> bool:
        """Whether a fault strikes now: once an exposure, not before `first_plane`."""
        if self._plane < first_plane or kind in self._struck or not self.meets(kind):
            return False
        self._struck.add(kind)
        return True

    def _hits(self, fault: ChanceFault, exposure: Exposure, number: int) -> bool:
        if fault.slide not in (None, exposure.slide):
            return False
        if fault.fields is not None and exposure.field not in fault.fields:
            return False
        if fault.attempts is not None and exposure.attempt >= fault.attempts:
            return False
        where = chance(self._seed, "fault", number, exposure.slide, exposure.field, exposure.attempt)
        return where < fault.probability
