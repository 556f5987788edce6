"""What an image shows of an object's end: the amplitude of a dark field, the gradient of a bright one."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.objects import contour as closed
from inference.objects.contour import Floats, Mask, Points
from inference.objects.search import Search

BLUR_UM = 0.082
"""Standard deviation of the objective's own blur, 0.21 lambda / NA."""
LEAST_SMOOTHING_PX = 0.5
"""An image is smoothed by no less: pixels coarser than the objective's blur have noise, too."""
RIM_UM = 0.8
"""So far inside its edge an object has its rim, at most."""
SHIELD_LEVEL, PLAIN_LEVEL = 0.175, 0.5
"""Amplitude where matter ends, over the rim's: half of that of a shield a third as thick; half of a plain edge."""
PLAIN_FLANK_UM = 0.165
"""Distance of both levels up to which an edge is plain; the objective's own blur makes it 0.09 um."""
AMPLITUDE_NOISES, GRADIENT_NOISES = 5.0, 6.0
LOCAL_UM, LOCAL_SHARE = 0.4, 0.5
"""A bright edge has this share of the greatest gradient within that distance: what is less is a fringe beside one."""
INWARD_UM, OUTWARD_UM = 0.35, 0.15
"""How far the crest of the gradient may lie from where it has half of its height."""
CREST_SHARE = 0.5
STEP_PX = 0.5
LEAST_SAMPLES = 5
"""Across a contour: half a pixel apart, and no fewer, however coarse the pixels are."""
EVENING_UM = 0.1
ALONG_UM = 0.3
"""Standard deviations along the contour, over which points and shifts, and what lies across it, are evened out."""
FINEST = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Sees noise alone (Immerkaer 1996, Computer Vision and Image Understanding 64, 300)."""
MEDIAN_OF_NOISE = 0.6745
HALF_SEEN = 5.0
"""Gradient over its noise at which an edge counts half."""


def noise_of(image: Floats) -> float:
    """Return the standard deviation of the noise of an image (h, w), from its finest detail."""
    finest = cv2.filter2D(image, cv2.CV_32F, FINEST)
    return middle_of(np.abs(finest[::2, ::2])) / (MEDIAN_OF_NOISE * 6)


def middle_of(values: NDArray[np.floating]) -> float:
    """Median, the upper one of an even number; of a few thousand values in half the time that numpy's takes."""
    half = values.size // 2
    return float(np.partition(values, half, axis=None)[half])


def _square(reach_px: float) -> NDArray[np.uint8]:
    side = 2 * round(reach_px) + 1
    return np.ones((side, side), np.uint8)


def _sigma_px(search: Search) -> float:
    return max(BLUR_UM / search.pixel_um, LEAST_SMOOTHING_PX)


def _smooth(light: Floats, search: Search) -> tuple[Floats, float]:
    """Smooth an image (h, w) as wide as the objective's own blur, and tell what noise is left."""
    sigma = _sigma_px(search)
    noise = noise_of(light) / (2 * math.sqrt(math.pi) * sigma)
    least = float(np.abs(light).max()) * float(np.finfo(np.float32).eps) + float(np.finfo(np.float32).tiny)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32), max(noise, least)


def amplitude(light: Floats, search: Search) -> Floats:
    """Root of the light of a dark field over its background, over its noise where there is none, (h, w)."""
    smooth, noise = _smooth(light, search)
    outside = search.outside(smooth)
    background = middle_of(outside) if outside.size else float(np.percentile(smooth, 10))
    lit = np.maximum(smooth - np.float32(background), 0)
    return np.asarray(np.sqrt(lit / np.float32(noise)), np.float32)


def lit(image: Floats, search: Search) -> Mask:
    """Where an amplitude stands out from noise and from what lights up beside something brighter."""
    rim = cv2.dilate(image, _square(RIM_UM / search.pixel_um))
    return np.asarray((image > math.sqrt(AMPLITUDE_NOISES)) & (image > SHIELD_LEVEL * rim))


