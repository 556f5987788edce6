"""Making hardware safe: every step is taken, whatever becomes of the others, and what can be is read back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from drivers.equipment import Equipment
from drivers.errors import LightFault, StageStuck, said_by
from drivers.settings import Instrument
from drivers.waiting import Clock

log = logging.getLogger(__name__)


def attempt(*steps: Callable[[], None]) -> tuple[str, ...]:
    """Take every step, whatever becomes of those before it; what went wrong, a sentence each."""
    wrong = []
    for step in steps:
        try:
            step()
        except Exception as error:
            log.exception("making safe: a step failed, going on to the next")
            wrong.append(said_by(error))
    return tuple(wrong)


class Safety:
    """Makes equipment safe.

    Parameters
    ----------
    instrument
        where its objective is withdrawn to, and how long to wait.
    equipment
        what is commanded: another way to the same hardware where one call may hang.
    """

    def __init__(self, instrument: Instrument, equipment: Equipment, clock: Clock) -> None:
        self._motion = instrument.motion
        self._deadlines = instrument.deadlines
        self._equipment = equipment
        self._clock = clock

    def make_safe(self) -> tuple[str, ...]:
        """Stop everything, light off, objective withdrawn; what went wrong, a sentence each."""
        equipment = self._equipment
        return attempt(
            equipment.stop, equipment.stop_stages, partial(equipment.light, False), self._withdraw, self._see_it_dark
        )

    def _withdraw(self) -> None:
        equipment, z_um = self._equipment, self._motion.withdrawn_z_um
        equipment.move_z(z_um)

        def off_by() -> float:
            return abs(float(equipment.z_um()) - z_um)

        def arrived() -> bool:
            return not equipment.z_busy() and off_by() <= self._motion.z_tolerance_um

        if not self._clock.wait(arrived, self._deadlines.focus_s):
            raise StageStuck(
                f"{equipment.z_name} stands {off_by():.2f} um off the {z_um:g} um it was withdrawn to; check the stage"
            )

    def _see_it_dark(self) -> None:
        equipment = self._equipment

        def dark() -> bool:
            return not equipment.lighting() and not any(equipment.lights().values())

        if not self._clock.wait(dark, self._deadlines.switch_s):
            still = [name for name, is_open in equipment.lights().items() if is_open] or equipment.lighting()
            raise LightFault(f"{' and '.join(still)} is open or busy still; close it by hand")
