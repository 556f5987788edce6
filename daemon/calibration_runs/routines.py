"""The calibration routines that can be run, and what each needs of the instrument; a new one is one more entry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from calibration.corrections import full_scale
from calibration.routines.dark import dark
from calibration.routines.flat import flat
from calibration.routines.focus_map import focus_map
from calibration.routines.illumination import illumination
from calibration.routines.micrometer import micrometer
from calibration.routines.photon_transfer import photon_transfer
from calibration.routines.pixel_size import pixel_size
from calibration.routines.place_finding import Area
from calibration.routines.polarization import Band, polarization
from calibration.routines.retarder import States, retarder
from calibration.routines.stage_z import stage_z
from calibration.routines.trigger import trigger
from calibration.steps import NotUsable, Routine
from daemon.calibration_store.shelf import choose
from daemon.config.model import NightConfig
from daemon.planning.focus_bounds import CLEARANCE_UM, bounds_about
from daemon.planning.plan import frame_of
from daemon.system.errors import Refused
from drivers.settings import MiniSlide

MINUTE = 60.0
CROSSED, PARALLEL = "crossed", "parallel"
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
    about
        what it finds, in a line.
    make
        begins it, for an instrument, one of its mini-slides, and the DN at which its camera is saturated.
    planes
        the most that one of its shots exposes in one polarization, beside a search of focus.
    deadline_s
        after which it is given up.
    valid_days
        how long its record counts, unless the configuration says otherwise.
    """

    about: str
    make: Callable[[NightConfig, MiniSlide, int], Routine]
    planes: int
    deadline_s: float
    valid_days: float