class Gradient:
    """Gradient of a bright field over its noise.

    Attributes
    ----------
    parts
        along x and y, (h, w, 2).
    strength
        its magnitude, (h, w).
    darker
        whether the object is known to be darker along its end than what surrounds it.
    """

    def __init__(self, light: Floats, search: Search, *, darker: bool = False) -> None:
        self.darker = darker
        smooth, noise = _smooth(light, search)
        # Noise smoothed by a Gaussian has a derivative of its deviation over sqrt(2) sigma.
        over = math.sqrt(2) * _sigma_px(search) / noise
        x, y = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=over / 8) for way in ((1, 0), (0, 1)))
        self.parts: Floats = np.asarray(cv2.merge((x, y)), np.float32)
        self.strength: Floats = np.asarray(cv2.magnitude(x, y), np.float32)

    def edges(self, search: Search) -> Mask:
        """Where it stands out from the noise and from stronger edges nearby."""
        strongest = cv2.dilate(self.strength, _square(LOCAL_UM / search.pixel_um))
        return np.asarray((self.strength > GRADIENT_NOISES) & (self.strength > LOCAL_SHARE * strongest))

    def seen(self, points: NDArray[np.floating], along: NDArray[np.floating]) -> Floats:
        """How surely an edge runs through points (..., 2) in a direction (..., 2), from 0 to 1.

        Negative where it is brighter on the other side. One much stronger than others counts no more than they do: it
        may be a neighbour's.
        """
        length = np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-9)
        parts = closed.sampled(self.parts, points)
        crossing = (parts[..., 1] * along[..., 0] - parts[..., 0] * along[..., 1]) / length
        return _sureness(crossing)


def _sureness(gradient: NDArray[np.floating]) -> Floats:
    return np.asarray(gradient / (np.abs(gradient) + HALF_SEEN), np.float32)


def to_level(image: Floats, contour: Points, pixel_um: float) -> Points:
    """Move each point to where the amplitude, from the rim outward, falls to the level where matter ends."""
    normal = closed.outward(contour, EVENING_UM / pixel_um)
    away = _ways(-RIM_UM / pixel_um, 2 * OUTWARD_UM / pixel_um)
    step = away[1] - away[0]
    seen = closed.around(closed.sampled(image, closed.across(contour, normal, away)), ALONG_UM / pixel_um)
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
    is_plain = both.any() and middle_of((shield - plain)[both]) <= PLAIN_FLANK_UM / pixel_um
    chosen = (plain, found_plain) if is_plain else (shield, found_shield)
    return closed.moved(contour, normal, *chosen, EVENING_UM / pixel_um)


def to_crest(gradient: Gradient, contour: Points, pixel_um: float, *, one_sided: bool = False) -> Points:
    """Move each point along its normal to the first crest of the gradient along that, from outside in.

    Parameters
    ----------
    one_sided
        whether only what is brighter on the same side as most of the contour is an edge; outside, where that is
        known.
    """
    normal = closed.outward(contour, EVENING_UM / pixel_um)
    away = _ways(OUTWARD_UM / pixel_um, -INWARD_UM / pixel_um)
    step = away[0] - away[1]
    parts = closed.sampled(gradient.parts, closed.across(contour, normal, away))
    seen = np.asarray(np.einsum("nsk,nk->ns", parts, normal.astype(np.float32)), np.float32)
    if one_sided:
        mostly = float(_sureness(seen[:, np.abs(away).argmin()]).mean())
        seen = np.maximum(seen if gradient.darker else seen * math.copysign(1.0, mostly), 0)
    else:
        seen = np.abs(seen)
    inner = seen[:, 1:-1]
    crest = (inner >= seen[:, :-2]) & (inner > seen[:, 2:]) & (inner >= CREST_SHARE * seen.max(axis=1, keepdims=True))
    at, rows = crest.argmax(axis=1) + 1, np.arange(len(contour))
    outer, top, deeper = seen[rows, at - 1], seen[rows, at], seen[rows, at + 1]
    curvature = outer - 2 * top + deeper
    part = np.where(curvature < 0, 0.5 * (outer - deeper) / np.where(curvature < 0, curvature, 1), 0).clip(-1, 1)
    return closed.moved(contour, normal, away[at] - step * part, crest.any(axis=1), EVENING_UM / pixel_um)


def _ways(first: float, last: float) -> NDArray[np.float64]:
    """Distances from one to another, the last one left out."""
    ways = np.arange(first, last, math.copysign(STEP_PX, last - first))
    return ways if len(ways) >= LEAST_SAMPLES else np.linspace(first, last, LEAST_SAMPLES)
