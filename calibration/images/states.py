"""How the crossed and the parallel state of one place relate: leakage, shift, and what each passes of the other.

What does not turn light is seen in both: in the crossed state by what leaks, as the same image, as faint as the leakage
and shifted. So the shift is found by fitting crossed = a * parallel(x - s) + b outside of crystals, by least squares
(Gauss-Newton, as Lucas and Kanade 1981) with Cauchy's weights. Crystals take from parallel light what they give to
crossed light (Beaufort et al. 2021, Biogeosciences 18, 775), which tells the ratio of the states.

Images are light per ms without offset, (H, W) or (N, H, W), N frames of equal places and planes in both states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
XY = tuple[float, float]

FINE_PX = 0.8
"""Blur of both images before their shift is fitted; so many px of noise then count as one (4 pi sigma^2), of which
every other is looked at."""
MASK_BLUR_PX = 2.0
TURNING = 5.0
"""Deviations of noise above which what is left of the crossed state is taken for a crystal."""
KEPT_AWAY_PX = 6
BORDER_PX = 12
ROUNDS = 8
MASKED_AGAIN = (0, 2, 5)
"""Rounds that find anew where crystals lie, as the shift is known better."""
CAUCHY = 2.4
LIKE = 0.15
"""How far the fitted share may be from the leakage where the crossed state shows the same image."""
CRYSTAL_PX = 40
"""Half the side of a window around a crystal."""
CRYSTAL_BLUR_PX = 4.0
BRIGHT = 0.01
"""Least light of a crystal, over that of an empty field in parallel light."""
ALIKE = 0.9
"""Least correlation of what a crystal gives to crossed light and takes from parallel light."""


@dataclass(frozen=True)
class StateShift:
    """Where crossed lies relative to parallel: x and y in px, and their standard uncertainties."""

    shift_px: XY
    deviation_px: XY


def moved(image: Image, shift_px: XY) -> Image:
    """Move an image's content (H, W) by a shift, exactly in Fourier space; it wraps around."""
    return _moved(fft.rfft2(image), image.shape, shift_px)


def _moved(spectrum: NDArray[np.complexfloating], shape: tuple[int, ...], shift_px: XY) -> Image:
    down = np.exp(-2j * np.pi * shift_px[1] * fft.fftfreq(shape[0])).astype(np.complex64)
    across = np.exp(-2j * np.pi * shift_px[0] * fft.rfftfreq(shape[1])).astype(np.complex64)
    return np.asarray(fft.irfft2(spectrum * down[:, None] * across[None, :], shape), np.float32)


def mode(values: NDArray[np.floating]) -> float:
    """Value around which most lie: the half-sample mode (Bickel and Fruehwirth 2006), which brighter ones do not pull.

    Parameters
    ----------
    values
        of any shape, at least one.
    """
    ordered = np.sort(values, axis=None)
    while len(ordered) > 64:
        half = len(ordered) // 2
        widths = ordered[half:] - ordered[: len(ordered) - half]
        first = int(np.argmin(widths))
        ordered = ordered[first : first + half]
    return float(np.median(ordered))


