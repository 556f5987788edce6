"""Whether the fields of a mini-slide grow dark: the sign of a bubble, of lost immersion oil, of a failing lamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

DIM = 0.7
"""Share of the background of earlier fields below which one is dim; undisturbed emulated ones stay above 0.94."""
STAYS = 3
"""Dim fields in a row which are no bubble any more."""
MEMORY = 25
"""Fields that are compared with, so that a lamp may age."""


class Dimming:
    """Follows the background of one mini-slide's fields. What it says is a function of what it was given, in order."""

    def __init__(self) -> None:
        self._before: deque[float] = deque(maxlen=MEMORY)
        self._in_a_row = 0

    def add(self, backgrounds_dn: Sequence[float]) -> tuple[str, str] | None:
        """Take in the next field; name and message of what a person should know of it.

        Each dim field is told until they stay dim; that is told once.

        Parameters
        ----------
        backgrounds_dn : background of each polarization, in DN; the brightest decides.
        """
        background = max(backgrounds_dn, default=0.0)
        usual = median(self._before) if self._before else background
        if background >= DIM * usual:
            self._before.append(background)
            self._in_a_row = 0
            return None
        self._in_a_row += 1
        seen = f"the background is {100 * background / usual:.0f} % of that of the fields before"
        if self._in_a_row < STAYS:
            return "dim field", f"{seen}: a bubble? do not count its area"
        if self._in_a_row == STAYS:
            return "oil lost?", f"{seen}, for {STAYS} fields in a row: check immersion oil and lamp"
        return None
