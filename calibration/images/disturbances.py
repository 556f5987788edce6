"""What keeps a whole field from being seen: no light, too much of it, a bubble, the cover slip's edge, no focus.

Rules look at the light of a field alone, never at objects: whether something was found must not decide whether a field
counts. The bright state is the one that an empty field fills with light; what is relative to it needs no calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Frame = NDArray[np.uint16]
Mask = NDArray[np.bool_]

DARK = 0.01
"""Share of the camera's range below which the bright state has no light: without oil it has 0.17, in a bubble 0.04."""
SATURATED = 0.02
"""Share of pixels at full scale from which on a field is overexposed; bright rims of large diatoms come to 0.004."""
CELL_UM = 1.9
"""Side of the cells in which large dark areas are looked for: wider than the rims of most objects."""
SHADED = 0.5
"""Light of a dark cell, over that of the field's brightest ones; a vignette of more than that would look like one."""
BRIGHTEST = 95
"""Percentile of a field's cells that tells its light, as a bubble may cover most of it."""
BUBBLE = 0.25
"""Share of dark cells from which on they are no objects: clumps come to 0.15, the ring of a bubble to two thirds."""
BAND_UM = 4.0
"""Least width of the dark band in which the wall of a cover slip throws light past the objective."""
BAND_LENGTH = 0.8
"""Least length of such a band in sight, over the shorter side of the frame."""
STRAIGHT = 2.5
"""How many times longer than wide a band is at least."""
SEEN = 4.8
"""Strongest thousandth of what changes through focus, in deviations of noise, from which on something is seen: noise
alone comes to 3.3, without oil fine structure to 3.7, and to 4.6 where nobody tells the camera's offset."""
FINE_UM, COARSE_UM = 0.12, (0.3, 0.95)
"""Blurs that part what changes through focus into fine and coarse. In oil nearly every field with anything coarse shows
something fine; without oil, and far from focus, there is none. Pixels wider than the fine one cannot show it."""
NOISE = 1 / 0.6745
STRONGEST = 0.999
STRIP_ROWS = 64
"""Rows of a frame that are worked on at a time."""


@dataclass(frozen=True)
class FieldLook:
    """What is measured of a field; what cannot be is None.

    Attributes
    ----------
    light
        median of the bright state above the camera's offset, over the camera's range.
    full
        share of pixels at full scale, in the state and plane that has most.
    dark
        share of cells of the bright state that are dark.
    band
        whether they are a straight band that crosses the frame.
    fine
        strongest fine structure that changes through focus, of any state, in deviations of noise; None where pixels are
        too wide for it.
    seen
        strongest structure of any size that changes through focus, likewise.
    """

    light: float | None = None
    full: float | None = None
    dark: float | None = None
    band: bool = False
    fine: float | None = None
    seen: float | None = None

    @property
    def is_dark(self) -> bool:
        """Whether there is no light."""
        return self.light is not None and self.light < DARK

    @property
    def is_saturated(self) -> bool:
        """Whether the camera is saturated over more than bright objects."""
        return self.full is not None and self.full >= SATURATED

    @property
    def shows_edge(self) -> bool:
        """Whether the cover slip ends in the field."""
        return self.band and not self.is_dark

    @property
    def shows_bubble(self) -> bool:
        """Whether much of the field is dark, and not by a cover slip's edge: a bubble in the oil."""
        return self.dark is not None and self.dark >= BUBBLE and not self.band and not self.is_dark

    @property
    def is_blank(self) -> bool:
        """Whether nothing changes through focus, so that nothing is there, or is seen."""
        return self.seen is not None and self.seen < SEEN

    @property
    def is_blurred(self) -> bool:
        """Whether something is seen, and nothing of it is sharp."""
        return self.fine is not None and self.fine < SEEN and not self.is_blank


def look_at_field(
    stack: Frame, sharpest: int, bright: int | None, pixel_um: float, offset_dn: float, full_dn: int | None
) -> FieldLook:
    """Measure the light of a field.

    Parameters
    ----------
    stack
        (C, Z, H, W).
    sharpest
        its plane of best focus.
    bright
        which state is bright; None where none is, or nothing tells.
    pixel_um
        size of a pixel on the sample.
    offset_dn
        what the camera reads without light.
    full_dn
        DN at which it is saturated; None where nothing tells.
    """
    full = None if full_dn is None else _full_share(stack, full_dn)
    saturated = full is not None and full >= SATURATED
    fine, seen = (None, None) if saturated or stack.shape[1] < 2 else _structure(stack, sharpest, pixel_um, offset_dn)
    if bright is None:
        return FieldLook(full=full, fine=fine, seen=seen)
    frame = stack[bright, sharpest]
    side = max(1, round(CELL_UM / pixel_um))
    cells = _in_strips(lambda rows: _light(frame[rows], offset_dn), frame.shape[0], side)
    dark = cells < SHADED * np.percentile(cells, BRIGHTEST)
    return FieldLook(
        light=None if full_dn is None else (_median(frame) - offset_dn) / (full_dn - offset_dn),
        full=full,
        dark=float(dark.mean()),
        band=_is_band(dark, side * pixel_um),
        fine=fine,
        seen=seen,
    )


