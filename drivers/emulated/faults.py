"""Faults on demand: whether an exposure meets one is a function of the settings, the seed and the exposure alone.

Only those that last for seconds go by the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from drivers.microscope import Exposure
from drivers.settings import ChanceFault, FaultKind
from drivers.virtual_slide.seeds import chance


class _Begin(NamedTuple):
    """When a fault that lasts began, and at which exposure since the start."""

    seconds: float
    number: int


class Faults:
    """Says which faults strike, and sees to it that each strikes once an exposure."""

    def __init__(self, faults: Sequence[ChanceFault], seed: int, now: Callable[[], float] = time.monotonic) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._now = now
        self._exposure: Exposure | None = None
        self._number = 0
        self._plane = 0
        self._begun: set[str] = set()
        self._struck: set[FaultKind] = set()
        self._lasting: dict[int, _Begin] = {}

    def stage(self, exposure: Exposure, state: str, plane: int) -> None:
        """Take in which plane of which polarization comes next."""
        # A focus search exposes several times under the same name: going back in a polarization is another exposure.
        again = plane == 0 and self._plane > 0 and state in self._begun
        if exposure != self._exposure or again:
            self._exposure = exposure
            self._number += 1
            self._begun.clear()
            self._struck.clear()
            for number, fault in enumerate(self._faults):
                if fault.lasts and number not in self._lasting and self._hits(fault, exposure, number):
                    self._lasting[number] = _Begin(self._now(), self._number)
        self._begun.add(state)
        self._plane = plane

    def meets(self, kind: FaultKind) -> bool:
        """Whether the present exposure meets a fault, or one lasts."""
        return any(self._met(fault, number) for number, fault in enumerate(self._faults) if fault.kind == kind)

    def lasts(self, kind: FaultKind) -> bool:
        """Whether a fault lasts at present."""
        return any(
            self._met(fault, number) for number, fault in enumerate(self._faults) if fault.kind == kind and fault.lasts
        )

    def holds(self, kind: FaultKind) -> bool:
        """Whether a fault strikes now, as it does once an exposure and until the next one begins, or lasts."""
        return self.lasts(kind) or self.strikes(kind, first_plane=0)

    def _met(self, fault: ChanceFault, number: int) -> bool:
        if not fault.lasts:
            return self._exposure is not None and self._hits(fault, self._exposure, number)
        begin = self._lasting.get(number)
        if begin is None:
            return False
        for since, lasts in (
            (self._now() - begin.seconds, fault.lasts_s),
            (self._number - begin.number, fault.lasts_exposures),
        ):
            if lasts is not None and since >= lasts:
                return False
        return True

    def strikes(self, kind: FaultKind, first_plane: int = 1) -> bool:
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
        if fault.attempts is not None and exposure.exposed >= fault.attempts:
            return False
        where = chance(self._seed, "fault", number, exposure.slide, exposure.field, exposure.exposed)
        return where < fault.probability
