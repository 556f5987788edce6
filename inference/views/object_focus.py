"""Where in its stack one object is sharpest, told apart for what turns polarized light and for what does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.objects.objects import Box
from inference.views.channels import Scale
from inference.views.sharpness import best_plane, contrast_of

Curve = NDArray[np.float32]

AROUND_PX = 4
"""Binned pixels around the box that the Laplacian's kernel needs."""
TWO_PEAKS_UM = 1.5
"""Two peaks of a transparent object lie no farther apart."""
CHANNELS = 128
"""An image of OpenCV 5 has no more."""
DIP_SHARE = 0.9
"""Between two peaks the sharpness falls to this share of the lower one at most."""


class Peak(NamedTuple):
    """A fractional plane, and whether it is the first or the last one, so that focus may lie outside the stack."""

    plane: float
    at_edge: bool


@dataclass(frozen=True, eq=False)
class StateFocus:
    """Where an object is sharpest in one polarization.

    Attributes
    ----------
    reference
        its own plane: the sharpest one, or the middle between the two peaks of what is transparent.
    display
        where it is shown best: the plane of the higher peak.
    sharpness
        Laplacian-of-Gaussian energy inside the box, (Z,).
    """

    reference: Peak
    display: Peak
    sharpness: Curve

    @property
    def lower(self) -> float | None:
        """Plane of the lower of two peaks; None where one was seen."""
        apart = abs(self.display.plane - self.reference.plane)
        return self.reference.plane - apart if apart else None

    def depth_um(self, step_um: float) -> float:
        """Distance over which it is at least half as sharp, over the median plane, as in its best plane."""
        floor = float(np.median(self.sharpness))
        above = self.sharpness >= floor + 0.5 * (float(self.sharpness.max()) - floor)
        return float(above.sum()) * step_um

    @property
    def contrast(self) -> float:
        """Sharpness of the best plane over that of the median plane."""
        return contrast_of(self.sharpness)


def state_focus(planes: NDArray[np.uint16], box: Box, scale: Scale, step_um: float, *, dark: bool) -> StateFocus:
    """Find where an object is sharpest in one polarization.

    Parameters
    ----------
    planes
        of that polarization, (Z, h, w).
    box
        the detection, in their px.
    scale
        binning and width of the Laplacian.
    dark
        whether it is the crossed state, which has one peak.
    """
    curve = _sharpness(planes, box, scale)
    sharpest = Peak(*best_plane(curve))
    if dark:
        return StateFocus(sharpest, sharpest, curve)
    return StateFocus(_middle(curve, sharpest, TWO_PEAKS_UM / step_um), sharpest, curve)


def _sharpness(planes: NDArray[np.uint16], box: Box, scale: Scale) -> Curve:
    """Mean energy of the Laplacian of Gaussian of the root inside a box, (Z,)."""
    n = scale.binning
    x0, y0 = box[0] // n, box[1] // n
    x1, y1 = max(-(-box[2] // n), x0 + 1), max(-(-box[3] // n), y0 + 1)
    left, top = max(x0 - AROUND_PX, 0), max(y0 - AROUND_PX, 0)
    part = planes[:, top * n : (y1 + AROUND_PX) * n, left * n : (x1 + AROUND_PX) * n]
    height, width = part.shape[1] // n, part.shape[2] // n
    binned = np.zeros((len(part), height, width), np.float32)
    for down in range(n):
        for right in range(n):
            binned += part[:, down : height * n : n, right : width * n : n]
    roots = np.sqrt(binned, out=binned)
    energies = []
    # The planes as channels of one image are filtered at once, as many as OpenCV takes.
    for first in range(0, len(roots), CHANNELS):
        image = np.ascontiguousarray(np.moveaxis(roots[first : first + CHANNELS], 0, -1))
        smooth = cv2.GaussianBlur(image, (0, 0), scale.sigma_px).reshape(height, width, -1)
        bent = cv2.Laplacian(smooth, cv2.CV_32F, ksize=1).reshape(height, width, -1)
        inside = bent[y0 - top : y1 - top, x0 - left : x1 - left]
        energies.append((inside * inside).mean(axis=(0, 1), dtype=np.float64))
    return np.asarray(np.concatenate(energies), np.float32)


def _middle(curve: Curve, sharpest: Peak, reach: float) -> Peak:
    """Middle between the highest peak and the next one of at most `reach` planes away with a dip between them."""
    top = int(curve.argmax())
    others = [
        k
        for k in range(1, len(curve) - 1)
        if curve[k] >= curve[k - 1] and curve[k] >= curve[k + 1] and 1 < abs(k - top) <= reach
    ]
    for other in sorted(others, key=lambda k: -float(curve[k])):
        low, high = sorted((top, other))
        if float(curve[low : high + 1].min()) <= DIP_SHARE * float(curve[other]):
            start = other - 1
            plane, _ = best_plane(curve[start : start + 3])
            return Peak((sharpest.plane + start + plane) / 2, False)
    return sharpest
