"""The calibration routines that can be run, and what each needs of the instrument; a new one is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.dark import dark
from calibration.steps import Routine
from daemon.config import Night
from drivers.settings import MiniSlide

MINUTE = 60.0
DARK_PLANES, DARK_SHOTS = 16, 4


@dataclass(frozen=True)
class Procedure:
    """A routine of the registry.

    Attributes
    ----------
    about : what it finds, in a line.
    make : begins it, for an instrument and one of its mini-slides.
    planes : the most that one of its shots exposes in one polarization.
    deadline_s : after which it is given up.
    valid_days : how long its record counts, unless the configuration says otherwise.
    """

    about: str
    make: Callable[[Night, MiniSlide], Routine]
    planes: int
    deadline_s: float
    valid_days: float


def _dark(config: Night, slide: MiniSlide) -> Routine:
    state = max(config.scan.polarizations, key=lambda name: config.instrument.polarizations[name].exposure_ms)
    exposure_ms = config.instrument.polarizations[state].exposure_ms
    return dark(*slide.centre_um, slide.z_um, state, exposure_ms, DARK_PLANES, DARK_SHOTS)


ROUTINES: dict[str, Procedure] = {
    "dark": Procedure("offset, read noise, hot and dead pixels", _dark, DARK_PLANES, 10 * MINUTE, 90),
}
"""By the name that `lamelle calibrate` takes."""
