"""Thickness and mass of calcite from the two states of bidirectional circular polarization.

Between circular polarizers a plate of thickness d, whatever the direction of its optic axis, sends sin^2(delta / 2) of
its light to the crossed state and cos^2(delta / 2) to the parallel one, delta = 2 pi dn d / lambda (Beaufort et al.
2021, Biogeosciences 18, 775). So d = lambda / (pi dn) atan(sqrt(crossed / parallel)), up to half a wave of retardation;
what is thicker folds back.

Images are floating point, of any equal shapes; crossed and parallel are intensities of the same plane, registered, dark
offset taken off, over their flat fields and exposures. Lengths are in um, masses in pg.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating]

CALCITE_PG_UM3 = 2.71
FOLDING_SHARE = 0.9
"""Share of the greatest thickness above which an object may be one that folded back."""
ROOT_OF_NOISE = 0.31
"""Makes the error of a root, which grows without bound towards 0, that of the root of noise: E|n| = 0.80 sigma."""


def calcite_birefringence(wavelength_um: float) -> float:
    """Index of the ordinary ray of calcite less that of the extraordinary one (Ghosh 1999, Opt. Commun. 163, 95)."""
    square = wavelength_um**2
    ordinary = 1.73358749 + 0.96464345 / (1 - 1.94325203e-2 / square) + 1.82831454 / (1 - 120 / square)
    extraordinary = 1.35859695 + 0.82427830 / (1 - 1.06689543e-2 / square) + 0.14429128 / (1 - 120 / square)
    return float(np.sqrt(ordinary) - np.sqrt(extraordinary))


def greatest_thickness_um(wavelength_um: float, birefringence: float) -> float:
    """Thickness of half a wave of retardation: a plate of d beyond it looks like one of twice this less d."""
    return wavelength_um / (2 * birefringence)


def leakage_around(crossed: Image, parallel: Image, around: NDArray[np.bool_]) -> float:
    """Share of parallel light that is seen in the crossed state where nothing lies: the ratio of medians there.

    Parameters
    ----------
    around
        where nothing lies; of the images' shape.
    """
    light = float(np.median(parallel[around]))
    return float(np.median(crossed[around])) / light if light > 0 else 0.0


def unmixed(crossed: Image, parallel: Image, leakage: float) -> tuple[Image, Image]:
    """Take off what each state sees of the other; exact for light that lost its polarization."""
    return crossed - leakage * parallel, parallel - leakage * crossed


def thickness_um(crossed: Image, parallel: Image, wavelength_um: float, birefringence: float) -> Image:
    """Thickness of each pixel, with the sign of the crossed intensity, so that noise averages out in a sum.

    Takes intensities without leakage. Where the parallel state is darker than nothing it counts as dark.
    """
    scale = wavelength_um / (np.pi * birefringence)
    angle = np.arctan2(np.sqrt(np.abs(crossed)), np.sqrt(np.maximum(parallel, 0)))
    return np.asarray(np.copysign(scale * angle, crossed))


def thickness_noise_um(
    crossed: Image, parallel: Image, deviation: Image, wavelength_um: float, birefringence: float
) -> Image:
    """Give the standard deviation of each pixel's thickness.

    Parameters
    ----------
    deviation
        standard deviation of the crossed intensity; that of the parallel one, which is bright, hardly counts.
    """
    scale = wavelength_um / (np.pi * birefringence)
    faint, bright = np.abs(crossed), np.maximum(parallel, deviation)
    root = faint + ROOT_OF_NOISE * deviation
    return np.asarray(scale * deviation * np.sqrt(bright / np.maximum(root, 1e-12)) / (2 * (faint + bright)))


def mass_pg(thickness: Image, pixel_um: float) -> float:
    """Mass of calcite of some pixels."""
    return float(CALCITE_PG_UM3 * pixel_um**2 * thickness.sum(dtype=np.float64))


def may_be_folded(thickness: Image, greatest_um: float, share: float = 0.02) -> bool:
    """Whether so many pixels of an outline are near the greatest thickness that others may lie beyond it."""
    return bool(thickness.size and (thickness > FOLDING_SHARE * greatest_um).mean() > share)
