"""The outline of one object, by the rules of docs/measurement.md: where a dark field ends, or a bright one is steepest.

Points are x, y in px of the images, where pixel n reaches from n to n + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.objects.objects import Box

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

RULE = "end of the dark field or steepest bright one, 2"
"""Names the rule; another one gets another number."""
BLUR_UM = 0.082
"""Standard deviation of the objective's own blur, 0.21 lambda / NA."""
BEYOND_BOX_UM = 0.3
RIM_UM = 0.8
"""So far inside its edge an object has its rim, at most."""
SHIELD_LEVEL, PLAIN_LEVEL = 0.175, 0.5
"""Amplitude where matter ends, over the rim's: half of that of a shield a third as thick; half of a plain edge."""
PLAIN_FLANK_UM = 0.165
"""Distance of both levels up to which an edge is plain; the objective's own blur makes it 0.09 um."""
AMPLITUDE_NOISES, GRADIENT_NOISES = 5.0, 6.0
LOCAL_UM, LOCAL_SHARE = 0.4, 0.5
"""A bright edge has this share of the greatest gradient within that distance: what is less is a fringe beside one."""
GAP_UM = 0.4
DARK_THREAD_UM, BRIGHT_THREAD_UM = 0.7, 0.3
"""What is thinner and hangs on the filled outline is cut off; light beside light makes a bridge in the dark field."""
INWARD_UM, OUTWARD_UM = 0.35, 0.15
"""How far the crest of the gradient may lie from where it has half of its height."""
CREST_SHARE = 0.5
PREFERENCE = 0.02
"""A bright outline must fit the detection's box by so much better than a dark one to be taken instead."""
SAMPLES_A_PIXEL = 2
EVENING_UM = 0.1
ALONG_UM = 0.3
"""Standard deviations along the contour, over which points and shifts, and what lies across it, are evened out."""
FINEST = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Sees noise alone (Immerkaer 1996, Computer Vision and Image Understanding 64, 300)."""
MEDIAN_OF_NOISE = 0.6745
LEAST_POINTS = 8
MEDIAN_REACH = 2
"""Points on either side over which a single wrong shift is left out."""


@dataclass(frozen=True, eq=False)
class Outline:
    """Where an object ends.

    Attributes
    ----------
    points
        (N, 2) x, y, once around.
    inside
        (h, w), pixels whose centre lies inside.
    dark
        whether the dark field showed it.
    clipped
        it runs along the border of what was searched, so the object may go on beyond.
    """

    points: Points
    inside: NDArray[np.bool_]
    dark: bool
    clipped: bool


def noise_of(image: Floats) -> float:
    """Return the standard deviation of the noise of an image (h, w), from its finest detail."""
    finest = cv2.filter2D(image, cv2.CV_32F, FINEST)
    return _median(np.abs(finest[::2, ::2])) / (MEDIAN_OF_NOISE * 6)


def _median(values: NDArray[np.floating]) -> float:
    """Median, the upper one of an even number; of a few thousand values in half the time that numpy's takes."""
    half = values.size // 2
    return float(np.partition(values, half, axis=None)[half])


def find_outline(
    dark: Floats | None,
    bright: Floats | None,
    box: Box,
    pixel_um: float,
    dark_shift_px: tuple[float, float] = (0.0, 0.0),
) -> Outline | None:
    """Outline what a detection's box holds; None where nothing in it stands out from the noise.

    Parameters
    ----------
    dark
        light of the crossed state, (h, w), of one plane, in any unit, without offset; None if it was not exposed.
    bright
        the same of the parallel state.
    box
        the detection, in px of the images.
    dark_shift_px
        where the dark image lies, relative to the bright one, x and y; the outline is told in the bright one's px.
    """
    if dark is None and bright is None:
        raise ValueError("neither a dark nor a bright field image was given; an outline needs one")
    search = _Search.around(box, (dark if dark is not None else bright).shape, pixel_um)  # type: ignore[union-attr]
    best: Points | None = None
    by_dark, fit = False, 0.0
    for light, is_dark in ((dark, True), (bright, False)):
        if light is None:
            continue
        image = _amplitude(light, search) if is_dark else _gradient(light, search)
        seen, thread_um = (_above, DARK_THREAD_UM) if is_dark else (_edges, BRIGHT_THREAD_UM)
        contour = search.contour(seen(image, search), thread_um)
        if contour is None:
            continue
        even = _even(contour, EVENING_UM / pixel_um)
        points = _to_level(image, even, pixel_um) if is_dark else _to_crest(image, even, pixel_um)
        own = search.fit(points)
        if own > fit + (PREFERENCE if best is not None else 0):
            best, by_dark, fit = points, is_dark, own
    if best is None:
        return None
    points = best - np.array(dark_shift_px) if by_dark else best
    inside = _inside(points, search.shape)
    return Outline(points, inside, by_dark, search.clips(best)) if inside.any() else None


