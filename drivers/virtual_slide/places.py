"""Looking up light between pixels, the same on every processor: OpenCV's floating-point places differ between them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import Image

HAIR = 1e-4
"""Added before rounding, so that what lies between two steps falls to the same side whatever the last bits of a CPU."""

Places = tuple[NDArray[np.int16], NDArray[np.uint16]]


def places(x: NDArray[np.float64], y: NDArray[np.float64]) -> Places:
    """Columns and rows (H, W) of an image to 1/32 px, in the fixed point that `cv2.remap` takes."""
    across, down = (np.rint(along * cv2.INTER_TAB_SIZE + HAIR).astype(np.int32) for along in (x, y))
    whole = np.stack([across >> cv2.INTER_BITS, down >> cv2.INTER_BITS], axis=-1).astype(np.int16)
    rest = (down % cv2.INTER_TAB_SIZE) * cv2.INTER_TAB_SIZE + across % cv2.INTER_TAB_SIZE
    return whole, rest.astype(np.uint16)


def look_up(image: Image, at: Places) -> Image:
    """Interpolate an image (h, w) or (h, w, channels) linearly at places (H, W); what lies beyond it is 0."""
    return np.asarray(cv2.remap(image, *at, cv2.INTER_LINEAR), np.float32)