def turning(crossed: Image, parallel: Image, leakage: float) -> Mask:
    """Where crystals lie, or so near that their light may be felt, (H, W)."""
    rest = cv2.GaussianBlur(crossed - np.float32(leakage) * parallel, (0, 0), MASK_BLUR_PX)
    rest = rest - np.float32(np.median(rest))
    noise = 1.4826 * float(np.median(np.abs(rest)))
    side = 2 * KEPT_AWAY_PX + 1
    grown = cv2.dilate((np.abs(rest) > TURNING * noise).astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(grown > 0)


def shift_between_states(crossed: Image, parallel: Image, leakage: float) -> StateShift | None:
    """Fit the shift of the states to frames (N, H, W) of both; None where the crossed state does not show the same.

    Parameters
    ----------
    crossed
        over its flat field; what is fixed in the frame must not be common to both.
    parallel
        the same of the parallel state.
    """
    at = np.zeros(2)
    spectra = [fft.rfft2(frame) for frame in parallel]
    smooth = [_blurred(frame, FINE_PX) for frame in crossed]
    for number in range(ROUNDS):
        come = [_moved(spectrum, crossed.shape[1:], (float(at[0]), float(at[1]))) for spectrum in spectra]
        if number in MASKED_AGAIN:
            outside = [~turning(*pair, leakage) & _sampled(pair[0].shape) for pair in zip(crossed, come, strict=True)]
        parts = [
            _linear(_blurred(there, FINE_PX), here, free, leakage)
            for here, there, free in zip(smooth, come, outside, strict=True)
        ]
        information = np.sum([part[0] for part in parts], axis=0)
        solution = np.linalg.solve(information, np.sum([part[1] for part in parts], axis=0))
        at += np.clip(solution[:2], -1, 1)
        if np.abs(at).max() > BORDER_PX - 2:
            return None
    share = leakage + float(solution[2])
    covariance = 4 * math.pi * FINE_PX**2 / 2 * np.linalg.inv(information)
    if abs(share / leakage - 1) > LIKE:
        return None
    deviation = np.sqrt(np.diagonal(covariance)[:2])
    return StateShift((float(at[0]), float(at[1])), (float(deviation[0]), float(deviation[1])))


def _linear(parallel: Image, crossed: Image, outside: Mask, leakage: float) -> tuple[Floats, Floats]:
    """Set up normal equations, over the variance of the rest, of further shift, further share, and a constant."""
    across = -leakage * cv2.Sobel(parallel, cv2.CV_32F, 1, 0, scale=1 / 8)[outside]
    down = -leakage * cv2.Sobel(parallel, cv2.CV_32F, 0, 1, scale=1 / 8)[outside]
    light = parallel[outside]
    terms = np.stack([across, down, light, np.ones_like(light)], axis=1).astype(np.float64)
    rest = crossed[outside].astype(np.float64) - leakage * light
    weights = np.ones(len(rest))
    for _ in range(3):
        weighted = terms * weights[:, None]
        information, right = terms.T @ weighted, weighted.T @ rest
        left = rest - terms @ np.linalg.solve(information + 1e-12 * np.eye(4) * np.trace(information), right)
        spread = max(1.4826 * float(np.median(np.abs(left))), 1e-12)
        weights = 1 / (1 + (left / (CAUCHY * spread)) ** 2)
    variance = float(np.sum(weights * left**2) / np.sum(weights))
    return information / variance, right / variance


def _blurred(image: Image, sigma_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def _sampled(shape: tuple[int, ...]) -> Mask:
    """Every other pixel, as on a chessboard, away from the border: a blurred image has no more to tell."""
    sampled = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2 == 0
    inner = np.zeros(shape, np.bool_)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    return np.asarray(sampled & inner)


def ratios_of_crystals(crossed: Image, parallel: Image, leakage: float) -> list[float]:
    """Light that single crystals give to the crossed state over what they take from the parallel one.

    Parameters
    ----------
    crossed
        (H, W), over its flat field and the parallel light of an empty field, registered.
    parallel
        the same of the parallel state.
    """
    gain, loss = _given_and_taken(crossed, parallel, leakage)
    found = []
    for window in _windows(gain):
        given, taken = (_smooth(part[window]) for part in (gain, loss))
        near = given > 0.1 * given.max()
        if float(np.corrcoef(given.ravel(), taken.ravel())[0, 1]) > ALIKE and taken[near].sum() > 0:
            found.append(float(given[near].sum() / taken[near].sum()))
    return found


def shifts_of_crystals(crossed: Image, parallel: Image, leakage: float) -> list[XY]:
    """Shift of each crystal that looks alike in what it gives to crossed light and takes from parallel light.

    Refraction by a crystal moves its parallel image by some tenths of a px, another way in each.

    Parameters
    ----------
    crossed
        (H, W), over its flat field and the parallel light of an empty field.
    parallel
        the same of the parallel state.
    """
    given, taken = (
        cv2.GaussianBlur(part, (0, 0), MASK_BLUR_PX) - cv2.GaussianBlur(part, (0, 0), 2 * CRYSTAL_BLUR_PX)
        for part in _given_and_taken(crossed, parallel, leakage)
    )
    reach = BORDER_PX - 4
    shifts = []
    for rows, columns in _windows(crossed - np.float32(leakage) * parallel):
        inner = slice(rows.start + reach, rows.stop - reach), slice(columns.start + reach, columns.stop - reach)
        alike = cv2.matchTemplate(taken[rows, columns], given[inner], cv2.TM_CCOEFF_NORMED)
        y, x = (int(at) for at in np.unravel_index(int(np.argmax(alike)), alike.shape))
        if alike[y, x] > ALIKE and 0 < x < 2 * reach and 0 < y < 2 * reach:
            # The template lies where crossed light shows it; it was found where parallel light does.
            at = x + _vertex(alike[y, x - 1 : x + 2].tolist()), y + _vertex(alike[y - 1 : y + 2, x].tolist())
            shifts.append((reach - at[0], reach - at[1]))
    return shifts


def _given_and_taken(crossed: Image, parallel: Image, leakage: float) -> tuple[Image, Image]:
    return np.asarray(crossed - np.float32(leakage) * parallel, np.float32), np.asarray(1 - parallel, np.float32)


def _windows(gain: Image) -> list[tuple[slice, slice]]:
    """Windows around the brightest places of crystals, that lie inside."""
    blurred = cv2.GaussianBlur(gain, (0, 0), CRYSTAL_BLUR_PX)
    side = 2 * (CRYSTAL_PX // 2) + 1
    peaks = (blurred == cv2.dilate(blurred, np.ones((side, side), np.uint8))) & (blurred > BRIGHT)
    half, (height, width) = CRYSTAL_PX, gain.shape
    return [
        (slice(y - half, y + half), slice(x - half, x + half))
        for y, x in np.argwhere(peaks).tolist()
        if half <= x < width - half and half <= y < height - half
    ]


def _vertex(values: Sequence[float]) -> float:
    below, at, above = values
    curvature = below - 2 * at + above
    return 0.5 * (below - above) / curvature if curvature < 0 else 0.0


def _smooth(part: Image) -> Image:
    """Blur, and take off what lies at the border."""
    blurred = cv2.GaussianBlur(part, (0, 0), CRYSTAL_BLUR_PX)
    border = np.concatenate([blurred[0], blurred[-1], blurred[:, 0], blurred[:, -1]])
    return np.asarray(blurred - np.median(border), np.float32)