def _inside(points: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside a polygon: those with an odd number of crossings on their left."""
    x, y = (points - 0.5).T
    after_x, after_y = _turned(x, 1), _turned(y, 1)
    low, high = np.minimum(y, after_y), np.maximum(y, after_y)
    first = np.clip(np.ceil(low), 0, shape[0]).astype(np.intp)
    count = np.maximum(np.clip(np.ceil(high), 0, shape[0]).astype(np.intp) - first, 0)
    edge = np.repeat(np.arange(len(points)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = (row - y[edge]) / (after_y - y)[edge]
    column = np.clip(np.ceil(x[edge] + share * (after_x - x)[edge]), 0, shape[1]).astype(np.intp)
    crossings = np.bincount(row * (shape[1] + 1) + column, minlength=shape[0] * (shape[1] + 1))
    crossings = crossings.reshape(shape[0], shape[1] + 1)
    return np.asarray(np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1)


@dataclass(frozen=True)
class _Search:
    """Where an object is looked for: the detection's box, and that box grown, clipped to the image."""

    box: Box
    grown: Box
    shape: tuple[int, ...]
    pixel_um: float

    @classmethod
    def around(cls, box: Box, shape: tuple[int, ...], pixel_um: float) -> _Search:
        beyond = round(BEYOND_BOX_UM / pixel_um)
        x0, y0 = max(box[0] - beyond, 0), max(box[1] - beyond, 0)
        return cls(box, (x0, y0, min(box[2] + beyond, shape[1]), min(box[3] + beyond, shape[0])), shape, pixel_um)

    def background(self, image: Floats) -> float:
        """Median of what lies outside the box; where nothing does, the darkest tenth."""
        x0, y0, x1, y1 = self.box
        outside = np.ones(image.shape, np.bool_)
        outside[y0:y1, x0:x1] = False
        return _median(image[outside]) if outside.any() else float(np.percentile(image, 10))

    def contour(self, seen: NDArray[np.bool_], thread_um: float) -> Points | None:
        """Contour (N, 2) of the part that fits the box best, its gaps closed, holes filled, threads cut."""
        x0, y0, x1, y1 = self.grown
        gap, thread = round(GAP_UM / 2 / self.pixel_um), round(thread_um / 2 / self.pixel_um)
        part = seen[y0:y1, x0:x1].astype(np.uint8)
        padded = cv2.copyMakeBorder(part, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
        closed = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(gap)), np.uint8)
        filled = np.zeros_like(closed)
        cv2.drawContours(filled, _contours(closed), -1, 1, cv2.FILLED)
        opened = np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _disc(thread)), np.uint8)
        corner = np.array([x0 - gap, y0 - gap]) + 0.5
        placed = [one[:, 0] + corner for one in _contours(opened)]
        return max((one for one in placed if len(one) >= LEAST_POINTS), key=self.fit, default=None)

    def clips(self, points: Points) -> bool:
        """Whether some points lie on the border of what is searched."""
        x0, y0, x1, y1 = self.grown
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return bool(left <= x0 + 1 or top <= y0 + 1 or right >= x1 - 1 or bottom >= y1 - 1)

    def fit(self, points: Points) -> float:
        """Intersection over union of the box around some points with the detection's."""
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        x0, y0, x1, y1 = self.box
        common = max(min(right, x1) - max(left, x0), 0) * max(min(bottom, y1) - max(top, y0), 0)
        return float(common / ((right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - common))


def _contours(image: NDArray[np.uint8]) -> Sequence[NDArray[np.int32]]:
    found: Sequence[NDArray[np.int32]] = cv2.findContours(image, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]  # type: ignore[assignment]
    return found


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _square(reach_px: float) -> NDArray[np.uint8]:
    side = 2 * round(reach_px) + 1
    return np.ones((side, side), np.uint8)


def _smooth(light: Floats, search: _Search) -> tuple[Floats, float]:
    """Smooth an image (h, w) as wide as the objective's own blur, and tell what noise is left."""
    sigma = BLUR_UM / search.pixel_um
    noise = noise_of(light) / (2 * math.sqrt(math.pi) * sigma)
    least = float(np.abs(light).max()) * float(np.finfo(np.float32).eps) + float(np.finfo(np.float32).tiny)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32), max(noise, least)


