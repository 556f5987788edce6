"""Thickness maps of an object's crop: both states registered, without leakage, at its own height between planes.

Light is (C, Z, h, w) or (Z, h, w), dark offset taken off, over flat fields and exposures, in any unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.objects import birefringence

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

OBJECTIVE_NA, PASSED_NA = 1.4, 1.9
"""The latter is that of the objective and of a condenser of 0.5: finer detail of an intensity is mostly noise."""
KERNEL_REACH_PX = 12
KERNEL_GRID = 256
PARABOLA_STEP_UM = 0.35
"""Planes this far apart at most are interpolated with a parabola; others are too far apart for one."""
CLIP = 2.5
"""Deviations beyond which a pixel of the background counts as lit by something."""
CLIPPINGS = 2
LEAST_AROUND = 60
MEDIAN_TO_DEVIATION = 1.4826
QUARTERS = 4


@dataclass(frozen=True)
class Optics:
    """What turns phase into thickness: wavelength, birefringence, and the pixel of the camera on the sample, in um."""

    wavelength_um: float
    birefringence: float
    pixel_um: float

    @classmethod
    def of_calcite(cls, wavelength_um: float, pixel_um: float) -> Optics:
        """Optics for calcite, whose birefringence depends on the wavelength."""
        return cls(wavelength_um, birefringence.calcite_birefringence(wavelength_um), pixel_um)

    @property
    def greatest_um(self) -> float:
        """Thickness beyond which it folds back."""
        return birefringence.greatest_thickness_um(self.wavelength_um, self.birefringence)

    def thickness(self, crossed: Floats, parallel: Floats) -> Floats:
        """Signed thickness in um of light without leakage."""
        return np.asarray(
            birefringence.thickness_um(crossed, parallel, self.wavelength_um, self.birefringence), np.float32
        )


@dataclass(frozen=True)
class Heights:
    """Which planes make the image at a height, and with what weight each.

    `offset` is how far above the nearest plane the height lies, in planes.
    """

    planes: tuple[int, ...]
    weights: tuple[float, ...]
    offset: float

    @classmethod
    def at(cls, plane: float, planes: int, step_um: float) -> Heights:
        """Planes for a fractional one: the nearest with its neighbours on a parabola, or alone."""
        nearest = min(max(round(plane), 0), planes - 1)
        if nearest in (0, planes - 1) or step_um > PARABOLA_STEP_UM:
            return cls((nearest,), (1.0,), plane - nearest)
        t = plane - nearest
        return cls((nearest - 1, nearest, nearest + 1), (t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2), t)

    def between(self, images: NDArray[np.floating]) -> Floats:
        """Interpolate images (Z, ...) of these planes."""
        return np.asarray(np.tensordot(np.array(self.weights, np.float32), images, axes=1), np.float32)


@dataclass(frozen=True)
class Leakage:
    """Share of parallel light in the crossed state, and its standard error; `free` where nothing disturbs it."""

    share: float
    error: float
    free: bool


def mended(light: Floats, bad: Mask) -> Floats:
    """Put the median of its neighbours in the place of every bad pixel of an image (h, w)."""
    return np.where(bad, cv2.medianBlur(light, 5), light) if bad.any() else light


def sharpened(image: Floats, optics: Optics, shift_px: tuple[float, float] = (0.0, 0.0)) -> Floats:
    """Take back the objective's blur of an intensity (h, w), and a shift along x and y; leave behind finer noise.

    To first order in its variance: the intensity less half of that times its Laplacian. A root follows, which would
    turn into thickness what is blurred beyond the edges, and what is noise.
    """
    along, down = (_kernel(optics.wavelength_um, optics.pixel_um, shift) for shift in shift_px)
    return np.asarray(cv2.sepFilter2D(image, cv2.CV_32F, along, down, borderType=cv2.BORDER_REFLECT_101), np.float32)


@lru_cache(maxsize=64)
def _kernel(wavelength_um: float, pixel_um: float, shift_px: float) -> NDArray[np.float32]:
    """Along one axis: what lifts frequencies up to those passed, moved against a shift, under Hann's window."""
    frequency = np.fft.fftfreq(KERNEL_GRID, pixel_um)
    blur_um = 0.21 * wavelength_um / OBJECTIVE_NA
    lift = np.where(np.abs(frequency) <= PASSED_NA / wavelength_um, 1 + 2 * (np.pi * blur_um * frequency) ** 2, 0)
    turn = np.exp(-2j * np.pi * frequency * shift_px * pixel_um)
    middle, reach = KERNEL_GRID // 2, KERNEL_REACH_PX
    kernel = np.fft.fftshift(np.fft.ifft(lift * turn).real)[middle - reach : middle + reach + 1]
    place = (np.arange(-reach, reach + 1) - shift_px) / (2 * (reach + 1))
    kernel *= np.cos(np.pi * place.clip(-0.5, 0.5)) ** 2
    return np.asarray(kernel / kernel.sum(), np.float32)


def sharpened_noise(optics: Optics) -> float:
    """Give the standard deviation that `sharpened` makes of white noise of deviation 1."""
    return float(np.square(_kernel(optics.wavelength_um, optics.pixel_um, 0.0)).sum())


def leakage_around(crossed: Floats, parallel: Floats, around: Mask, noise: float) -> Leakage:
    """Leakage where nothing lies around an object: by quarters around it, what is lit by a neighbour left out.

    Parameters
    ----------
    crossed
        (h, w), registered to `parallel`.
    parallel
        (h, w), registered to `crossed`.
    around
        pixels outside the object.
    noise
        standard deviation that a pixel of the crossed light should have there.
    """
    lit = parallel[around]
    if lit.size < LEAST_AROUND:
        return Leakage(0.0, math.inf, free=False)
    bright = max(_middle(lit), float(np.finfo(np.float32).tiny))
    ratio = crossed[around] / np.float32(bright)
    kept = ratio
    for _ in range(CLIPPINGS):
        middle = _middle(kept)
        spread = MEDIAN_TO_DEVIATION * _middle(np.abs(kept - middle))
        kept = ratio[np.abs(ratio - middle) <= CLIP * spread]
        if kept.size < LEAST_AROUND / QUARTERS:
            return Leakage(0.0, math.inf, free=False)
    free = kept.size > ratio.size / 2 and spread < 2 * max(noise / bright, 1e-9)
    rows, columns = np.nonzero(around)
    quarter = 2 * (rows > crossed.shape[0] / 2) + (columns > crossed.shape[1] / 2)
    near = np.abs(ratio - middle) <= CLIP * spread
    counts = np.bincount(quarter[near], minlength=QUARTERS)
    sums = np.bincount(quarter[near], ratio[near], minlength=QUARTERS)
    means = sums[counts >= LEAST_AROUND / QUARTERS] / counts[counts >= LEAST_AROUND / QUARTERS]
    error = float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else spread
    return Leakage(float(kept.mean()), error, free)


def _middle(values: Floats) -> float:
    """Median, the upper one of an even number."""
    half = values.size // 2
    return float(np.partition(values, half)[half])
