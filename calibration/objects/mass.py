"""Mass of one object by birefringence, from its crop in both states, with its uncertainty and what speaks against it.

The steps are those of docs/measurement.md. Masses are in pg, lengths in um.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.corrections import Box, Corrections
from calibration.objects import birefringence
from calibration.objects.birefringence import CALCITE_PG_UM3, mass_pg
from calibration.objects.thickness import (
    Floats,
    Heights,
    Leakage,
    Mask,
    Optics,
    leakage_around,
    mended,
    sharpened,
    sharpened_noise,
)

FORMULA = "signed root of sharpened light, 1"
"""Names the way from light to mass; another one gets another number."""
BEYOND_OUTLINE_UM = 0.4
OUTLINE_ERROR_UM = 0.2
"""Mass is also summed over the outline dilated by so much more, to see what the outline may cost."""
FOCUS_ERROR_UM = 0.1
BLUR_GROWTH_UM2 = 1.12
"""Share of mass gained per square of the distance from focus, where no planes tell it: 7 % at 0.25 um."""
FORM_ERROR = 0.02
"""What is left of the objective's blur after sharpening, as a share; it depends on how fine the object is."""
SCALE_ERROR = 0.01
"""Of birefringence, wavelength and the square of the pixel, together, as a share."""
RING_BORDER_PX = 3
SATURATED_PX = 3


@dataclass(frozen=True, eq=False)
class Weighed:
    """An object's calcite, or what would have to be calcite to turn as much light.

    Attributes
    ----------
    equivalent_pg
        mass.
    deviation_pg
        its standard deviation.
    thickness
        (h, w), signed, um.
    mean_um
        mean thickness of the pixels inside the outline.
    greatest_um
        greatest thickness of these pixels.
    volume_um3
        of the mass, as calcite.
    leakage
        share of parallel light that was taken off the crossed state.
    saturated
        pixels of either state are.
    folded
        it may be thicker than can be told apart.
    disturbed
        other things lie around it, so that its background is not sure.
    noise_pg
        standard deviation by noise alone.
    """

    equivalent_pg: float
    deviation_pg: float
    thickness: Floats
    mean_um: float
    greatest_um: float
    volume_um3: float
    leakage: float
    saturated: bool
    folded: bool
    disturbed: bool
    noise_pg: float


@dataclass(frozen=True, eq=False)
class WeighedObject:
    """An object as it is weighed: where it lies, how it was seen, and where nothing lies around it.

    Attributes
    ----------
    box
        of the crop in the frame.
    inside
        (h, w), pixels inside the outline.
    crossed
        index of the crossed state along C.
    parallel
        index of the parallel state along C.
    aligned
        share of its crystals' axes that point one way: 1 for a single crystal, 0 for a round ring of them.
    """

    box: Box
    inside: Mask
    crossed: int
    parallel: int
    aligned: float

    @cached_property
    def _distance_px(self) -> Floats:
        """Distance of each pixel to the outline, 0 inside."""
        return np.asarray(cv2.distanceTransform((~self.inside).astype(np.uint8), cv2.DIST_L2, 5), np.float32)

    def dilated(self, by_um: float, pixel_um: float) -> Mask:
        """Pixels inside the outline and up to a distance from it."""
        return np.asarray(self._distance_px <= by_um / pixel_um)

    def around(self, taken: Mask) -> Mask:
        """Pixels of the crop that are neither taken nor near its border, where filters see nothing."""
        free = ~taken
        for side in (free, free.T):
            side[:RING_BORDER_PX] = side[-RING_BORDER_PX:] = False
        return free


@dataclass(frozen=True, eq=False)
class _CropLight:
    """Light of some planes of a crop, (Z, h, w): registered and sharpened, with the noise of the crossed state."""

    crossed: Floats
    parallel: Floats
    noise: Floats


class _Noise(NamedTuple):
    """What noise does to a mass, in pg.

    `rooted_pg` is what the root, which is concave, takes off the mean of noisy light.
    """

    deviation_pg: float
    rooted_pg: float
    pg_per_leakage: float


def weigh(
    frames: NDArray[np.uint16],
    heights: Heights,
    step_um: float,
    sight: WeighedObject,
    corrections: Corrections,
    optics: Optics,
) -> Weighed:
    """Weigh an object at its own height.

    Parameters
    ----------
    frames
        (C, Z, h, w), those planes of the crop that `heights` names, in DN.
    step_um
        between planes.
    """
    light = _light(frames, sight, corrections, optics)
    near = sight.dilated(BEYOND_OUTLINE_UM, optics.pixel_um)
    leakage, free = _leakage(light, sight.around(near), corrections, optics)
    maps = np.stack(
        [
            optics.thickness(*birefringence.unmixed(crossed, parallel, leakage.share))
            for crossed, parallel in zip(light.crossed, light.parallel, strict=True)
        ]
    )
    thickness = heights.between(maps)
    mass = mass_pg(thickness[near], optics.pixel_um)
    noise = _noise(light, heights, near, leakage.share, optics)
    planes_pg = [mass_pg(one[near], optics.pixel_um) for one in maps]
    wider = sight.dilated(BEYOND_OUTLINE_UM + OUTLINE_ERROR_UM, optics.pixel_um)
    errors = (
        noise.deviation_pg,
        noise.rooted_pg,
        noise.pg_per_leakage * leakage.error,
        _azimuth_error(leakage.share, sight, corrections, optics),
        _focus_error(planes_pg, mass, heights, step_um),
        (mass_pg(thickness[wider], optics.pixel_um) - mass) / 2,
        mass * FORM_ERROR,
        mass * SCALE_ERROR,
    )
    inside = thickness[sight.inside]
    full = (frames >= corrections.full_dn).sum(axis=(2, 3)).max()
    return Weighed(
        equivalent_pg=mass,
        deviation_pg=math.sqrt(sum(error * error for error in errors)),
        thickness=thickness,
        mean_um=float(inside.mean()),
        greatest_um=float(inside.max()),
        volume_um3=mass / CALCITE_PG_UM3,
        leakage=leakage.share,
        saturated=bool(full >= SATURATED_PX),
        folded=birefringence.may_be_folded(inside, optics.greatest_um),
        disturbed=not free,
        noise_pg=noise.deviation_pg,
    )


