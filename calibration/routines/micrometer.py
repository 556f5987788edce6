"""`micrometer`: the pixel size from an image of a stage micrometer, lines at a known pitch.

Light is first made even. The spectrum's strongest peak tells pitch and direction roughly. In bands across the lines
each line's middle is the centre of gravity of its profile; its place over its number, a straight line fitted to all
bands at once, is the pitch in px, and what the lines lean from band to band their direction. With both as found, bands
and lines are taken once more. Unlike a stage, a micrometer has no error of motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from calibration.routines.place_finding import Area, find_objects, refuse_bad_light
from calibration.steps import Curve, Map, NotUsable, Outcome, Quantity, Routine, Shot, Stack

Floats = NDArray[np.float64]
Image = NDArray[np.float32]

BANDS = 16
FEWEST_LINES = 4
FRAMES = 4
CLEAR = 5.0
"""Height of a line over the scatter of its profile below which it is passed over."""
OUTLIER = 5.0
UNEVEN, UNSURE = 0.05, 0.005
"""Scatter of the lines, and uncertainty of the pitch, over the pitch, from which on they are not those of a ruling."""
ANOTHER = 1.25
"""Ratio of the pixel that is found to the one that is configured beyond which the lines are not those certified."""
MOST_UNEVEN, STRIDE = 0.02, 7
"""Least share of the frame that must be bright to tell how it is lit; one of so many of its pixels counts."""


@dataclass(frozen=True)
class Reading:
    """What the image of a micrometer tells.

    Attributes
    ----------
    pitch_px
        distance of neighbouring lines.
    deviation_px
        its standard uncertainty.
    angle_deg
        direction across the lines, from columns towards rows, within -90 and 90.
    angle_deviation_deg
        its standard uncertainty.
    places_px
        (N,), of lines across them.
    residuals_px
        (N,), their distance from the fit.
    """

    pitch_px: float
    deviation_px: float
    angle_deg: float
    angle_deviation_deg: float
    places_px: Floats
    residuals_px: Floats


def read_micrometer(image: Image) -> Reading:
    """Find pitch and direction of parallel lines, dark or bright, in an image (H, W).

    Raises
    ------
    NotUsable
        Fewer than four lines are seen, or none, or they are not even.
    """
    image = _evenly_lit(image)
    along, across = _rough(image)
    pitch, turn = 1 / math.hypot(along, across), math.atan2(across, along)
    light = image if _lines_are_bright(image, pitch) else -image
    # Twice, as across lines whose direction is known better the profile is sharper, and their numbers are sure.
    for _ in range(2):
        reading = _fitted(_seen(light, pitch, turn), turn)
        pitch, turn = reading.pitch_px, math.radians(reading.angle_deg)
    rest = float(np.sqrt(np.mean(reading.residuals_px**2)))
    if rest > UNEVEN * reading.pitch_px or reading.deviation_px > UNSURE * reading.pitch_px:
        raise NotUsable(
            f"the lines are not even, they lie {rest:.1f} px off a pitch of {reading.pitch_px:.1f} px; bring a clean "
            "part of the micrometer, lines of one distance only, into the frame and into focus, or correct z_um of the "
            "mini-slide if focus lies beyond what is searched"
        )
    return reading


def _evenly_lit(image: Image) -> Image:
    """Divide by the light between lines, a surface of second order: uneven light would draw wide lines towards it."""
    low, high = np.percentile(image, (2, 98))
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape)
    terms = np.stack(np.broadcast_arrays(np.float32(1), x, y[:, None], x * x, x * y[:, None], y[:, None] ** 2), axis=-1)
    # Away from the lines' edges, which are neither dark nor bright.
    lit = cv2.erode((image > (low + high) / 2).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    if np.count_nonzero(lit) < MOST_UNEVEN * image.size:
        return image
    surface = np.linalg.lstsq(terms[lit][::STRIDE], image[lit][::STRIDE], rcond=None)[0]
    light = terms @ surface
    return np.asarray(image / light, np.float32) if light.min() > 0 else image


def _lines_are_bright(image: Image, pitch: float) -> bool:
    """Whether the narrower stripes are the bright ones."""
    uneven = image - cv2.blur(image, (2 * round(pitch) + 1,) * 2, borderType=cv2.BORDER_REFLECT)
    return float(np.mean(uneven**3)) > 0


def _seen(light: Image, pitch: float, turn: float) -> Floats:
    """Find the lines in each of the bands across them, (N, 3): number, middle of the band, place."""
    height, width = light.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    place = x * math.cos(turn) + y * math.sin(turn)
    side = y * math.cos(turn) - x * math.sin(turn)
    edges = np.linspace(float(side.min()), float(side.max()), BANDS + 1)
    band_of = np.clip(np.digitize(side, edges) - 1, 0, BANDS - 1)
    seen = [
        (number, (edges[band] + edges[band + 1]) / 2, at)
        for band in range(BANDS)
        for number, at in _lines(place[band_of == band], light[band_of == band], pitch)
    ]
    if len({number for number, *_ in seen}) < FEWEST_LINES:
        raise NotUsable(
            f"fewer than {FEWEST_LINES} lines of a micrometer are seen; bring more into the frame and into focus"
        )
    return np.array(seen)


def _rough(image: Image) -> tuple[float, float]:
    """Cycles a px along x and y of the lines."""
    height, width = image.shape
    taper = np.outer(np.hanning(height), np.hanning(width))
    size = 2 * height, 2 * width
    spectrum = np.abs(fft.fft2((image - image.mean()) * taper, size))
    fy, fx = fft.fftfreq(size[0])[:, None], fft.fftfreq(size[1])[None, :]
    spectrum[np.hypot(fy, fx) < 2.5 / min(height, width)] = 0
    half = spectrum[:, : size[1] // 2]
    row, column = np.unravel_index(int(np.argmax(half)), half.shape)
    strongest = float(spectrum[row, column])
    if strongest < 8 * float(np.sqrt(np.mean(spectrum**2))):
        raise NotUsable("no regular lines are seen; bring the micrometer into the frame and into focus")
    # Between the points of the spectrum, by a parabola through the peak along either axis.
    above, below, left, right = (
        float(np.log(spectrum[(row + v) % size[0], (column + u) % size[1]] + 1e-12 * strongest))
        for v, u in ((-1, 0), (1, 0), (0, -1), (0, 1))
    )
    top = math.log(strongest)
    along = float(fx[0, column]) + _vertex(left, top, right) / size[1]
    across = float(fy[row, 0]) + _vertex(above, top, below) / size[0]
    # Thin lines have strong overtones: the lowest strong one is the pitch.
    for part in range(6, 1, -1):
        lower = round(along / part * size[1]), round(across / part * size[0])
        near = spectrum[np.ix_(*((np.arange(-1, 2) + at) % n for at, n in zip(lower[::-1], size, strict=True)))]
        if near.max() > 0.4 * strongest:
            return along / part, across / part
    return along, across


def _vertex(before: float, top: float, after: float) -> float:
    """Where a parabola through three points, one apart, is highest, from the middle one; within half a step."""
    bend = 2 * top - before - after
    return float(np.clip((after - before) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0


def _lines(place: Floats, light: Floats, pitch: float) -> list[tuple[int, float]]:
    """Find number and place of each line that lies wholly in one band."""
    low, high = math.ceil(float(place.min())), math.floor(float(place.max()))
    if high - low < 2 * pitch:
        return []
    bins = np.rint(place).astype(np.intp) - low
    inside = (bins >= 0) & (bins <= high - low)
    counts, sums, places = (
        np.bincount(bins[inside], weights, high - low + 1) for weights in (None, light[inside], place[inside])
    )
    filled = counts > 0.3 * np.median(counts)
    profile, at = sums[filled] / counts[filled], places[filled] / counts[filled]
    wave = np.exp(-2j * np.pi * (at / pitch))
    first = -float(np.angle(((profile - profile.mean()) * wave).sum())) / (2 * np.pi) * pitch
    noise = float(np.median(np.abs(np.diff(profile))))
    found = []
    for number in range(math.ceil((at[0] - first) / pitch), math.floor((at[-1] - first) / pitch) + 1):
        line = _centred(at, profile, first + number * pitch, pitch)
        if line is not None and line[1] > CLEAR * noise:
            found.append((number, line[0]))
    return found


def _centred(at: Floats, profile: Floats, centre: float, pitch: float) -> tuple[float, float] | None:
    """Middle and height of the line near a place, over a straight floor between its sides; None where it is cut."""
    for _ in range(5):
        away = at - centre
        if min(centre - at[0], at[-1] - centre) < 0.5 * pitch:
            return None
        left, right = ((edge * away > 0.36 * pitch) & (edge * away < 0.5 * pitch) for edge in (-1, 1))
        if not (left.any() and right.any()):
            return None
        slope = float(profile[right].mean() - profile[left].mean()) / float(at[right].mean() - at[left].mean())
        floor = float(profile[left].mean()) + slope * (at - at[left].mean())
        near = np.abs(away) < 0.36 * pitch
        weights = np.maximum(profile[near] - floor[near], 0)
        if weights.sum() <= 0:
            return None
        centre = float((weights * at[near]).sum() / weights.sum())
    return centre, float(weights.max())


def _fitted(seen: Floats, turn: float) -> Reading:
    """Fit place = first + pitch * number + lean * side to all lines (N, 3: number, side, place)."""
    number, side, place = seen.T
    terms = np.stack([np.ones_like(number), number, side], axis=1)
    keep = np.ones(len(seen), np.bool_)
    for _ in range(4):
        solution, *_ = np.linalg.lstsq(terms[keep], place[keep], rcond=None)
        rest = place - terms @ solution
        spread = max(1.4826 * float(np.median(np.abs(rest[keep]))), 1e-6)
        keep = np.abs(rest) < OUTLIER * spread
    freedom = max(int(keep.sum()) - 3, 1)
    # A line that lies off does so in all bands, so that only one band of them counts.
    covariance = BANDS * np.linalg.inv(terms[keep].T @ terms[keep]) * float(np.sum(rest[keep] ** 2)) / freedom
    lean = float(solution[2])
    angle = math.degrees(turn - math.atan(lean))
    return Reading(
        pitch_px=abs(float(solution[1])) / math.hypot(1, lean),
        deviation_px=float(np.sqrt(covariance[1, 1])),
        angle_deg=math.remainder(angle, 180),
        angle_deviation_deg=math.degrees(float(np.sqrt(covariance[2, 2]))),
        places_px=place[keep],
        residuals_px=rest[keep],
    )


def micrometer(
    area: Area, state: str, pitch_um: float, pitch_deviation_um: float = 0.0, full_dn: int = 65535
) -> Routine:
    """Find the pixel size with a stage micrometer under the objective.

    Parameters
    ----------
    area
        about its middle lie the lines.
    state
        polarization that shows them.
    pitch_um
        distance of neighbouring lines by its certificate.
    pitch_deviation_um
        its standard uncertainty.

    Raises
    ------
    NotUsable
        Too bright, too dark, nothing in focus, no four even lines, or others than those certified.
    """
    middle_um = (area.search.low_um + area.search.high_um) / 2
    shown = yield Shot(*area.centre_um, middle_um, 0.0, 1, (state,))
    _refuse_bad_light(shown.stack, full_dn)
    (x, y), z_um = yield from find_objects(area, area.centre_um, state)
    shown = yield Shot(x, y, z_um, 0.0, FRAMES, (state,))
    _refuse_bad_light(shown.stack, full_dn)
    image = shown.stack[0].mean(axis=0, dtype=np.float32)
    reading = read_micrometer(image)
    pixel_um, expected_um = pitch_um / reading.pitch_px, area.frame_um[0] / image.shape[1]
    if not 1 / ANOTHER < pixel_um / expected_um < ANOTHER:
        raise NotUsable(
            f"lines {reading.pitch_px:.1f} px apart that are {pitch_um:g} um apart by their certificate make a pixel "
            f"of {pixel_um:.4g} um, far from the {expected_um:.4g} um that the configuration says; correct the pitch "
            "of the target, or else pixel_um"
        )
    deviation = pixel_um * math.hypot(reading.deviation_px / reading.pitch_px, pitch_deviation_um / pitch_um)
    rest = float(np.sqrt(np.mean(reading.residuals_px**2)))
    return Outcome(
        values={
            "pixel": Quantity(pixel_um, deviation, "um"),
            "angle": Quantity(reading.angle_deg, reading.angle_deviation_deg, "deg"),
        },
        pictures=(
            Map("The micrometer in focus", "intensity (DN)", image),
            Curve(
                "Lines of the micrometer, against even ones",
                "across the lines (px)",
                "deviation (px)",
                np.sort(reading.places_px),
                reading.residuals_px[np.argsort(reading.places_px)],
            ),
        ),
        residuals={"lines": Quantity(rest, rest / math.sqrt(2 * len(reading.residuals_px)), "px")},
    )


def _refuse_bad_light(frames: Stack, full_dn: int) -> None:
    """Judge the light between the lines, however wide these are."""
    low, high = np.percentile(frames, (1, 99))
    refuse_bad_light(frames[frames >= (low + high) / 2], full_dn, bright=True)