def _full_share(stack: Frame, full_dn: int) -> float:
    """Of every state and plane every sixteenth pixel."""
    # To find the greatest is several times as fast as to compare, and nearly no plane has such pixels.
    rows = stack[:, :, ::4]
    return max(
        float((plane[:, ::4] >= full_dn).mean()) if plane.max() >= full_dn else 0.0 for state in rows for plane in state
    )


def _is_band(dark: Mask, cell_um: float) -> bool:
    """Whether the largest dark area, its thin parts left out, is a straight band from border to border."""
    width = max(1, round(BAND_UM / cell_um))
    bordered = cv2.copyMakeBorder(dark.astype(np.uint8), width, width, width, width, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(bordered, cv2.MORPH_OPEN, np.ones((width, width), np.uint8))
    opened = opened[width:-width, width:-width]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return False
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    rows, columns = np.nonzero(labels == largest)
    last_row, last_column = dark.shape[0] - 1, dark.shape[1] - 1
    borders = sum(((rows == 0).any(), (rows == last_row).any(), (columns == 0).any(), (columns == last_column).any()))
    if borders < 2 or len(rows) < 3:
        return False
    # A band of even light and length L has the variance L^2 / 12 along itself.
    narrow, long = (sqrt(12 * max(value, 0.0)) for value in np.linalg.eigvalsh(np.cov(np.stack([rows, columns]))))
    return bool(long >= BAND_LENGTH * min(dark.shape) and long >= STRAIGHT * max(narrow, 1.0))


def _structure(stack: Frame, sharpest: int, pixel_um: float, offset_dn: float) -> tuple[float | None, float]:
    """Give the strongest fine structure, and the strongest of any size, of any state, in deviations of noise.

    The plane farthest from the sharpest is taken off: what the camera, dust and lamp do to both is no structure.
    """
    far = 0 if sharpest >= stack.shape[1] / 2 else stack.shape[1] - 1
    found = [_strengths(planes[sharpest], planes[far], pixel_um, offset_dn) for planes in stack]
    fine, coarse = (max(state) for state in zip(*found, strict=True))
    return fine if pixel_um <= FINE_UM else None, max(fine, coarse)


def _strengths(sharp: Frame, far: Frame, pixel_um: float, offset_dn: float) -> tuple[float, float]:
    half = max(1, round(FINE_UM / pixel_um))
    binned = _in_strips(lambda rows: _root(sharp[rows], offset_dn) - _root(far[rows], offset_dn), sharp.shape[0], half)
    px_um = half * pixel_um
    low, high = (blur / (2 * px_um) for blur in COARSE_UM)
    fine = binned - _blurred(binned, FINE_UM / px_um)
    small = _shrunk(binned, 2)
    coarse = _blurred(small, low) - _blurred(small, high)
    return _strongest(fine), _strongest(coarse)


def _in_strips(image: Callable[[slice], Image], height: int, times: int) -> Image:
    """Make an image some rows at a time, and shrink each of them at once: they stay in the cache of a processor."""
    whole = max(1, height // times) * times
    rows = max(1, STRIP_ROWS // times) * times
    strips = (slice(begin, min(begin + rows, whole)) for begin in range(0, whole, rows))
    return np.concatenate([_shrunk(image(strip), times) for strip in strips])


def _shrunk(image: Image, times: int) -> Image:
    """Average over squares of pixels; what is left over at two sides is left out."""
    height, width = (max(1, side // times) for side in image.shape)
    whole = image[: height * times, : width * times]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _light(frame: Frame, offset_dn: float) -> Image:
    light = frame.astype(np.float32)
    light -= np.float32(offset_dn)
    return light


def _root(frame: Frame, offset_dn: float) -> Image:
    """Square root of light, whose noise is the same wherever it is bright (Anscombe 1948)."""
    light = _light(frame, offset_dn)
    cv2.threshold(light, 0, 0, cv2.THRESH_TOZERO, dst=light)
    return np.asarray(cv2.sqrt(light, dst=light), np.float32)


def _blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)), np.float32)


def _strongest(image: Image) -> float:
    """Strongest thousandth over the deviation of noise, which the median tells."""
    size = np.abs(image).reshape(-1)
    noise = _quantile(size, 0.5) * NOISE
    return _quantile(size, STRONGEST) / noise if noise > 0 else 0.0


def _median(frame: Frame) -> float:
    """Give the median by counting, which for a frame is several times as fast as to put it in order."""
    counts = cv2.calcHist([frame], [0], None, [1 << 16], [0, 1 << 16]).reshape(-1)
    middle = (frame.size - 1) // 2, frame.size // 2
    return float(np.searchsorted(np.cumsum(counts, dtype=np.float64), middle, side="right").mean())


def _quantile(values: Image, share: float) -> float:
    """Give a quantile of values in a row, which stand in another order then.

    As numpy's, but it puts one place in order instead of two or three, which is several times as fast, and copies none.
    """
    rank = share * (len(values) - 1)
    below = int(rank)
    values.partition(below)
    low = float(values[below])
    return low if rank == below else low + (rank - below) * (float(values[below + 1 :].min()) - low)
