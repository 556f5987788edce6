"""`polarization`: what the two states of bidirectional circular polarization see of each other.

Several places are exposed in both states, in planes about the focus, and darkness is taken off. Once more the crossed
state is exposed ten times as long, for what leaks; crystals may saturate there.

- **Leakage** is the ratio crossed / parallel around which most pixels lie (their mode): empty field. It is told for the
  field as a whole, from the places' scatter, and as a map of tiles; the spread of the map beyond its noise is what two
  halves of the places have in common.
- Of the leakage a part may be **coherent**: an amplitude a behind the polarizers adds to that of a crystal f, so that
  |f + a|^2 falls below |a|^2, and down to what is **depolarised**, where they are opposite. The deepest dip of the
  ratio around crystals, less its noise, therefore is the least that is coherent; the most is all of the leakage. The
  middle is told, with the deviation of a uniform distribution. `leakage_deviation` is this and the spread together.
- The **shift** and the **ratio** of the states: see `calibration.images.states`. Between its two exposures the stage
  may stir: how far one crossed image lies from the other is taken off, and a place where that cannot be told says
  nothing.
- The **thickness floor** is the thickness whose light equals the deviation of the leakage, atan2 of the roots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.images.registration import Shift, register
from calibration.images.states import (
    StateShift,
    mode,
    moved,
    ratios_of_crystals,
    shift_between_states,
    shifts_of_crystals,
    turning,
)
from calibration.objects.birefringence import calcite_birefringence, greatest_thickness_um
from calibration.routines.place_finding import Area, find_focus, find_objects, refuse_bad_light
from calibration.steps import Curve, Map, NotUsable, Outcome, Quantity, Routine, Shot

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Frames = NDArray[np.uint16]
XY = tuple[float, float]

PLANES, STEP_UM = 8, 0.25
REACH_UM = 4.0
"""Of a search at a place, about the height of the last one."""
LONGER = 10.0
"""Exposure of what leaks, over the usual one of the crossed state."""
MOST_SATURATED = 0.3
BINNED = 4
"""Pixels are averaged by so many squared before their ratio is taken."""
TILE = 16
"""Binned pixels along a side of a tile of the map."""
CROPPED_PX = 1024
INNER_PX = 12
"""Of larger frames the middle tells shift and ratio."""
SHIFT_PLANES = 4
"""Every so many planes tell the shift."""
STIRS_PX = 16
"""So far a stage may come to stand from where it stood."""
CLEAR_PEAK = 8.0
"""Strength of a registration that noise alone does not reach."""
MOST_UNSURE_PX = 0.3
UNLIKE_PX = 0.1
"""So far places may be apart that all say they are surer: what lies there hides and bends light differently."""
REFRACTED_PX = 0.1
"""What refraction adds to a shift that only crystals tell."""
DIP_PX = 3.0
THIN = 0.15
"""How far parallel light may be from that of an empty field where a dip counts; thick bodies bend light past it."""
FLAT_PX = 4.0
NOISE_REACHES = 4.5
"""Deviations that the lowest of some 100 000 values of noise reaches."""
FEWEST_PLACES, FEWEST_CRYSTALS = 4, 5
NOT_TAKEN = 0.05
"""Relative deviation of the ratio of states: refraction moves so much parallel light away from crystals, or to them."""
HALO = 2e-3
"""Relative deviation of the leakage: light of defocused crystals lies over every empty field."""
LEAST_SIGNAL_DN = 5.0
GOLDEN = math.pi * (3 - math.sqrt(5))


@dataclass(frozen=True)
class Band:
    """Wavelength of the lamp's band, and its standard uncertainty, um."""

    wavelength_um: float
    deviation_um: float


