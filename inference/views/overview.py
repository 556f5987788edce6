"""What the detector sees of a stack, as a picture for people."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.settings import FocusSettings
from inference.views.channels import Floats, Planes, Scale

Picture = NDArray[np.uint8]
"""RGB (YXC)."""


def overview(fused: Floats) -> Picture:
    """Draw a view (3, h, w): bright field in grey, the crossed state in warm colour on top, at the network's scale."""
    grey, light = 140 + 60 * fused[0], 110 * np.maximum(fused[1], 0)
    colours = np.stack([grey + light, grey + 0.7 * light, grey], axis=-1)
    return np.asarray(np.clip(colours, 0, 255), np.uint8)


def overview_in_frame(stack: NDArray[np.uint16], polarizations: tuple[str, ...], pixel_um: float) -> Picture:
    """Draw the fused view of a stack (CZYX) with the pixels of its frame, so that boxes fit both."""
    scale = Scale.of(pixel_um, FocusSettings().sigma_um)
    drawn = overview(Planes.of(stack, scale).look(polarizations, every_plane=False).fused)
    height, width = (length * scale.binning for length in drawn.shape[:2])
    # Not to the frame's own size: where binning cuts pixels off, all others would move.
    large = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC)
    below, right = stack.shape[2] - height, stack.shape[3] - width
    return np.asarray(cv2.copyMakeBorder(large, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
