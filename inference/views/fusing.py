"""Which plane each pixel is taken from.

Of a crop the object's own, or another where that is far sharper; of a whole stack the one that the detector saw there.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.objects.objects import Box
from inference.views import channels
from inference.views.channels import ENERGY_BINNING, Floats

SHARP, SHARPER = 4.0, 1.5
"""Sharpness, whose noise is 1, and sharpness over that in the object's own plane, from which on a place has another."""
SMOOTHED = 3.0
"""Standard deviation, in pixels of the map of sharpness, over which planes are compared."""
BYTES = 256
MEDIAN = 7
"""Pixels of that map over which single planes that stand out are taken for those around them."""


def fuse_frames(stack: NDArray[np.uint16], index: NDArray[np.intp], binning: int) -> NDArray[np.uint16]:
    """Fuse a stack (CZYX) at its full size to CYX, so that the detector sees the same in it.

    Parameters
    ----------
    index
        plane of each pixel that the detector saw, (h, w); what lies beyond the last of them takes theirs.
    binning
        camera pixels along one of those.
    """
    row, column = (
        np.minimum(np.arange(length) // binning, seen - 1)
        for length, seen in zip(stack.shape[2:], index.shape, strict=True)
    )
    fused = channels.gather(stack, index[row[:, None], column])
    return fused.astype(np.uint16, copy=False)


def crop_index(sharpness: Floats, crop_box: Box, binning: int, own_plane: float) -> NDArray[np.intp]:
    """Whole plane numbers (h, w) for the pixels of a crop, the same for all polarizations.

    Where the index jumps it does so at once: a mean would show planes between, in which nothing is sharp.

    Parameters
    ----------
    sharpness
        of every plane of the field, (Z, H, W), with pixels `binning * ENERGY_BINNING` wide.
    crop_box
        the crop, in px of the frame.
    binning
        camera pixels along one of the network's.
    own_plane
        the object's, fractional.
    """
    scale = binning * ENERGY_BINNING
    planes, rows, columns = sharpness.shape
    x0, y0, x1, y1 = crop_box
    left, top = min(x0 // scale, columns - 1), min(y0 // scale, rows - 1)
    right, bottom = max(-(-x1 // scale), left + 1), max(-(-y1 // scale), top + 1)
    # OpenCV filters all planes at once, as channels of one image.
    part = np.ascontiguousarray(np.moveaxis(sharpness[:, top:bottom, left:right], 0, -1))
    smooth = cv2.GaussianBlur(part, (0, 0), SMOOTHED).reshape(part.shape)
    own = min(max(round(own_plane), 0), planes - 1)
    greatest = smooth.max(axis=-1)
    told = (greatest >= SHARP) & (greatest >= SHARPER * smooth[..., own])
    index = np.where(told, smooth.argmax(axis=-1), own)
    # OpenCV's median of so many pixels is of bytes.
    ordinal = cv2.medianBlur(index.astype(np.uint8), MEDIAN) if planes <= BYTES else index
    row = (np.arange(y0, y1) // scale - top).clip(0, ordinal.shape[0] - 1)
    column = (np.arange(x0, x1) // scale - left).clip(0, ordinal.shape[1] - 1)
    return np.asarray(ordinal[row[:, None], column], np.intp)
