"""What the lamp, the vignette and the sensor make of light: offset, gain, saturation, shot and read noise."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.truth import View

OFFSET_DN = 100.0
LAMP_DN_PER_MS = 1500.0
"""Parallel light of an empty field in the centre: 30000 DN at 20 ms."""
LEAKAGE = 0.003
"""Crossed over parallel light of an empty field."""
DN_PER_ELECTRON = 2.2
READ_NOISE_DN = 3.5
VIGNETTE = 0.12
"""Loss of light in the frame's corners."""
TILE_MARGIN_PX = 256
_NOISE = 77


class Camera:
    """A 16-bit sensor of one frame size; its noise is a pure function of seed and view.

    Parameters
    ----------
    frame_px : height, width.
    seed : of the noise.
    """

    def __init__(self, frame_px: tuple[int, int], seed: int) -> None:
        height, width = frame_px
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        self._flat = np.ascontiguousarray(1 - VIGNETTE * (x * x + y * y) / 2)
        random = generator(seed, _NOISE)
        self._noise = random.standard_normal((height + TILE_MARGIN_PX, width + TILE_MARGIN_PX), np.float32)
        self._seed = seed
        self._deviation = np.empty(frame_px, np.float32)

    def expose(self, light: NDArray[np.float32], view: View, exposure_ms: float, out: NDArray[np.uint16]) -> None:
        """Turn light, relative to the parallel light of an empty field, into DN, in place.

        Parameters
        ----------
        light : (H, W); used as scratch and left undefined.
        out : (H, W) uint16, C-contiguous.
        """
        height, width = light.shape
        cv2.multiply(light, self._flat, dst=light, scale=LAMP_DN_PER_MS * exposure_ms)
        row, column = self._shift(view)
        noise = self._noise[row : row + height, column : column + width]
        deviation = self._deviation
        np.multiply(light, np.float32(DN_PER_ELECTRON), out=deviation)
        np.add(deviation, np.float32(READ_NOISE_DN**2), out=deviation)
        cv2.sqrt(deviation, dst=deviation)
        cv2.multiply(deviation, noise, dst=deviation)
        cv2.addWeighted(light, 1.0, deviation, 1.0, OFFSET_DN, dst=out, dtype=cv2.CV_16U)

    def _shift(self, view: View) -> tuple[int, int]:
        key = f"{self._seed}/{view.slide}/{view.field}/{view.polarization}/{view.plane}"
        digest = hashlib.blake2b(key.encode(), digest_size=2).digest()
        return digest[0], digest[1]
