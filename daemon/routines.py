"""The calibration routines that can be run, and what each needs of the instrument; a new one is one more entry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from calibration.dark import dark
from calibration.flat import flat
from calibration.illumination import illumination
from calibration.photon_transfer import photon_transfer
from calibration.steps import Routine
from daemon.config import Night
from daemon.focus import CLEARANCE_UM
from daemon.plan import frame_of
from drivers.settings import MiniSlide

MINUTE = 60.0
PARALLEL = "parallel"
DARK_PLANES, DARK_SHOTS = 16, 4
FLAT_PLANES, FLAT_SIDE = 4, 5
"""Frames of a field, and fields along each side of a square."""
CAMERA_PLANES = 8
LAMP_PLANES, LAMP_DURATION_S, LAMP_EVERY_S = 8, 600.0, 10.0
DEFOCUS_UM = 20.0
"""How far below the expected focus the light itself is looked at, so that objects blur away."""


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


def _flat(config: Night, slide: MiniSlide) -> Routine:
    states = config.scan.polarizations
    exposures_ms = [config.instrument.polarizations[state].exposure_ms for state in states]
    return flat(_spread(config, slide, FLAT_SIDE), _out_of_focus(slide), states, exposures_ms, FLAT_PLANES)


def _camera(config: Night, slide: MiniSlide) -> Routine:
    return photon_transfer(*slide.centre_um, _out_of_focus(slide), *_bright(config), CAMERA_PLANES)


def _illumination(config: Night, slide: MiniSlide) -> Routine:
    at = (*slide.centre_um, _out_of_focus(slide), *_bright(config))
    return illumination(*at, LAMP_PLANES, duration_s=LAMP_DURATION_S, every_s=LAMP_EVERY_S)


def _bright(config: Night) -> tuple[str, float]:
    """Polarization of the brightest light, by name or else the last, and its exposure."""
    states = config.scan.polarizations
    state = PARALLEL if PARALLEL in states else states[-1]
    return state, config.instrument.polarizations[state].exposure_ms


def _out_of_focus(slide: MiniSlide) -> float:
    """Height below the expected focus, inside the z window."""
    return max(slide.z_um - DEFOCUS_UM, slide.z_window_um.low + CLEARANCE_UM)


def _spread(config: Night, slide: MiniSlide, side: int) -> list[tuple[float, float]]:
    """Places of frames that do not overlap, up to `side` along each side of a block in the middle of the mini-slide."""
    frame, margin_um = frame_of(config), config.scan.pattern.margin_um
    rows = []
    for size_um, frame_um in zip(slide.size_um, (frame.width_um, frame.height_um), strict=True):
        room_um = size_um - 2 * margin_um - frame_um
        count = max(1, min(side, 1 + math.floor(room_um / frame_um)))
        rows.append([(k - (count - 1) / 2) * frame_um for k in range(count)])
    x_um, y_um = slide.centre_um
    # Back and forth, as the stage goes best.
    return [(x_um + x, y_um + y) for number, y in enumerate(rows[1]) for x in rows[0][:: -1 if number % 2 else 1]]


ROUTINES: dict[str, Procedure] = {
    "dark": Procedure("offset, read noise, hot and dead pixels", _dark, DARK_PLANES, 10 * MINUTE, 90),
    "flat": Procedure("flat field of each polarization, dead pixels", _flat, FLAT_PLANES, 20 * MINUTE, 30),
    "camera": Procedure("gain, read noise, linearity, saturation", _camera, CAMERA_PLANES, 10 * MINUTE, 365),
    "illumination": Procedure("drift and flicker of the lamp", _illumination, LAMP_PLANES, 15 * MINUTE, 30),
}
"""By the name that `lamelle calibrate` takes."""
