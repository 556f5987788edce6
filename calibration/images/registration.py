"""How far one image lies from another, to a small share of a pixel.

Both are tapered and taken to Fourier space. A peak of the phase correlation (Kuglin and Hines 1975) gives whole
pixels; the shift that makes the sum of the cross spectrum's phases greatest refines it, by Newton's method (as the
linear phase of Stone et al. 2001, IEEE Trans. Geosci. Remote Sens. 39, 2235, weighted by amplitude). A band between
sensor noise and uneven light counts.

Images are (H, W), of any unit; shifts are x, y in px: what lies at p in the first image lies at p + shift in the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Image = NDArray[np.float32]
Complex = NDArray[np.complexfloating]
XY = tuple[float, float]

FINE_PX = 1.2
"""Standard deviation of the blur that takes off the sensor's noise."""
COARSE_PX = 12.0
"""Standard deviation of the blur that is taken off as uneven light."""
TAPERED = (35 / 18) ** 2
"""Neighbours in the spectrum of a tapered (Hann) image say the same in part: so many count as one."""
SMALLEST_PX = 32
NEWTON_STEPS = 6
FAINTEST = 0.02
"""Share of the band's greatest weight below which a frequency is left out."""


@dataclass(frozen=True)
class Shift:
    """Where an image lies relative to another.

    Attributes
    ----------
    x_px
        shift of the second image's content along x.
    y_px
        shift of the second image's content along y.
    deviation_px
        standard uncertainty along either axis.
    strength
        height of the peak over the root mean square of the correlation; noise alone reaches about 5.
    """

    x_px: float
    y_px: float
    deviation_px: float
    strength: float


def register(first: Image, other: Image, expected: XY = (0.0, 0.0), reach_px: float = math.inf) -> Shift:
    """Find the shift of `other` against `first`, both of one shape, near an expected one.

    Parameters
    ----------
    reach_px
        how far, along either axis, it may be from the expected one.

    Raises
    ------
    ValueError
        Less than 32 px of overlap are expected.
    """
    # Twice, as only the second time the same part of the sample lies in both windows.
    strength, at = 0.0, expected
    for reach in (reach_px, 3.0):
        window, moved, at = _overlap(first, other, at)
        spectrum = fft.fft2(moved) * np.conj(fft.fft2(window))
        spectrum *= _band(*window.shape)
        whole, peak = _peak(spectrum, reach)
        strength = strength or peak
        at = at[0] + whole[0], at[1] + whole[1]
    rest, deviation = _refined(spectrum, whole)
    return Shift(at[0] - whole[0] + rest[0], at[1] - whole[1] + rest[1], deviation, strength)


def _overlap(first: Image, other: Image, expected: XY) -> tuple[Image, Image, XY]:
    """Windows of both that show the same if the shift is the expected one, rounded; tapered, without their mean."""
    x, y = (round(value) for value in expected)
    height, width = first.shape
    if width - abs(x) < SMALLEST_PX or height - abs(y) < SMALLEST_PX:
        raise ValueError(f"a shift of {x}, {y} px leaves less than {SMALLEST_PX} px of an image of {width} x {height}")
    window = first[max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)]
    moved = other[max(0, y) : height - max(0, -y), max(0, x) : width - max(0, -x)]
    return _tapered(window), _tapered(moved), (x, y)


def _tapered(image: Image) -> Image:
    rows, columns = (np.hanning(n + 2)[1:-1].astype(np.float32) for n in image.shape)
    taper = np.outer(rows, columns)
    mean = float((image * taper).sum() / taper.sum())
    return np.asarray((image - mean) * taper, np.float32)


def _frequencies(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angular frequencies along rows (H, 1) and columns (1, W), rad per px."""
    return 2 * np.pi * fft.fftfreq(height)[:, None], 2 * np.pi * fft.fftfreq(width)[None, :]


def _band(height: int, width: int) -> Image:
    v, u = _frequencies(height, width)
    squared = u * u + v * v
    return np.asarray(np.exp(-squared * FINE_PX**2) * (1 - np.exp(-squared * COARSE_PX**2 / 2)) ** 2, np.float32)


def _peak(spectrum: Complex, reach_px: float) -> tuple[tuple[int, int], float]:
    """Whole shift of the highest peak within reach, and its height over the root mean square."""
    height, width = spectrum.shape
    band = np.sqrt(_band(height, width))
    correlation = fft.ifft2(band * spectrum / np.maximum(np.abs(spectrum), 1e-20)).real
    rows, columns = (np.abs(fft.fftfreq(n) * n) <= reach_px for n in spectrum.shape)
    within = np.where(rows[:, None] & columns[None, :], correlation, -np.inf)
    row, column = np.unravel_index(int(np.argmax(within)), within.shape)
    y, x = (int(at) - n if at > n // 2 else int(at) for at, n in ((row, height), (column, width)))
    return (x, y), float(within[row, column] / np.sqrt(np.mean(correlation**2)))


def _refined(spectrum: Complex, start: tuple[int, int]) -> tuple[XY, float]:
    """Shift of the greatest correlation near a whole one, and its standard uncertainty along an axis."""
    counts = _band(*spectrum.shape) > FAINTEST
    v, u = (np.broadcast_to(along, spectrum.shape)[counts] for along in _frequencies(*spectrum.shape))
    spectrum = spectrum[counts]
    at = np.array(start, np.float64)
    for _ in range(NEWTON_STEPS):
        turned = spectrum * np.exp(1j * (u * at[0] + v * at[1]))
        upright, aside = turned.real, turned.imag
        slope = np.array([(u * aside).sum(), (v * aside).sum()])
        bend = np.array(
            [[(u * u * upright).sum(), (u * v * upright).sum()], [(u * v * upright).sum(), (v * v * upright).sum()]]
        )
        if np.linalg.det(bend) <= 0 or bend[0, 0] <= 0:
            return (float(start[0]), float(start[1])), math.inf
        step = np.linalg.solve(bend, slope)
        at -= np.clip(step, -0.5, 0.5)
        if np.abs(at - start).max() > 1.5:
            return (float(start[0]), float(start[1])), math.inf
    scatter = np.array(
        [
            [(u * u * aside**2).sum(), (u * v * aside**2).sum()],
            [(u * v * aside**2).sum(), (v * v * aside**2).sum()],
        ]
    )
    inverse = np.linalg.inv(bend)
    # Twice, as of a real image one half of the spectrum repeats the other.
    covariance = 2 * TAPERED * inverse @ scatter @ inverse
    return (float(at[0]), float(at[1])), float(np.sqrt(np.trace(covariance) / 2))