@dataclass(frozen=True)
class _PlaceLight:
    """What one place showed, as light per ms.

    Attributes
    ----------
    ratio
        crossed / parallel, (h, w), binned, mean of the planes.
    leaking
        some planes (Z, H, W) of the long crossed exposure, cropped.
    parallel
        the same planes in parallel light.
    crossed_mean
        of all planes of the usual crossed exposure, (1, H, W).
    parallel_mean
        of all planes of the usual parallel exposure, (1, H, W).
    stirred
        where the long crossed exposure lies, relative to the usual one.
    """

    ratio: Image
    leaking: Image
    parallel: Image
    crossed_mean: Image
    parallel_mean: Image
    stirred: Shift


def polarization(
    area: Area,
    states: tuple[str, str],
    exposures_ms: tuple[float, float],
    light: Band,
    places: int = 8,
    full_dn: int = 65535,
) -> Routine:
    """Find leakage, shift and ratio of the states, and what they mean for thickness.

    Parameters
    ----------
    area
        its middle is looked at, and places around it.
    states
        names of crossed and parallel.
    exposures_ms
        of them in a night.
    places
        with objects, of which some turn light and some do not.

    Raises
    ------
    NotUsable
        Nothing to see, too bright, too dark, or not enough of either kind of object.
    """
    crossed_state = states[0]
    long_ms = (LONGER * exposures_ms[0],)
    middle_z = (area.search.low_um + area.search.high_um) / 2
    offsets = []
    for names, exposures in ((states, exposures_ms), (states[:1], long_ms)):
        dark = yield Shot(*area.centre_um, middle_z, 0.0, PLANES, names, exposures, lit=False)
        offsets += [np.median(frames, axis=0).astype(np.float32) for frames in dark.stack]
    (x, y), z_um = yield from find_objects(area, area.centre_um, crossed_state)
    seen: list[_PlaceLight] = []
    for number in range(3 * places):
        at = x, y
        if number:
            away = 1.5 * max(area.frame_um) * math.sqrt(number)
            at = x + away * math.cos(GOLDEN * number), y + away * math.sin(GOLDEN * number)
            if not area.holds(*at):
                continue
            found = yield from find_focus(at, area.near(z_um, REACH_UM), crossed_state)
            if found is None or found.at_edge:
                continue
            z_um = found.z_um
        first_z_um = z_um - (PLANES - 1) / 2 * STEP_UM
        usual = (yield Shot(*at, first_z_um, STEP_UM, PLANES, states, exposures_ms)).stack.copy()
        long = (yield Shot(*at, first_z_um, STEP_UM, PLANES, states[:1], long_ms)).stack
        frames = usual[0], usual[1], long[0]
        refuse_bad_light(usual[1], full_dn, bright=True)
        refuse_bad_light(long, full_dn, bright=False, saturated=MOST_SATURATED)
        seen.append(_looked_at(frames, offsets, (*exposures_ms, *long_ms)))
        if len(seen) == places:
            break
    if len(seen) < FEWEST_PLACES:
        raise NotUsable(
            f"only {len(seen)} places with something in focus, and {FEWEST_PLACES} are needed; use a mini-slide with "
            "more objects"
        )
    return _outcome(seen, light)


