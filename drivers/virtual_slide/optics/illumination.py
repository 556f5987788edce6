"""The light that reaches the camera from an empty slide: vignetting, dust, fringes; the lamp's drift and flicker."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np

from drivers.settings import Lamp
from drivers.virtual_slide.matter import REFERENCE_WAVELENGTH_UM, Image
from drivers.virtual_slide.seeds import chance, generator
from drivers.virtual_slide.truth import View

MAGNIFICATION = 100.0
BEAM_APERTURE = 0.004
"""Half angle of the cone that the condenser's aperture sends through a point near the camera."""
CROSSED_FRINGES = 0.4
"""Amplitude of fringes between crossed polarizers, over that in parallel light."""
FRINGES_PX = ((310.0, 0.55), (95.0, 0.3), (38.0, 0.15))
"""Typical period and share of the amplitude of each pair of reflecting faces."""
DRIFT_FIELDS = ((900.0, 0.6), (370.0, 0.3), (140.0, 0.1))
"""Period and share of the lamp's slow drift."""
_STILL = 81
_NORMAL = NormalDist()


@dataclass(frozen=True)
class _Dust:
    """Grains of one surface: how many lie on a megapixel, their distance from the camera, width (um) and opacity."""

    per_megapixel: float
    distance_um: tuple[float, float]
    grain_um: tuple[float, float]
    opacity: tuple[float, float]


COVER = _Dust(6.0, (400.0, 1200.0), (4.0, 12.0), (0.01, 0.12))
OPTICS = _Dust(22.0, (9000.0, 50000.0), (8.0, 18.0), (0.06, 0.35))
ANALYSER = _Dust(3.0, (25000.0, 50000.0), (10.0, 20.0), (0.06, 0.35))


class Illumination:
    """Light of an empty field, over that of an even one. It is fixed in the frame, but for the power of the lamp.

    Parameters
    ----------
    frame_px
        height, width.
    pixel_um
        on the sample.
    settings
        of the lamp.
    seed
        of dust, fringes, drift and flicker.
    """

    def __init__(self, frame_px: tuple[int, int], pixel_um: float, settings: Lamp, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._camera_pixel_um = pixel_um * MAGNIFICATION
        random = generator(seed, _STILL)
        common = _vignette(frame_px, settings.vignette, random)
        self._lay(common, COVER, random)
        self._lay(common, OPTICS, random)
        fringes = settings.fringes * _fringes(frame_px, random)
        self._still = {True: common * (1 + CROSSED_FRINGES * fringes), False: common * (1 + fringes)}
        # Each polarization state has an analyser of its own, and so dust of its own.
        for still in self._still.values():
            self._lay(still, ANALYSER, random)

    def still(self, crossed: bool) -> Image:
        """Return what stays from frame to frame, (H, W), not to be written to."""
        return self._still[crossed]

    def power(self, view: View) -> float:
        """Return the lamp's power during a frame, over its nominal one."""
        waves = (
            share * math.cos(2 * math.pi * (view.field / period + chance(self._seed, "drift", view.slide, period)))
            for period, share in DRIFT_FIELDS
        )
        frame = chance(self._seed, "flicker", *view.names)
        drifted = (1 + self._settings.drift * sum(waves)) * (1 + self._settings.flicker * _NORMAL.inv_cdf(frame))
        return self._settings.power * drifted

    def _lay(self, field: Image, dust: _Dust, random: np.random.Generator) -> None:
        """Darken a field, in place, by the grains of a surface."""
        height, width = field.shape
        count = random.poisson(self._settings.dust * dust.per_megapixel * field.size / 1e6)
        for _ in range(count):
            shadow = _shadow(dust, self._camera_pixel_um, random)
            side = len(shadow)
            top, left = (int(random.uniform(0, n)) - side // 2 for n in (height, width))
            rows, columns = slice(max(top, 0), max(top + side, 0)), slice(max(left, 0), max(left + side, 0))
            part = field[rows, columns]
            y, x = rows.start - top, columns.start - left
            part *= shadow[y : y + part.shape[0], x : x + part.shape[1]]


def _vignette(frame_px: tuple[int, int], loss: float, random: np.random.Generator) -> Image:
    """Fall off with the square of the distance from an axis that is never quite the frame's middle."""
    off_y, off_x = random.uniform(-0.12, 0.12, 2)
    y = np.linspace(-1, 1, frame_px[0])[:, None] - off_y
    x = np.linspace(-1, 1, frame_px[1])[None, :] - off_x
    return np.asarray(1 - loss * (x * x + y * y) / 2, np.float32)


def _fringes(frame_px: tuple[int, int], random: np.random.Generator) -> Image:
    """Two-beam interference between slightly bent faces, (H, W) within -1 and 1.

    Fringes of equal thickness between a sphere and a plane are circles; the frame sees an arc of them.
    """
    height, width = frame_px
    y, x = np.ogrid[:height, :width]
    total = np.zeros(frame_px, np.float64)
    for typical_px, share in FRINGES_PX:
        period = typical_px * random.uniform(0.75, 1.3)
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        radius = random.uniform(1.5, 5) * 1024
        centre_y, centre_x = height / 2 + radius * np.sin(angle), width / 2 + radius * np.cos(angle)
        squared = (y - centre_y) ** 2 + (x - centre_x) ** 2
        total += share * np.cos(np.pi * squared / (radius * period) + phase)
    return total.astype(np.float32)


def _shadow(dust: _Dust, pixel_um: float, random: np.random.Generator) -> Image:
    """Share of light behind one grain, square.

    A soft spot of amplitude transmission 1 - exp(-r^2 / 2 w^2) keeps its form while it spreads (the Gaussian beam of
    J. Goodman, Introduction to Fourier Optics, ch. 4): w^2 becomes w^2 + i b at a distance z, with
    b = z * wavelength / 2 pi. A grain is a few such spots; the cone of the illumination smears its shadow.
    """
    distance, width = (float(np.exp(random.uniform(*np.log(span)))) for span in (dust.distance_um, dust.grain_um))
    spread = distance * REFERENCE_WAVELENGTH_UM / (2 * np.pi)
    blur = max(distance * BEAM_APERTURE / pixel_um, 0.5)
    half = int(np.ceil((3 * np.hypot(width, spread / width) + 2 * width) / pixel_um + 2 * blur))
    place = np.arange(-half, half + 1) * pixel_um
    wave = np.ones((len(place), len(place)), np.complex128)
    for _ in range(int(random.integers(1, 4))):
        squared_width = width**2 + 1j * spread
        off_y, off_x = random.normal(0, 0.8 * width, 2)
        down, along = (np.exp(-((place - off) ** 2) / (2 * squared_width)) for off in (off_y, off_x))
        wave -= random.uniform(*dust.opacity) * width**2 / squared_width * np.outer(down, along)
    intensity = wave.real**2 + wave.imag**2
    reach = int(np.ceil(blur))
    disc_y, disc_x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(blur + 0.5 - np.hypot(disc_y, disc_x), 0, 1)
    smeared = cv2.filter2D(intensity, cv2.CV_64F, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smeared, np.float32)