def _amplitude(light: Floats, search: _Search) -> Floats:
    """Root of the light of a dark field over its background, over its noise where there is none, (h, w)."""
    smooth, noise = _smooth(light, search)
    lit = np.maximum(smooth - np.float32(search.background(smooth)), 0)
    return np.asarray(np.sqrt(lit / np.float32(noise)), np.float32)


def _above(amplitude: Floats, search: _Search) -> NDArray[np.bool_]:
    """Where a dark field is lit, over noise and over what lights up beside something brighter."""
    rim = cv2.dilate(amplitude, _square(RIM_UM / search.pixel_um))
    return np.asarray((amplitude > math.sqrt(AMPLITUDE_NOISES)) & (amplitude > SHIELD_LEVEL * rim))


def _gradient(light: Floats, search: _Search) -> Floats:
    """Magnitude of the gradient of a bright field over its noise, (h, w)."""
    smooth, noise = _smooth(light, search)
    along, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    # Noise smoothed by a Gaussian has a derivative of its deviation over sqrt(2) sigma.
    over = math.sqrt(2) * BLUR_UM / search.pixel_um / noise
    return np.asarray(cv2.magnitude(along, down) * np.float32(over), np.float32)


def _edges(gradient: Floats, search: _Search) -> NDArray[np.bool_]:
    """Where the gradient stands out from the noise and from stronger edges nearby."""
    strongest = cv2.dilate(gradient, _square(LOCAL_UM / search.pixel_um))
    return np.asarray((gradient > GRADIENT_NOISES) & (gradient > LOCAL_SHARE * strongest))


def _even(contour: Points, deviation: float) -> Points:
    """Points about a pixel apart, without the staircase of pixels."""
    steps = np.hypot(*(_turned(contour, 1) - contour).T)
    way = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(LEAST_POINTS, round(float(way[-1])))
    at = np.arange(count) * way[-1] / count
    closed = np.vstack([contour, contour[:1]])
    points = np.stack([np.interp(at, way, closed[:, axis]) for axis in (0, 1)], axis=1)
    return np.asarray(_around(points, deviation), np.float64)


def _turned(values: NDArray[np.floating], by: int) -> NDArray[np.floating]:
    """Begin a closed contour (N, ...) some points later; in a third of the time that numpy's roll takes."""
    return np.concatenate([values[by:], values[:by]])


def _around(values: NDArray[np.floating], deviation: float) -> NDArray[np.floating]:
    """Gaussian mean along a closed contour, (N, ...)."""
    reach = min(math.ceil(3 * deviation), len(values))
    closed = np.concatenate([values[-reach:], values, values[:reach]])
    kernel = cv2.getGaussianKernel(2 * reach + 1, deviation)
    smooth = cv2.filter2D(closed.reshape(len(closed), -1), -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth[reach : reach + len(values)], values.dtype).reshape(values.shape)


