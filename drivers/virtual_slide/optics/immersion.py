"""What lies between objective and cover slip: oil, air where the oil is lost, a bubble in the oil."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import Image

AIR_LIGHT = 0.4
"""Share of light that still finds its way into an objective without oil."""
CORE_PX = 6.0
"""Standard deviation of the blur without oil: the aperture is cut by total reflection."""
HALO_PX = 40.0
HALO = 0.65
"""Spread and share of the light that spherical aberration scatters into a veil."""
COARSE = 8
"""The veil is made on a grid so many times coarser."""
RING = (0.18, 0.36, 0.44, 0.72)
"""A bubble's black ring, in shares of the frame's shorter side from its middle: begins, is black, is black, ends."""
BLACK = 0.02


@dataclass(frozen=True)
class Immersion:
    """Whether there is oil under the objective, and whether a bubble floats in it."""

    oil: bool = True
    bubble: bool = False

    def disturb(self, light: NDArray[np.float32]) -> None:
        """Turn light as the oil would pass it on into what truly reaches the camera, (H, W), in place."""
        if not self.oil:
            light[...] = _through_air(light)
        if self.bubble:
            ring, air = _bubble(*light.shape)
            light += air * (_through_air(light) - light)
            light *= ring


def _through_air(light: NDArray[np.floating]) -> Image:
    height, width = light.shape
    # In double precision, as OpenCV rounds floats differently on different CPUs.
    light = light.astype(np.float64)
    core = cv2.GaussianBlur(light, (0, 0), CORE_PX)
    cells = max(1, width // COARSE), max(1, height // COARSE)
    coarse = cv2.GaussianBlur(cv2.resize(light, cells, interpolation=cv2.INTER_AREA), (0, 0), HALO_PX / COARSE)
    veil = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.addWeighted(core, AIR_LIGHT * (1 - HALO), veil, AIR_LIGHT * HALO, 0), np.float32)


@cache
def _bubble(height: int, width: int) -> tuple[Image, Image]:
    """Share of light that a bubble lets through, and how far what is seen is seen through its air; (H, W).

    Around its middle the bubble is a window of air; its limb reflects all light away, in a wide black ring that is far
    out of focus; beyond it lies oil.
    """
    y, x = np.ogrid[:height, :width]
    # Seldom is a bubble right under the axis.
    away_y, away_x = y - 0.54 * height, x - 0.47 * width
    radius = np.hypot(away_y, away_x) / min(height, width)
    begins, black, still_black, ends = RING
    window, oil = ((black - radius) / (black - begins), (radius - still_black) / (ends - still_black))
    window, oil = (part * part * (3 - 2 * part) for part in (np.clip(window, 0, 1), np.clip(oil, 0, 1)))
    share = BLACK + (1 - BLACK) * (window + oil)
    return np.asarray(share, np.float32), np.asarray(1 - oil, np.float32)