def weigh_fused(
    fused: NDArray[np.uint16], sight: WeighedObject, leakage: float, corrections: Corrections, optics: Optics
) -> float:
    """Mass of a fused crop (C, h, w), whose pixels come from the same plane in both states, in pg.

    `leakage` is what `weigh` found around the object.
    """
    light = _light(fused[:, None], sight, corrections, optics)
    thickness = optics.thickness(*birefringence.unmixed(light.crossed[0], light.parallel[0], leakage))
    return mass_pg(thickness[sight.dilated(BEYOND_OUTLINE_UM, optics.pixel_um)], optics.pixel_um)


def _light(frames: NDArray[np.uint16], sight: WeighedObject, corrections: Corrections, optics: Optics) -> _CropLight:
    crossed = corrections.light(frames[sight.crossed], sight.crossed, sight.box)
    parallel = corrections.light(frames[sight.parallel], sight.parallel, sight.box)
    x0, y0, x1, y1 = sight.box
    bad = corrections.bad[y0:y1, x0:x1]
    exposure_ms = corrections.exposures_ms[sight.crossed]
    variance = np.float32(corrections.dn_per_electron * exposure_ms) * np.maximum(crossed, 0)
    variance += np.float32(max(corrections.read_noise_dn, 1.0) ** 2)
    noise = np.sqrt(variance) / np.float32(exposure_ms * corrections.ratio)
    crossed /= np.float32(corrections.ratio)
    return _CropLight(
        np.stack([sharpened(mended(plane, bad), optics, corrections.shift_px) for plane in crossed]),
        np.stack([sharpened(mended(plane, bad), optics) for plane in parallel]),
        np.asarray(noise, np.float32),
    )


def _leakage(light: _CropLight, around: Mask, corrections: Corrections, optics: Optics) -> tuple[Leakage, bool]:
    """Leakage from around the object, or where other things lie there from the calibration."""
    planes = len(light.crossed)
    noise = float(np.median(light.noise[0, ::4, ::4])) * sharpened_noise(optics) / math.sqrt(planes)
    found = leakage_around(light.crossed.mean(axis=0), light.parallel.mean(axis=0), around, noise)
    if found.free or not corrections.records:
        return found if math.isfinite(found.error) else Leakage(0.0, 0.0, free=False), found.free
    return Leakage(corrections.leakage, corrections.leakage_deviation, free=False), False


def _noise(light: _CropLight, heights: Heights, near: Mask, leakage: float, optics: Optics) -> _Noise:
    """Return what noise does to the mass, and how much mass a share of leakage makes."""
    variance, rooted, slope = 0.0, 0.0, 0.0
    area = CALCITE_PG_UM3 * optics.pixel_um**2
    for crossed, parallel, noise, weight in zip(
        light.crossed, light.parallel, light.noise, heights.weights, strict=True
    ):
        bright = parallel[near]
        lit = crossed[near] - np.float32(leakage) * bright
        deviation = noise[near] * np.float32(sharpened_noise(optics))
        told = birefringence.thickness_noise_um(lit, bright, deviation, optics.wavelength_um, optics.birefringence)
        steepness = told / deviation
        variance += weight**2 * float(np.square(steepness * noise[near]).sum())
        rooted += weight * float((told * deviation / (4 * np.maximum(lit, deviation))).sum())
        slope += weight * float((steepness * bright).sum())
    return _Noise(area * math.sqrt(variance), area * rooted, area * slope)


def _azimuth_error(leakage: float, sight: WeighedObject, corrections: Corrections, optics: Optics) -> float:
    """Return what light that leaks coherently adds to crystals that point one way; it cancels around a ring."""
    coherent = corrections.leakage_deviation if corrections.records else leakage
    amplitude = optics.wavelength_um / (math.pi * optics.birefringence) * math.sqrt(max(coherent, 0.0))
    area_um2 = float(sight.inside.sum()) * optics.pixel_um**2
    return CALCITE_PG_UM3 * area_um2 * amplitude * sight.aligned


def _focus_error(planes_pg: list[float], mass: float, heights: Heights, step_um: float) -> float:
    """Error by what is not known of the focus: mass is least there, and grows on both sides."""
    if len(planes_pg) == 1:
        return mass * BLUR_GROWTH_UM2 * (step_um / 2) ** 2
    below, at, above = planes_pg
    bent, leaning = (below + above) / 2 - at, (above - below) / 2
    t, error = heights.offset, FOCUS_ERROR_UM / step_um
    return math.hypot((leaning + 2 * bent * t) * error, bent * error**2)