def _dark(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    state = max(config.scan.polarizations, key=lambda name: config.instrument.polarizations[name].exposure_ms)
    exposure_ms = config.instrument.polarizations[state].exposure_ms
    place = *slide.centre_um, slide.z_um
    return dark(*place, state, exposure_ms, DARK_PLANES, DARK_SHOTS, full_dn)


def _flat(config: NightConfig, slide: MiniSlide, _full_dn: int) -> Routine:
    states = config.scan.polarizations
    exposures_ms = [config.instrument.polarizations[state].exposure_ms for state in states]
    return flat(_spread(config, slide, FLAT_SIDE), _out_of_focus(slide), states, exposures_ms, FLAT_PLANES)


def _camera(config: NightConfig, slide: MiniSlide, _full_dn: int) -> Routine:
    return photon_transfer(*slide.centre_um, _out_of_focus(slide), *_bright(config), CAMERA_PLANES)


def _illumination(config: NightConfig, slide: MiniSlide, _full_dn: int) -> Routine:
    at = (*slide.centre_um, _out_of_focus(slide), *_bright(config))
    return illumination(*at, LAMP_PLANES, duration_s=LAMP_DURATION_S, every_s=LAMP_EVERY_S)


def _pixel_size(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    area = _area(config, slide)
    try:
        return (yield from pixel_size(area, _bright(config)[0], full_dn=full_dn))
    except NotUsable:
        if CROSSED not in config.scan.polarizations:
            raise
    # Thin calcite hardly shows in bright light.
    return (yield from pixel_size(area, CROSSED, full_dn=full_dn))


def _micrometer(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    targets = config.calibration.targets
    if targets.micrometer_um is None:
        raise Refused("calibration.targets.micrometer_um is missing; give the distance of the micrometer's lines in um")
    known = targets.micrometer_um, targets.micrometer_deviation_um
    return micrometer(_area(config, slide), _bright(config)[0], *known, full_dn=full_dn)


def _z(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    return stage_z(_area(config, slide), _both(config), full_dn=full_dn)


def _trigger(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    states, scan = config.scan.polarizations, config.scan
    state = CROSSED if CROSSED in states else states[0]
    return trigger(_area(config, slide), state, scan.planes, scan.step_um, full_dn=full_dn)


def _focus(config: NightConfig, slide: MiniSlide, _full_dn: int) -> Routine:
    states = config.scan.polarizations
    return focus_map(_area(config, slide), CROSSED if CROSSED in states else states[0])


def _polarization(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    states = _both(config)
    exposures_ms = _exposures_ms(config, states)
    return polarization(_area(config, slide), states, exposures_ms, _light(config), full_dn=full_dn)


def _retarder(config: NightConfig, slide: MiniSlide, full_dn: int) -> Routine:
    targets, states = config.calibration.targets, _both(config)
    if targets.retarder_nm is None:
        raise Refused("calibration.targets.retarder_nm is missing; give the retardation of the plate in nm")
    kept = choose(config).records.get("polarization")
    if kept is None or kept.record is None:
        raise Refused("retarder judges a calibration of polarization, and there is none; calibrate polarization first")
    values = kept.record.values
    found = States(
        values["leakage"].value, values["coherent"].value, values["ratio"].value, values["ratio"].uncertainty
    )
    exposures_ms, known = _exposures_ms(config, states), (targets.retarder_nm, targets.retarder_deviation_nm)
    place = *slide.centre_um, slide.z_um
    return retarder(*place, states, exposures_ms, _light(config), found, *known, full_dn=full_dn)


def _area(config: NightConfig, slide: MiniSlide) -> Area:
    """Where middles of frames may lie on a mini-slide, and how focus is searched there."""
    frame, margin_um = frame_of(config), config.scan.pattern.margin_um
    frame_um = frame.width_um, frame.height_um
    width_um, height_um = (size - 2 * margin_um - one for size, one in zip(slide.size_um, frame_um, strict=True))
    if min(width_um, height_um) <= 0:
        raise Refused(
            f"scan.pattern.margin_um is {margin_um:g}, which leaves no room for a frame on mini-slide "
            f"{slide.position}; make it smaller"
        )
    return Area(slide.centre_um, (width_um, height_um), frame_um, bounds_about(config, slide, slide.z_um))


def _both(config: NightConfig) -> tuple[str, str]:
    """Crossed and parallel, as the configuration names them."""
    missing = {CROSSED, PARALLEL} - set(config.instrument.polarizations)
    if missing:
        raise Refused(f"instrument.polarizations has no {min(missing)!r}; this routine needs both states")
    return CROSSED, PARALLEL


def _exposures_ms(config: NightConfig, states: tuple[str, str]) -> tuple[float, float]:
    first, second = (config.instrument.polarizations[state].exposure_ms for state in states)
    return first, second


def _light(config: NightConfig) -> Band:
    settings = config.calibration
    return Band(settings.wavelength_nm / 1000, settings.wavelength_deviation_nm / 1000)


def _bright(config: NightConfig) -> tuple[str, float]:
    """Polarization of the brightest light, by name or else the last, and its exposure."""
    states = config.scan.polarizations
    state = PARALLEL if PARALLEL in states else states[-1]
    return state, config.instrument.polarizations[state].exposure_ms


def _out_of_focus(slide: MiniSlide) -> float:
    """Height below the expected focus, inside the z window."""
    return max(slide.z_um - DEFOCUS_UM, slide.z_window_um.low + CLEARANCE_UM)


def _spread(config: NightConfig, slide: MiniSlide, side: int) -> list[tuple[float, float]]:
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


def saturation_dn(config: NightConfig, bits: int) -> int:
    """DN at which a camera of so many bits is saturated, as calibrated where it is."""
    kept = choose(config).records.get("camera")
    return full_scale(bits) if kept is None or kept.record is None else int(kept.record.values["saturation"].value)


ROUTINES: dict[str, Procedure] = {
    "dark": Procedure("offset, read noise, hot and dead pixels", _dark, DARK_PLANES, 10 * MINUTE, 90),
    "flat": Procedure("flat field of each polarization, dead pixels", _flat, FLAT_PLANES, 20 * MINUTE, 30),
    "camera": Procedure("gain, read noise, linearity, saturation", _camera, CAMERA_PLANES, 10 * MINUTE, 365),
    "illumination": Procedure("drift and flicker of the lamp", _illumination, LAMP_PLANES, 15 * MINUTE, 30),
    "pixel-size": Procedure("pixel, rotation, backlash of the XY stage", _pixel_size, 1, 20 * MINUTE, 365),
    "micrometer": Procedure("pixel by a stage micrometer", _micrometer, 4, 10 * MINUTE, 365),
    "z": Procedure("backlash, drift, direction of the focus drive", _z, 25, 20 * MINUTE, 180),
    "trigger": Procedure("whether the camera steps the focus drive truly", _trigger, 1, 10 * MINUTE, 365),
    "focus": Procedure("height, tilt and bending of a mini-slide", _focus, 9, 30 * MINUTE, 1),
    "polarization": Procedure("leakage, shift and ratio of the states", _polarization, 8, 20 * MINUTE, 30),
    "retarder": Procedure("polarization against a known plate", _retarder, 8, 5 * MINUTE, 365),
}
"""By the name that `lamelle calibrate` takes."""