def _looked_at(frames: Sequence[Frames], offsets: Sequence[Image], exposures_ms: Sequence[float]) -> _PlaceLight:
    """Turn frames (Z, H, W) of crossed, parallel, and long crossed into light."""
    means = [
        np.asarray((stack.mean(axis=0, dtype=np.float32) - offset) / np.float32(exposure), np.float32)
        for stack, offset, exposure in zip(frames, offsets, exposures_ms, strict=True)
    ]
    if (signal := float(np.median(means[2])) * exposures_ms[2]) < LEAST_SIGNAL_DN:
        raise NotUsable(
            f"crossed light is only {signal:.1f} DN brighter than darkness in {exposures_ms[2]:g} ms; check the lamp"
        )
    middle = tuple(slice(max(0, (n - CROPPED_PX) // 2), min(n, (n + CROPPED_PX) // 2)) for n in frames[0].shape[1:])
    most = means[2].max()
    first, other = (np.minimum(mean[middle], most) for mean in (means[0], means[2]))
    stirred = register(first, other, reach_px=STIRS_PX)
    whole = round(stirred.y_px), round(stirred.x_px)
    parallel, leaking = (
        np.asarray(
            (frames[number][(slice(None, None, SHIFT_PLANES), *inside)] - offsets[number][inside])
            / np.float32(exposures_ms[number]),
            np.float32,
        )
        for number, inside in ((1, _inside(middle, (0, 0))), (2, _inside(middle, whole)))
    )
    ratio = np.asarray(_binned(means[2]) / np.maximum(_binned(means[1]), 1e-6), np.float32)
    return _PlaceLight(ratio, leaking, parallel, means[0][None], means[1][None], stirred)


def _inside(middle: tuple[slice, ...], away: tuple[int, int]) -> tuple[slice, ...]:
    """Window that is moved by whole pixels along y and x, and small enough to lie in the frame wherever it goes."""
    return tuple(
        slice(part.start + STIRS_PX + step, part.stop - STIRS_PX + step)
        for part, step in zip(middle, away, strict=True)
    )


def _binned(image: Image) -> Image:
    height, width = (n // BINNED * BINNED for n in image.shape)
    parts = image[:height, :width].reshape(height // BINNED, BINNED, width // BINNED, BINNED)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _tiles(ratios: Sequence[Image]) -> Floats:
    """Mode of the ratio in each tile, of some places."""
    stacked = np.stack(ratios)
    rows, columns = (max(1, n // TILE) for n in stacked.shape[1:])
    return np.array(
        [
            [mode(part) for part in np.array_split(strip, columns, axis=2)]
            for strip in np.array_split(stacked, rows, axis=1)
        ]
    )


def _outcome(seen: Sequence[_PlaceLight], light: Band) -> Outcome:
    leakages = np.array([mode(place.ratio) for place in seen])
    leakage = float(np.median(leakages))
    deviation = math.hypot(float(leakages.std(ddof=1)) / math.sqrt(len(seen)), HALO * leakage)
    if leakage <= 0:
        raise NotUsable(f"leakage is {leakage:.2g}: the crossed state is darker than darkness; check the shutter")
    tiles = _tiles([place.ratio for place in seen])
    halves = [_tiles([place.ratio for place in seen[k::2]]) for k in (0, 1)]
    common = float(np.mean((halves[0] - halves[0].mean()) * (halves[1] - halves[1].mean())))
    spread = math.sqrt(max(common, 0.0))
    shift = _shift(seen, leakage)
    ratios = _ratios(seen, leakage, shift.shift_px)
    dip = _least_coherent(seen, leakage, shift.shift_px)
    coherent = (dip + leakage) / 2
    coherent_deviation = (leakage - dip) / math.sqrt(12)
    uneven = math.hypot(coherent, spread)
    uneven_deviation = coherent * coherent_deviation / uneven
    ratio = float(np.median(ratios))
    scatter = 1.4826 * float(np.median(np.abs(np.array(ratios) - ratio))) * 1.2533 / math.sqrt(len(ratios))
    birefringence = calcite_birefringence(light.wavelength_um)
    ends = [calcite_birefringence(light.wavelength_um + sign * light.deviation_um) for sign in (-1, 1)]
    greatest = greatest_thickness_um(light.wavelength_um, birefringence)
    greatest_deviation = (
        abs(
            greatest_thickness_um(light.wavelength_um + light.deviation_um, ends[1])
            - greatest_thickness_um(light.wavelength_um - light.deviation_um, ends[0])
        )
        / 2
    )
    floor = 2 * greatest / math.pi * math.atan(math.sqrt(uneven))
    values = {
        "leakage": Quantity(leakage, deviation, "1"),
        "leakage_deviation": Quantity(uneven, uneven_deviation, "1"),
        "leakage_spread": Quantity(spread, spread / math.sqrt(2 * tiles.size), "1"),
        "coherent": Quantity(coherent, coherent_deviation, "1"),
        "depolarised": Quantity(leakage - coherent, math.hypot(coherent_deviation, deviation), "1"),
        "ratio": Quantity(ratio, math.hypot(scatter, NOT_TAKEN * ratio), "1"),
        "shift_x": Quantity(shift.shift_px[0], shift.deviation_px[0], "px"),
        "shift_y": Quantity(shift.shift_px[1], shift.deviation_px[1], "px"),
        "wavelength": Quantity(light.wavelength_um, light.deviation_um, "um"),
        "birefringence": Quantity(birefringence, abs(ends[1] - ends[0]) / 2, "1"),
        "greatest_thickness": Quantity(greatest, greatest_deviation, "um"),
        "thickness_floor": Quantity(floor, floor * uneven_deviation / (2 * uneven), "um"),
    }
    scattered = float(np.std(ratios))
    number = np.arange(1, len(seen) + 1, dtype=np.float64)
    return Outcome(
        values=values,
        arrays={"leakage": tiles.astype(np.float32)},
        pictures=(
            Map("Leakage of the crossed state over the field", "share of parallel light", tiles),
            Curve("Leakage at each place", "place", "leakage (1)", number, leakages, np.full(len(seen), leakage)),
            Curve(
                "Crystals: light given to crossed over light taken from parallel",
                "crystal",
                "ratio (1)",
                np.arange(1, len(ratios) + 1, dtype=np.float64),
                np.sort(ratios),
                np.full(len(ratios), ratio),
            ),
        ),
        residuals={
            "leakage of places": Quantity(float(leakages.std(ddof=1)), deviation, "1"),
            "ratio of crystals": Quantity(scattered, scattered / math.sqrt(2 * len(ratios)), "1"),
        },
    )


def _shift(seen: Sequence[_PlaceLight], leakage: float) -> StateShift:
    """Shift of the states, of all places whose leaking light shows the same image, by their weights.

    The flat field that is taken off parallel light must not meet the same pixel's gain in crossed light, or the two
    would have in common what is fixed in the frame; so crossed light loses only what is smooth.
    """
    even = _even([place.leaking for place in seen], [place.parallel for place in seen])
    found = [
        _unstirred(shift, place.stirred)
        for place, pair in zip(seen, even, strict=True)
        if (shift := shift_between_states(*pair, leakage)) is not None
    ]
    clear = [one for one in found if max(one.deviation_px) < MOST_UNSURE_PX]
    by_crystals = _shift_by_crystals(seen, leakage)
    if not clear:
        if by_crystals is None:
            raise NotUsable(
                "neither state shows enough of what the other does, so their shift cannot be found; use a mini-slide "
                "with more coccoliths, or with diatoms beside calcite"
            )
        return by_crystals
    shifts, deviations = (np.array([getattr(one, name) for one in clear]) for name in ("shift_px", "deviation_px"))
    weights = 1 / deviations**2
    shift = (shifts * weights).sum(axis=0) / weights.sum(axis=0)
    # Places that disagree more than they should say how far to trust them.
    chi = ((shifts - shift) ** 2 * weights).sum(axis=0) / max(len(clear) - 1, 1)
    deviation = np.sqrt(np.maximum(chi, 1) / weights.sum(axis=0))
    if by_crystals is not None and deviation.max() > max(by_crystals.deviation_px):
        return by_crystals
    return StateShift((float(shift[0]), float(shift[1])), (float(deviation[0]), float(deviation[1])))


def _unstirred(shift: StateShift, stirred: Shift) -> StateShift:
    """Shift as it were if both exposures were of the same place; whole pixels were taken off before."""
    (x, y), deviations = shift.shift_px, shift.deviation_px
    known = stirred.deviation_px if stirred.strength > CLEAR_PEAK else math.inf
    across, down = (math.hypot(deviation, known, UNLIKE_PX) for deviation in deviations)
    left = stirred.x_px - round(stirred.x_px), stirred.y_px - round(stirred.y_px)
    return StateShift((x - left[0], y - left[1]), (across, down))


def _shift_by_crystals(seen: Sequence[_PlaceLight], leakage: float) -> StateShift | None:
    """Shift of the states by crystals, None where too few are alike in both."""
    pairs = _even([place.crossed_mean for place in seen], [place.parallel_mean for place in seen])
    shifts = np.array(
        [shift for crossed, parallel in pairs for shift in shifts_of_crystals(crossed[0], parallel[0], leakage)]
    )
    if len(shifts) < FEWEST_CRYSTALS:
        return None
    shift = np.median(shifts, axis=0)
    scatter = 1.4826 * np.median(np.abs(shifts - shift), axis=0) * 1.2533 / math.sqrt(len(shifts))
    deviation = np.hypot(scatter, REFRACTED_PX)
    return StateShift((float(shift[0]), float(shift[1])), (float(deviation[0]), float(deviation[1])))


def _even(crossed: Sequence[Image], parallel: Sequence[Image]) -> list[tuple[Image, Image]]:
    """Both states of each place (Z, H, W) over the flat field, in units of the parallel light of an empty field.

    The flat field is that of parallel light, which crystals hardly dim; what leaks is as uneven, but for its smoothing.
    """
    means = np.stack([light.mean(axis=0) for light in parallel])
    fine = np.median(means / np.median(means, axis=(1, 2), keepdims=True), axis=0).astype(np.float32)
    fine = np.maximum(fine, 0.05)
    smooth = cv2.GaussianBlur(fine, (0, 0), FLAT_PX)
    even = []
    for dim, bright in zip(crossed, parallel, strict=True):
        light = bright / fine
        empty = np.float32(np.median(light))
        even.append((np.asarray(dim / smooth / empty, np.float32), np.asarray(light / empty, np.float32)))
    return even


def _ratios(seen: Sequence[_PlaceLight], leakage: float, shift_px: XY) -> list[float]:
    """Ratios of the states by all crystals."""
    pairs = _even([place.crossed_mean for place in seen], [place.parallel_mean for place in seen])
    ratios = [
        ratio
        for crossed, parallel in pairs
        for ratio in ratios_of_crystals(crossed[0], moved(parallel[0], shift_px), leakage)
    ]
    if len(ratios) < FEWEST_CRYSTALS:
        raise NotUsable(
            f"only {len(ratios)} crystals are alike in both states, and {FEWEST_CRYSTALS} are needed; use a mini-slide "
            "with coccoliths or more places"
        )
    return ratios


def _least_coherent(seen: Sequence[_PlaceLight], leakage: float, shift_px: XY) -> float:
    """Share that the deepest dip around crystals shows to be coherent."""
    lowest, noise = leakage, 0.0
    inner = slice(INNER_PX, -INNER_PX), slice(INNER_PX, -INNER_PX)
    for leaking, parallel in _even([place.leaking for place in seen], [place.parallel for place in seen]):
        for one, other in zip(leaking, parallel, strict=True):
            dim, bright = one[inner], np.maximum(moved(other, shift_px)[inner], 0.05)
            share = cv2.GaussianBlur(dim, (0, 0), DIP_PX) / cv2.GaussianBlur(bright, (0, 0), DIP_PX)
            near = turning(dim, bright, leakage)
            thin = near & (np.abs(cv2.GaussianBlur(bright, (0, 0), DIP_PX) - 1) < THIN)
            if thin.any():
                lowest = min(lowest, float(share[thin].min()))
            noise = max(noise, 1.4826 * float(np.median(np.abs(share[~near] - leakage))))
    return float(np.clip(leakage - lowest - NOISE_REACHES * noise, 0, leakage))
