"""Which side of the focus is which: transparent objects look bright on the one and dark on the other.

Light that passed a body of lower index than its medium has run ahead and spreads; one that is looked at on the side of
the lamp, as by an objective that is too near, seems brighter, on the other side darker (the line of Becke; by the
transport of intensity, Teague 1983, J. Opt. Soc. Am. 73, 1434, dI/dz is proportional to the Laplacian of the phase). So
the difference of planes above and below the focus, its Laplacian undone in Fourier space, is a bright spot at each
diatom in a medium of high index if larger z brings the objective nearer, and a dark one if not.

Each spot has one vote, however strong it is: debris is of either sign. Crystals are left out, and spots that are no
different on both sides.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from calibration.images.states import turning

Image = NDArray[np.float32]
Frames = NDArray[np.uint16]

COARSE_PX = 40.0
"""Period beyond which the Laplacian is not undone, as hardly anything but noise is left of it there."""
FINE_PX = 2.0
SPOT_PX = 20
"""Half the least distance of two spots."""
WINDOW_PX = 15
CLEAR = 6.0
"""Deviations that a spot stands out."""
EVEN = 0.5
"""Most of what a spot has in common on both sides, over what it has not, as squares."""


def votes(crossed: Frames, parallel: Frames, flat: Image) -> list[int]:
    """Say of each spot of a field whether it is brighter at larger z (1) or darker (-1).

    Parameters
    ----------
    crossed
        (Z, H, W), planes about the focus, ascending; an odd number, 5 or more.
    parallel
        the same planes in parallel light.
    flat
        (H, W), the parallel light of an empty field over its mean.
    """
    light = parallel / flat
    light = light / light.mean(axis=(1, 2), keepdims=True)
    around = len(light) // 2
    middle = light[around - 1 : around + 2].mean(axis=0)
    empty = np.ones_like(middle, dtype=np.float32)
    crystals = turning(np.asarray(crossed.mean(axis=0) / np.median(parallel), np.float32), empty, 0.0)
    sides = light[around + 2 :].mean(axis=0), light[: around - 1].mean(axis=0)
    upper, lower = (_undone(np.where(crystals, 0, side - middle)) for side in sides)
    odd, even = (upper - lower) / 2, (upper + lower) / 2
    odd -= np.float32(np.median(odd))
    size = cv2.GaussianBlur(np.abs(odd), (0, 0), FINE_PX)
    near = np.ones((2 * SPOT_PX + 1,) * 2, np.uint8)
    spots = (size == cv2.dilate(size, near)) & ~crystals
    spots &= size > CLEAR * 1.4826 * float(np.median(np.abs(odd)))
    height, width = size.shape
    found = []
    for y, x in np.argwhere(spots).tolist():
        if not (SPOT_PX < y < height - SPOT_PX and SPOT_PX < x < width - SPOT_PX):
            continue
        window = slice(y - WINDOW_PX, y + WINDOW_PX + 1), slice(x - WINDOW_PX, x + WINDOW_PX + 1)
        if float(np.sum(even[window] ** 2)) < EVEN * float(np.sum(odd[window] ** 2)):
            found.append(1 if odd[y, x] > 0 else -1)
    return found


def _undone(difference: NDArray[np.floating]) -> Image:
    """Undo the negative Laplacian of an image (H, W), for what is neither fine nor coarse."""
    height, width = difference.shape
    squared = (2 * np.pi) ** 2 * np.add.outer(fft.fftfreq(height) ** 2, fft.rfftfreq(width) ** 2)
    weights = np.exp(-squared * FINE_PX**2) / (squared + (2 * np.pi / COARSE_PX) ** 2)
    return np.asarray(fft.irfft2(fft.rfft2(difference) * weights, difference.shape), np.float32)
