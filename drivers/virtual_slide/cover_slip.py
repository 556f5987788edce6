"""The mini cover slip that the objects lie on: its height, tilt and bending, and the edge where it ends."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide.matter import Image
from drivers.virtual_slide.places import look_up, places
from drivers.virtual_slide.seeds import generator

Floats = NDArray[np.float64]

GRID_UM = 0.2
"""Distances from the edge are known on a grid of this step; the wall of glass that the edge is, is never sharper."""
SOFT_UM = 0.9
BAND_UM = (8.0, 15.0)
"""Least and greatest width of the dark band in which the wall throws light past the objective."""
BAND_WAVES_UM = (190.0, 97.0, 61.0, 29.0)
BEYOND_UM = 6.0
"""How far onto the bare slide the edge is seen."""
WAVES_UM = ((2600.0, 4.0), (410.0, 1.0), (83.0, 0.4), (21.0, 0.12), (6.0, 0.05))
"""Typical length and amplitude of the waves of a scored and broken edge."""
CHIPS_PER_MM = 30.0
CHIP_UM = (0.8, 45.0)
"""Least and greatest half length of a chip along the edge."""
GREATEST_SKEW = 0.004
_SURFACE = 5
_BENDING = 6
_EDGE = 7


class CoverSlip:
    """One mini-slide's cover slip, of the size the settings give, its sides along x and y but for a small skew.

    All of it is a function of the seed and of the place on the slide.
    """

    def __init__(self, emulation: Emulation, slide: MiniSlide) -> None:
        self._centre_um = slide.centre_um
        self._half_um = slide.size_um[0] / 2, slide.size_um[1] / 2
        random = generator(emulation.seed, slide.position, _SURFACE)
        self._z_um = slide.z_um + float(random.uniform(-1, 1)) * emulation.height_um
        tilt = float(random.uniform(0.3, 1)) * emulation.tilt_um_per_mm / 1000
        direction = float(random.uniform(0, 2 * np.pi))
        self._slope = tilt * float(np.cos(direction)), tilt * float(np.sin(direction))
        random = generator(emulation.seed, slide.position, _BENDING)
        sag = float(random.uniform(0.4, 1) * random.choice((-1, 1))) * emulation.bend_um
        share = float(random.uniform(0.2, 0.8))
        self._sag_um = sag * share, sag * (1 - share)
        random = generator(emulation.seed, slide.position, _EDGE)
        half_x, half_y = self._half_um
        self._left, self._right, self._low, self._high = (_Side(random, h) for h in (half_y, half_y, half_x, half_x))
        turn, self._band_phases = random.uniform(0, 2 * np.pi, (2, len(BAND_WAVES_UM)))
        self._band_waves = 2 * np.pi * np.array([np.cos(turn), np.sin(turn)]) / BAND_WAVES_UM

    @property
    def sides_um(self) -> tuple[float, float, float, float]:
        """Stage positions between which it lies: x0, y0, x1, y1."""
        (x, y), (half_x, half_y) = self._centre_um, self._half_um
        return x - half_x, y - half_y, x + half_x, y + half_y

    def surface_z_um(self, x_um: float, y_um: float) -> float:
        """Height of the surface at a stage position, in stage units.

        A plane and a paraboloid whose axes lie along the sides; its sag counts from centre to corner.
        """
        x, y = x_um - self._centre_um[0], y_um - self._centre_um[1]
        u, v = x / self._half_um[0], y / self._half_um[1]
        plane = self._z_um + self._slope[0] * x + self._slope[1] * y
        return plane + self._sag_um[0] * u * u + self._sag_um[1] * v * v

    def covers(self, x_um: float, y_um: float) -> bool:
        """Whether a stage position lies on the cover slip; beyond it there is nothing."""
        if self._room_um(x_um, y_um) > 0:
            return True
        return bool(self._glass(np.array([x_um]), np.array([y_um]))[0, 0])

    def edge(self, x_um: float, y_um: float, frame_px: tuple[int, int], pixel_um: float) -> Image | None:
        """Draw the share of light that the edge lets through in a frame, (H, W), None where it is out of sight.

        Outside the edge, on the bare slide, all light passes. It depends on the place alone: keep it for the planes of
        a field.

        Parameters
        ----------
        x_um
            stage position, the frame's middle.
        y_um
            stage position, the frame's middle.
        frame_px
            height, width.
        """
        height, width = (side * pixel_um for side in frame_px)
        if self._room_um(x_um, y_um, width / 2, height / 2) > BAND_UM[1]:
            return None
        # What lies beyond the frame counts too, as far as an edge there is seen in it.
        rows, columns = (round((side + 2 * BAND_UM[1]) / GRID_UM) for side in (height, width))
        x, y = _grid(x_um, columns), _grid(y_um, rows)
        glass = self._glass(x, y)
        if glass.all() or not glass.any():
            return None
        light = self._light(x, y, glass).astype(np.float32)
        step = pixel_um / GRID_UM
        across, down = (
            (n - 1) / 2 + (np.arange(side) - (side - 1) / 2) * step
            for n, side in ((columns, frame_px[1]), (rows, frame_px[0]))
        )
        return look_up(light, places(*np.meshgrid(across, down)))

    def _room_um(self, x_um: float, y_um: float, half_x_um: float = 0.0, half_y_um: float = 0.0) -> float:
        """Return how far, at least, a rectangle is from any glass that may be missing."""
        x, y = abs(x_um - self._centre_um[0]) + half_x_um, abs(y_um - self._centre_um[1]) + half_y_um
        return min(self._half_um[0] - x - self._left.greatest_um, self._half_um[1] - y - self._low.greatest_um)

    def _glass(self, x_um: Floats, y_um: Floats) -> NDArray[np.bool_]:
        """Where the cover slip is, on a grid (H, W)."""
        x, y = x_um - self._centre_um[0], y_um - self._centre_um[1]
        half_x, half_y = self._half_um
        columns = (x > self._left.inset_um(y)[:, None] - half_x) & (x < half_x - self._right.inset_um(y)[:, None])
        rows = (y[:, None] > self._low.inset_um(x) - half_y) & (y[:, None] < half_y - self._high.inset_um(x))
        return np.asarray(columns & rows)

    def _light(self, x_um: Floats, y_um: Floats, glass: NDArray[np.bool_]) -> Floats:
        """Share of light on a grid.

        Dark where the wall refracts it past the objective, with the bright line that it throws on the bare slide, a
        fainter one within the band, and a few fringes beyond. In double precision, as OpenCV rounds floats, and numpy
        their sines, differently on different CPUs.
        """
        inside, outside = (ndimage.distance_transform_edt(part) for part in (glass, ~glass))
        distance: Floats = np.asarray(cv2.GaussianBlur((inside - outside) * GRID_UM, (0, 0), 1.5), np.float64)
        along_x, along_y = (
            np.multiply.outer(place, wave) for place, wave in zip((x_um, y_um), self._band_waves, strict=True)
        )
        swings = np.sin(along_y[:, None] + along_x + self._band_phases)
        low, high = BAND_UM
        band: Floats = np.asarray((low + high) / 2 + (high - low) / 2 * swings.mean(axis=2), np.float64)
        strength: Floats = np.asarray(0.6 + 0.4 * swings[..., -1], np.float64)
        dark = _step(distance, -SOFT_UM, SOFT_UM) * _step(distance, band, 0.45 * band)
        lines = strength * (0.5 * _line(distance, -1.2, 0.7) + 0.12 * _line(distance, 0.3 * band, 0.6))
        beyond = np.maximum(-distance, 0)
        fringes = 0.1 * np.sin(2 * np.pi * beyond / 1.7) * np.maximum(1 - beyond / BEYOND_UM, 0) ** 2
        return np.asarray((1 - 0.93 * dark) * (1 + fringes) + lines)


class _Side:
    """One side of a cover slip, wavy and chipped; its glass ends at most `greatest_um` inside a straight line."""

    def __init__(self, random: np.random.Generator, half_um: float) -> None:
        self._skew = float(random.uniform(-1, 1)) * GREATEST_SKEW
        lengths, self._amplitudes = np.array(WAVES_UM).T
        self._waves = 2 * np.pi / (lengths * random.uniform(0.7, 1.4, len(lengths)))
        self._phases = random.uniform(0, 2 * np.pi, len(lengths))
        chips = int(random.poisson(CHIPS_PER_MM * 2 * half_um / 1000))
        self._chip_um = random.uniform(-half_um, half_um, chips)
        shortest, longest = np.log(CHIP_UM)
        self._chip_half_um = np.exp(random.uniform(shortest, longest, chips))
        self._chip_depth_um = self._chip_half_um * random.uniform(0.1, 0.5, chips)
        self.greatest_um = GREATEST_SKEW * half_um + float(self._amplitudes.sum()) + CHIP_UM[1] / 2

    def inset_um(self, place_um: Floats) -> Floats:
        """How far inside the straight line the glass ends, at places along it counted from its middle."""
        waves = np.sin(np.multiply.outer(place_um, self._waves) + self._phases) @ self._amplitudes
        offset = (place_um[:, None] - self._chip_um) / self._chip_half_um
        bites = self._chip_depth_um * np.sqrt(np.maximum(1 - offset**2, 0))
        return np.asarray(self._skew * place_um + waves + bites.max(axis=1, initial=0))


def _grid(middle_um: float, count: int) -> Floats:
    return np.asarray(middle_um + (np.arange(count) + 0.5 - count / 2) * GRID_UM, np.float64)


def _step(distance: Floats, start: Floats | float, end: Floats | float) -> Floats:
    """Rise smoothly from 0 at `start` to 1 at `end`."""
    share = np.clip((distance - start) / (end - start), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _line(distance: Floats, middle: Floats | float, width_um: float) -> Floats:
    return np.asarray(np.maximum(1 - ((distance - middle) / (2 * width_um)) ** 2, 0) ** 2)
