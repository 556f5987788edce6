"""Objects cut out of the whole stack. Boxes are x0, y0, x1, y1 in px of the frame, half-open."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inference.objects.objects import Box


def pixel_box(box: NDArray[np.float32], height: int, width: int) -> Box:
    """Smallest box of whole pixels around a fractional one, clipped to the frame, never empty."""
    x0, y0, x1, y1 = (float(v) for v in box)
    left, top = min(max(math.floor(x0), 0), width - 1), min(max(math.floor(y0), 0), height - 1)
    return left, top, max(min(math.ceil(x1), width), left + 1), max(min(math.ceil(y1), height), top + 1)


def with_margin(box: Box, margin_px: int, height: int, width: int) -> Box:
    """Box with a margin all around, clipped to the frame."""
    x0, y0, x1, y1 = box
    return max(x0 - margin_px, 0), max(y0 - margin_px, 0), min(x1 + margin_px, width), min(y1 + margin_px, height)


def touches_edge(box: Box, height: int, width: int) -> bool:
    """Whether a box reaches the frame's edge."""
    return box[0] <= 0 or box[1] <= 0 or box[2] >= width or box[3] >= height


def crop(stack: NDArray[np.uint16], box: Box) -> NDArray[np.uint16]:
    """Copy of a box through the whole stack, CZYX."""
    x0, y0, x1, y1 = box
    return stack[:, :, y0:y1, x0:x1].copy()
