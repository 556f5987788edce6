"""The light of a stage micrometer: opaque lines of chrome, a grating that is the same along its lines.

For every point of the condenser's aperture and every colour the grating's Fourier orders are complex amplitudes. Those
within the pupil of the objective are propagated to the focal plane with the angular spectrum, each by its own phase,
and only there summed in intensity (J. Goodman, Introduction to Fourier Optics, ch. 3 and 4; M. Born and E. Wolf,
Principles of Optics, ch. 10). The lines are thin, and theory is scalar: what metal does to polarization is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.settings import Micrometer
from drivers.virtual_slide.matter import Image
from drivers.virtual_slide.optics.body_light import BAND, IMMERSION_INDEX, OBJECTIVE_NA, Mount
from drivers.virtual_slide.optics.polarizers import PolarizedLight
from drivers.virtual_slide.places import HAIR
from drivers.virtual_slide.scene import FramePlace

Floats = NDArray[np.float64]

SAMPLE_UM = 0.02
"""Greatest distance of the points of a profile; the finest that NA 1.4 passes has a period of ten times that."""
STEP_UM = 0.05
"""Distance of the planes between which light is interpolated."""
COLUMNS, COLUMNS_PER_UM = 12, 6.0
"""Points across the aperture in focus, and more for each um of defocus, as their images part in proportion to it."""
ROWS = 3
"""Points along each half chord of the aperture."""
SOURCES_AT_A_TIME = 64
PLANES_KEPT = 2048


class RuledSlide:
    """A stage micrometer in place of specimens.

    Parameters
    ----------
    ruling
        of the lines.
    mount
        how they are lit.
    """

    def __init__(self, ruling: Micrometer, mount: Mount) -> None:
        self._ruling = ruling
        self._mount = mount

    def look(self, frame: FramePlace, height: Callable[[float, float], float]) -> _RuledLines:
        """See it in a frame, where its surface lies at a height (um) over a place (x, y in um)."""
        return _RuledLines(self._ruling, self._mount, frame, height)


class _RuledLines:
    """The lines that one field shows."""

    def __init__(
        self, ruling: Micrometer, mount: Mount, frame: FramePlace, height: Callable[[float, float], float]
    ) -> None:
        self._ruling, self._mount = ruling, mount
        rows, columns = frame.size_px
        x, y = ((np.arange(n) + 0.5 - n / 2) * frame.pixel_um for n in (columns, rows))
        turn = np.deg2rad(ruling.angle_deg)
        along_x, along_y = (frame.x_um + x) * np.cos(turn), (frame.y_um + y) * np.sin(turn)
        points = _points(ruling)
        # Places are in fixed point, as OpenCV's floating point differs between CPUs.
        around = points * cv2.INTER_TAB_SIZE
        place = np.add.outer(along_y / ruling.pitch_um % 1, along_x / ruling.pitch_um % 1)
        across = np.rint(place * around + HAIR).astype(np.int32) % around
        self._point, self._rest = across >> cv2.INTER_BITS, across & (cv2.INTER_TAB_SIZE - 1)
        # Within a frame the surface bends by some nanometres only.
        half_x, half_y = columns * frame.pixel_um / 2, rows * frame.pixel_um / 2
        self._middle_um = height(frame.x_um, frame.y_um)
        right, left = (height(frame.x_um + side * half_x, frame.y_um) for side in (1, -1))
        below, above = (height(frame.x_um, frame.y_um + side * half_y) for side in (1, -1))
        self._rise_x = (right - left) / (2 * half_x) * x
        self._rise_y = (below - above) / (2 * half_y) * y

    def draw(self, light: Image, state: str, z_um: float, polarized: PolarizedLight) -> None:
        """Write the light of a focal plane, over parallel light that meets no body, into (H, W) float32."""
        defocus = z_um - self._middle_um
        fine = cv2.INTER_TAB_SIZE / STEP_UM
        along_y = np.rint((defocus - self._rise_y) * fine + HAIR).astype(np.int32)
        along_x = np.rint(-self._rise_x * fine + HAIR).astype(np.int32)
        first = int(along_y.min() + along_x.min()) >> cv2.INTER_BITS
        last = (int(along_y.max() + along_x.max()) >> cv2.INTER_BITS) + 1
        table = np.stack([profile(self._ruling, self._mount, abs(k) * STEP_UM) for k in range(first, last + 1)])
        table = np.column_stack([table, table[:, :1]]) * np.float32(polarized.empty(state))
        heights = np.add.outer(along_y - (first << cv2.INTER_BITS), along_x)
        whole = np.empty((*light.shape, 2), np.int16)
        whole[..., 0], whole[..., 1] = self._point, heights >> cv2.INTER_BITS
        heights &= cv2.INTER_TAB_SIZE - 1
        heights <<= cv2.INTER_BITS
        heights += self._rest
        cv2.remap(table, whole, heights.astype(np.uint16), cv2.INTER_LINEAR, dst=light)


@lru_cache(maxsize=PLANES_KEPT)
def profile(ruling: Micrometer, mount: Mount, defocus_um: float) -> Image:
    """Light across one pitch, from the middle of a line on, over that of glass without lines.

    The lines and the aperture are symmetric, so light is the same on both sides of the focus.

    Returns
    -------
    (N,) float32, at equal distances of at most 0.02 um; not to be written to.
    """
    points = _points(ruling)
    fx, fy, wavelength, weight = _sources(mount, abs(defocus_um))
    farthest = int(np.ceil(ruling.pitch_um * float((OBJECTIVE_NA / wavelength + np.abs(fx)).max())))
    order = np.arange(-farthest, farthest + 1)
    # Of glass that lets all light through, less a line.
    amplitude = (order == 0) - ruling.line_um / ruling.pitch_um * np.sinc(order * ruling.line_um / ruling.pitch_um)
    light = np.zeros(points)
    for first in range(0, len(weight), SOURCES_AT_A_TIME):
        some = slice(first, first + SOURCES_AT_A_TIME)
        frequency = np.hypot(fx[some, None] + order / ruling.pitch_um, fy[some, None])
        axial = 2 * np.pi * np.sqrt(np.maximum((IMMERSION_INDEX / wavelength[some, None]) ** 2 - frequency**2, 0))
        passes = frequency <= OBJECTIVE_NA / wavelength[some, None]
        spectrum = np.zeros((len(frequency), points), np.complex128)
        spectrum[:, order % points] = np.where(passes, amplitude * np.exp(-1j * axial * defocus_um), 0)
        field = np.fft.ifft(spectrum, norm="forward")
        light += weight[some] @ (field.real**2 + field.imag**2)
    return light.astype(np.float32)


def _points(ruling: Micrometer) -> int:
    """Count the points of a profile, a power of two."""
    return 1 << int(np.ceil(np.log2(ruling.pitch_um / SAMPLE_UM)))


def _sources(mount: Mount, defocus_um: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Spatial frequencies across and along the lines, wavelength and weight of points of the condenser's aperture.

    Across the lines they are those of the quadrature that is exact for a disc (Gauss and Chebyshev, second kind).
    """
    count = COLUMNS + int(np.ceil(COLUMNS_PER_UM * defocus_um))
    angle = np.repeat(np.arange(1, count + 1) * np.pi / (count + 1), ROWS)
    row = np.tile((np.arange(ROWS) + 0.5) / ROWS, count)
    colours = mount.wavelength_um + np.array(BAND) * mount.bandwidth_um / 2.355
    wavelength = colours[(np.arange(count)[:, None] + np.arange(ROWS)).ravel() % len(colours)]
    aperture = mount.condenser_na / wavelength
    weight = np.sin(angle) ** 2
    return aperture * np.cos(angle), aperture * np.sin(angle) * row, wavelength, weight / weight.sum()
