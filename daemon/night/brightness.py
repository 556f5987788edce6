"""Whether the fields of a mini-slide grow dark: the sign of a bubble, of lost immersion oil, of a failing lamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from daemon.records.events import EventName

DIM = 0.7
"""Share of the background of earlier fields below which one is dim; undisturbed emulated ones stay above 0.94."""
STAYS = 3
"""Dim fields in a row which are no bubble any more."""
BLURRED = 0.5
"""Share of the focus contrast of earlier fields below which dim ones are blurred as well: by lost oil, not by the lamp.

In emulated nights the median of three fields without oil came to 0.26; a lamp at 0.4 of its power changed a field's
contrast by less than a fifth."""
MEMORY = 25
"""Fields that are compared with, so that a lamp may age."""


class Dimming:
    """Follows the background of one mini-slide's fields. What it says is a function of what it was given, in order."""

    def __init__(self) -> None:
        self._before: deque[float] = deque(maxlen=MEMORY)
        self._contrasts_before: deque[float] = deque(maxlen=MEMORY)
        self._dim_contrasts: list[float] = []

    def add(self, backgrounds_dn: Sequence[float], contrast: float) -> tuple[EventName, str] | None:
        """Take in the next field; name and message of what a person should know of it.

        Each dim field is told until they stay dim; that is told once.

        Parameters
        ----------
        backgrounds_dn
            background of each polarization, in DN; the brightest decides.
        contrast
            sharpness of the field's sharpest plane over that of its median plane.
        """
        background = max(backgrounds_dn, default=0.0)
        usual = median(self._before) if self._before else background
        if background >= DIM * usual:
            self._before.append(background)
            self._contrasts_before.append(contrast)
            self._dim_contrasts.clear()
            return None
        self._dim_contrasts.append(contrast)
        in_a_row = len(self._dim_contrasts)
        seen = f"the background is {100 * background / usual:.0f} % of that of the fields before"
        if in_a_row < STAYS:
            return EventName.DIM_FIELD, f"{seen}: a bubble? do not count its area"
        if in_a_row > STAYS:
            return None
        if median(self._dim_contrasts) < BLURRED * median(self._contrasts_before):
            return EventName.OIL_LOST, f"{seen}, for {STAYS} fields in a row, and blurred: check immersion oil"
        return (
            EventName.LAMP_DIM,
            f"{seen}, for {STAYS} fields in a row, and no more blurred than those: check lamp, then oil",
        )
