"""Whether the fields of a mini-slide grow dark: the sign of a bubble, of lost immersion oil, of a failing lamp."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from statistics import median

from daemon.records.events import EventName
from daemon.records.flags import FieldFlag
from daemon.records.records import FieldSecured, FieldSkipped

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
    """Follows the background of one mini-slide's fields. What it says is a function of what it was given, in order.

    Parameters
    ----------
    usual_dn
        background of the fields of the mini-slides before, so that one whose very first field lacks oil is told too;
        None where there is none.
    """

    def __init__(self, usual_dn: float | None = None) -> None:
        self._usual_dn = usual_dn
        self._before: deque[float] = deque(maxlen=MEMORY)
        self._contrasts_before: deque[float] = deque(maxlen=MEMORY)
        self._dim_contrasts: list[float] = []
        self._without_oil: list[bool] = []

    @property
    def usual_dn(self) -> float | None:
        """Median background of undisturbed fields so far, or of the mini-slides before; None where there is none."""
        return median(self._before) if self._before else self._usual_dn

    def flags(self, backgrounds_dn: Sequence[float], flags: Sequence[FieldFlag]) -> tuple[FieldFlag, ...]:
        """Say what the next field is beside those before: dim, and whether for want of oil.

        Lost oil takes light and everything fine at once, which neither a lamp nor a bubble does; and it does not come
        back by itself, so that a dim field that shows nothing at all, after one that lost its oil, has none either.

        Parameters
        ----------
        flags
            those that the field has by itself.
        """
        if not self._is_dim(max(backgrounds_dn, default=0.0)):
            return ()
        without_oil = FieldFlag.BLURRED in flags or (FieldFlag.BLANK in flags and self._without_oil[-1:] == [True])
        if without_oil and not {FieldFlag.BUBBLE, FieldFlag.DARK} & set(flags):
            return FieldFlag.DIM, FieldFlag.OIL_LOST
        return (FieldFlag.DIM,)

    def _is_dim(self, background: float) -> bool:
        usual = self.usual_dn
        return usual is not None and background < DIM * usual

    def add(
        self, backgrounds_dn: Sequence[float], contrast: float, flags: Sequence[FieldFlag] = ()
    ) -> tuple[EventName, str] | None:
        """Take in the next field; name and message of what a person should know of it.

        Each dim field is told until they stay dim; that is told once.

        Parameters
        ----------
        backgrounds_dn
            background of each polarization, in DN; the brightest decides.
        contrast
            sharpness of the field's sharpest plane over that of its median plane.
        flags
            all that the field has.
        """
        background = max(backgrounds_dn, default=0.0)
        usual = self.usual_dn
        if usual is None or not self._is_dim(background):
            self._before.append(background)
            self._contrasts_before.append(contrast)
            self._dim_contrasts.clear()
            self._without_oil.clear()
            return None
        self._dim_contrasts.append(contrast)
        self._without_oil.append(FieldFlag.OIL_LOST in flags)
        in_a_row = len(self._dim_contrasts)
        seen = f"the background is {100 * background / usual:.0f} % of that of the fields before"
        if in_a_row < STAYS:
            return EventName.DIM_FIELD, f"{seen}{self._counted(flags)}"
        if in_a_row > STAYS:
            return None
        if self._blurred():
            return EventName.OIL_LOST, f"{seen}, for {STAYS} fields in a row, and blurred: check immersion oil"
        return (
            EventName.LAMP_DIM,
            f"{seen}, for {STAYS} fields in a row, and no more blurred than those: check lamp, then oil",
        )

    @staticmethod
    def _counted(flags: Sequence[FieldFlag]) -> str:
        """Say what such a field is taken for."""
        if FieldFlag.OIL_LOST in flags:
            return ", and nothing in it is sharp: is the oil lost?"
        return ": a bubble? do not count its area"

    def _blurred(self) -> bool:
        """Whether the dim fields are blurred: most show nothing fine, or they have less contrast than those before."""
        if sum(self._without_oil) > len(self._without_oil) / 2:
            return True
        before = self._contrasts_before
        return bool(before) and median(self._dim_contrasts) < BLURRED * median(before)


def usual_background(records: Iterable[FieldSecured | FieldSkipped]) -> float | None:
    """Median background of a mini-slide's fields that nothing disturbed; None where there is none."""
    backgrounds = [
        max(one.backgrounds_dn, default=0.0)
        for one in records
        if isinstance(one, FieldSecured) and one.analysed and set(one.flags) <= {FieldFlag.BLANK}
    ]
    return median(backgrounds) if backgrounds else None