def _outward(contour: Points, deviation: float) -> Points:
    """Give normals of unit length, (N, 2)."""
    tangent = _around(_turned(contour, 1) - _turned(contour, -1), deviation)
    x, y = contour.T
    turn = math.copysign(1.0, float(x @ _turned(y, 1) - y @ _turned(x, 1)))
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) * turn
    return np.asarray(normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None], np.float64)


def _across(image: Floats, contour: Points, normal: Points, away: NDArray[np.float64]) -> Floats:
    """Sample an image across a contour, (N, S), at distances `away` outward."""
    at, step, out = (contour - 0.5).astype(np.float32), normal.astype(np.float32), away.astype(np.float32)
    x, y = (at[:, k : k + 1] + out * step[:, k : k + 1] for k in (0, 1))
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _moved(contour: Points, normal: Points, shift: NDArray[np.float64], found: NDArray[np.bool_], px: float) -> Points:
    """Move points along their normals; those that found nothing as most others."""
    if not found.any():
        return contour
    shift = np.where(found, shift, _median(shift[found]))
    closed = np.concatenate([shift[-MEDIAN_REACH:], shift, shift[:MEDIAN_REACH]]).astype(np.float32)
    middle = cv2.medianBlur(closed[:, None], 2 * MEDIAN_REACH + 1)[MEDIAN_REACH : MEDIAN_REACH + len(shift)]
    return np.asarray(contour + _around(np.asarray(middle, np.float64), EVENING_UM / px) * normal)


def _to_level(amplitude: Floats, contour: Points, pixel_um: float) -> Points:
    """Move each point to where the amplitude, from the rim outward, falls to the level where matter ends."""
    normal = _outward(contour, EVENING_UM / pixel_um)
    step = 1 / SAMPLES_A_PIXEL
    away = np.arange(-RIM_UM / pixel_um, 2 * OUTWARD_UM / pixel_um, step)
    seen = _around(_across(amplitude, contour, normal, away), ALONG_UM / pixel_um)
    rim = seen.max(axis=1, keepdims=True)
    beyond_rim = np.arange(len(away)) > seen.argmax(axis=1)[:, None]
    crossings = []
    for level in (PLAIN_LEVEL, SHIELD_LEVEL):
        below = (seen < level * rim) & beyond_rim
        at, rows = below.argmax(axis=1), np.arange(len(seen))
        inner, outer = seen[rows, at - 1], seen[rows, at]
        falls = np.where(inner > outer, inner - outer, 1)
        part = ((inner - level * rim[:, 0]) / falls).clip(0, 1)
        crossings.append((away[at] - step * (1 - part), below.any(axis=1)))
    (plain, found_plain), (shield, found_shield) = crossings
    both = found_plain & found_shield
    is_plain = both.any() and _median((shield - plain)[both]) <= PLAIN_FLANK_UM / pixel_um
    return _moved(contour, normal, *((plain, found_plain) if is_plain else (shield, found_shield)), pixel_um)


def _to_crest(gradient: Floats, contour: Points, pixel_um: float) -> Points:
    """Move each point along its normal to the first crest of the gradient, from outside in."""
    normal = _outward(contour, EVENING_UM / pixel_um)
    step = 1 / SAMPLES_A_PIXEL
    away = np.arange(OUTWARD_UM / pixel_um, -INWARD_UM / pixel_um, -step)
    seen = _across(gradient, contour, normal, away)
    inner = seen[:, 1:-1]
    crest = (inner >= seen[:, :-2]) & (inner > seen[:, 2:]) & (inner >= CREST_SHARE * seen.max(axis=1, keepdims=True))
    at, rows = crest.argmax(axis=1) + 1, np.arange(len(contour))
    outer, top, deeper = seen[rows, at - 1], seen[rows, at], seen[rows, at + 1]
    curvature = outer - 2 * top + deeper
    part = np.where(curvature < 0, 0.5 * (outer - deeper) / np.where(curvature < 0, curvature, 1), 0).clip(-1, 1)
    return _moved(contour, normal, away[at] - step * part, crest.any(axis=1), pixel_um)
