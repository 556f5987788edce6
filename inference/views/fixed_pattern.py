"""What camera and light do to every frame, whatever lies on the slide: taken off before anything is looked for."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
DARKEST = 0.05
"""Least light, over the mean of the frame, that is scaled up; what is darker is no field of view."""


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """Offset and flat field of a camera at its full size.

    Attributes
    ----------
    offset_dn
        what a pixel reads without light, (H, W).
    flat
        light of an empty field over its mean, (C, H, W).
    """

    offset_dn: Floats
    flat: Floats

    def binned(self, binning: int) -> BinnedPattern:
        """Give what it comes to for means over `binning` x `binning` pixels; what remains at the edges is cut.

        Where a pixel's offset or light is no number, nothing is taken off it.
        """
        height, width = (n // binning for n in self.offset_dn.shape)

        def shrink(image: Floats) -> Floats:
            whole = image[: height * binning, : width * binning]
            return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)

        offset_dn = np.where(np.isfinite(self.offset_dn), self.offset_dn, np.float32(0))
        even = (np.where(np.isfinite(flat), flat, np.float32(1)) for flat in self.flat)
        gains = np.stack([1 / np.maximum(shrink(flat), np.float32(DARKEST)) for flat in even]).astype(np.float32)
        return BinnedPattern(shrink(offset_dn), gains, float(offset_dn.mean()))


@dataclass(frozen=True, eq=False)
class BinnedPattern:
    """A fixed pattern at the scale at which a stack is looked at.

    Attributes
    ----------
    offset_dn
        (h, w).
    gains
        that even out the light, (C, h, w).
    level_dn
        mean offset, which is left in: what looks for objects knows frames with an offset, and a root of nothing but
        noise would make much of it.
    """

    offset_dn: Floats
    gains: Floats
    level_dn: float

    def remove(self, frame: Floats, c: int) -> Floats:
        """Even frame (h, w) of state `c`, in DN; never below 0."""
        even = cv2.multiply(cv2.subtract(frame, self.offset_dn), self.gains[c])
        return np.asarray(np.maximum(even + np.float32(self.level_dn), 0))
