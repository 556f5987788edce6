"""What the sensor makes of light: offset, gain of each pixel, hot pixels, saturation, shot and read noise."""

from __future__ import annotations

import hashlib
from copy import copy

import numpy as np
from numpy.typing import NDArray

from drivers.settings import Sensor
from drivers.virtual_slide.optics.illumination import Illumination
from drivers.virtual_slide.optics.polarizers import Region
from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.truth import View

# All DN here are those of 16 bits; with 12 bits each is a sixteenth.
OFFSET_DN = 100.0
COLUMN_DN = 0.6
"""Standard deviation of the columns' offset."""
LAMP_DN_PER_MS = 1500.0
"""Parallel light of an empty field in the centre: 30000 DN at 20 ms."""
DN_PER_ELECTRON = 2.2
READ_NOISE_DN = 3.5
HOT_DN_PER_MS = 25.0
"""Median growth of a hot pixel's offset; the strongest tenth grow four times as fast or more."""
TILE_MARGIN_PX = 256
STRIP = 1 << 17
"""Pixels that are exposed at a time."""
_SENSOR = 76
_NOISE = 77


class Camera:
    """A sensor of one frame size; its noise is a pure function of seed and view.

    Parameters
    ----------
    frame_px
        height, width.
    settings
        of the sensor.
    seed
        of its pixels and of the noise.
    illumination
        of the same frame size, seen by the sensor.
    """

    def __init__(self, frame_px: tuple[int, int], settings: Sensor, seed: int, illumination: Illumination) -> None:
        height, width = frame_px
        self._seed = seed
        self._settings = settings
        self._illumination = illumination
        self._full_dn = (1 << settings.bits) - 1
        self._scale = 2.0 ** (settings.bits - 16)
        # In strips the scratch stays in the processor's cache.
        strip_px = min(height, max(1, STRIP // width)), width
        self._strips = [slice(top, min(top + strip_px[0], height)) for top in range(0, height, strip_px[0])]
        self._deviation = np.empty(strip_px, np.float32)
        random = generator(seed, _SENSOR)
        gain = 1 + settings.gain_spread * random.standard_normal(frame_px, np.float32)
        self._response = {crossed: illumination.still(crossed) * gain for crossed in (True, False)}
        columns = random.normal(0, COLUMN_DN, width)
        offset = self._scale * (OFFSET_DN + columns - columns.mean())
        self._offset = offset.astype(np.float32)
        hot = random.choice(height * width, round(settings.hot_pixels * height * width), replace=False)
        self._hot = np.unravel_index(hot, frame_px)
        self._hot_dn_per_ms = self._scale * HOT_DN_PER_MS * random.lognormal(0, 1.1, len(hot)).astype(np.float32)
        tile = (height + TILE_MARGIN_PX, width + TILE_MARGIN_PX)
        self._noise = generator(seed, _NOISE).standard_normal(tile, np.float32)

    def expose(self, light: NDArray[np.float32], view: View, exposure_ms: float, out: NDArray[np.uint16]) -> None:
        """Turn light, relative to the parallel light of an empty field, into DN, in place.

        Parameters
        ----------
        light
            (H, W); used as scratch and left undefined.
        out
            (H, W) uint16, C-contiguous.
        """
        height, width = light.shape
        response = self._response[view.polarization == "crossed"]
        lamp = self._illumination.power(view) * LAMP_DN_PER_MS * self._scale
        row, column = self._shift(view)
        noise = self._noise[row : row + height, column : column + width]
        per_ms = np.float32(lamp * exposure_ms)
        np.multiply(light, response, out=light)
        np.multiply(light, per_ms, out=light)
        light[self._hot] += self._hot_dn_per_ms * np.float32(exposure_ms)
        variance, read = np.float32(DN_PER_ELECTRON * self._scale), np.float32((self._scale * READ_NOISE_DN) ** 2)
        # By numpy, as OpenCV rounds products and sums of floats differently on different CPUs.
        for rows in self._strips:
            signal = light[rows]
            deviation = self._deviation[: len(signal)]
            np.multiply(signal, variance, out=deviation)
            np.add(deviation, read, out=deviation)
            np.sqrt(deviation, out=deviation)
            np.multiply(deviation, noise[rows], out=deviation)
            np.add(signal, deviation, out=signal)
            np.add(signal, self._offset, out=signal)
            np.rint(signal, out=signal)
            np.clip(signal, 0, self._full_dn, out=signal)
            np.copyto(out[rows], signal, casting="unsafe")

    def part(self, region: Region) -> Camera:
        """Return what a part of the sensor is: its own pixels, with noise of its own."""
        rows, columns = region
        one = copy(self)
        size = rows.stop - rows.start, columns.stop - columns.start
        strip_px = min(size[0], max(1, STRIP // size[1])), size[1]
        one._strips = [slice(top, min(top + strip_px[0], size[0])) for top in range(0, size[0], strip_px[0])]
        one._deviation = np.empty(strip_px, np.float32)
        one._response = {state: response[region] for state, response in self._response.items()}
        one._offset = self._offset[columns]
        there = [side >= own.start for side, own in zip(self._hot, region, strict=True)]
        there += [side < own.stop for side, own in zip(self._hot, region, strict=True)]
        seen = np.all(there, axis=0)
        one._hot = tuple(side[seen] - own.start for side, own in zip(self._hot, region, strict=True))
        one._hot_dn_per_ms = self._hot_dn_per_ms[seen]
        return one

    def noise_dn(self, signal_dn: float) -> float:
        """Return the standard deviation of a pixel in a single, evenly lit frame, at a signal above the offset.

        Shot noise, read noise, the spread of gain and offset from pixel to pixel, rounding: what an object must
        stand out from where no flat field is taken off.
        """
        shot = DN_PER_ELECTRON * self._scale * signal_dn
        still = (self._settings.gain_spread * signal_dn) ** 2
        return float(np.sqrt(shot + still + (READ_NOISE_DN**2 + COLUMN_DN**2) * self._scale**2 + 1 / 12))

    def _shift(self, view: View) -> tuple[int, int]:
        key = "/".join(map(str, (self._seed, *view.names)))
        digest = hashlib.blake2b(key.encode(), digest_size=2).digest()
        return digest[0], digest[1]
