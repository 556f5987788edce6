"""Pictures of a field for those who watch: each polarization as a whole, and some objects through all their planes."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daemon.protocols.pipes import Strip
from daemon.protocols.watching import ShownSpecimen
from daemon.records.records import ObjectRow
from inference.objects.objects import FoundObject, StackAnalysis

_log = logging.getLogger(__name__)
Pixel = TypeVar("Pixel", np.uint8, np.uint16)
Drawing = TypeVar("Drawing", bytes, Strip)

VIEW_PX = 1024
TILE_PX = 72
STRIPS_A_FIELD = 6
QUALITY = 80
DARK = 0.2
"""A picture whose median lies this low between its darkest and brightest pixels is a dark field: it is lifted."""
NOISE_SPAN = 24.0
"""At least so many times the noise lies between black and white, so that it is not blown up."""


def draw_views(stack: NDArray[np.uint16], analysis: StackAnalysis) -> tuple[bytes, ...]:
    """Draw the fused view, then each polarization in the stack's sharpest plane, the middle one of a blank field.

    Parameters
    ----------
    stack
        CZYX.

    Returns
    -------
    JPEGs, at most `VIEW_PX` wide and high; a grey one stands for what cannot be drawn.
    """
    best = analysis.focus.best_plane
    plane = stack.shape[1] // 2 if best is None else min(max(round(best), 0), stack.shape[1] - 1)
    draw = partial(_view, analysis.overview), *(partial(_state_view, each[plane]) for each in stack)
    grey = np.full((VIEW_PX // 8, VIEW_PX // 8), 128, np.uint8)
    return tuple(_drawn(each) or jpeg(grey) for each in draw)


def _view(overview: NDArray[np.uint8]) -> bytes:
    return jpeg(within(overview, VIEW_PX))


def _state_view(plane: NDArray[np.uint16]) -> bytes:
    return jpeg(stretched(within(plane, VIEW_PX)))


def draw_strips(objects: Sequence[FoundObject], rows: Sequence[ObjectRow], pixel_um: float) -> tuple[Strip, ...]:
    """Draw some of a field's counted objects through focus.

    The best of each class come first, then the best of the rest, `STRIPS_A_FIELD` at most. Each picture is
    `TILE_PX` wide and high at most. Black and white of a polarization are the same in all planes of an object. What
    cannot be drawn is left out.
    """
    drawn = (_drawn(partial(_strip, objects[row.number], row, pixel_um)) for row in choose(rows))
    return tuple(strip for strip in drawn if strip is not None)


def _drawn(draw: Callable[[], Drawing]) -> Drawing | None:
    """Draw; None, and why in the log, where that raises an error: a picture is for people alone."""
    try:
        return draw()
    except Exception:  # noqa: BLE001 - whatever it is, it is told, and the field stands
        _log.exception("a picture cannot be drawn")
        return None


def choose(rows: Sequence[ObjectRow]) -> list[ObjectRow]:
    """Choose the objects that are drawn, in their order."""
    by_score = sorted((row for row in rows if row.counted), key=lambda row: (-row.score, row.number))
    first: dict[str, ObjectRow] = {}
    for row in by_score:
        first.setdefault(row.class_name, row)
    rest = [row for row in by_score if row is not first[row.class_name]]
    return [*first.values(), *rest][:STRIPS_A_FIELD]


def _strip(found: FoundObject, row: ObjectRow, pixel_um: float) -> Strip:
    """Draw a row of pictures for each polarization, a column for each plane."""
    states = [[within(plane, TILE_PX) for plane in planes] for planes in found.crop]
    shown = {"tile_px": states[0][0].shape, "tile_um": found.crop.shape[3] * pixel_um}
    lines = [stretched(np.concatenate(planes, axis=1)) for planes in states]
    specimen = msgspec.convert(msgspec.structs.asdict(row) | shown, ShownSpecimen)
    return Strip(specimen=specimen, jpeg=jpeg(np.concatenate(lines, axis=0)))


def within(picture: NDArray[Pixel], limit_px: int) -> NDArray[Pixel]:
    """Reduce a picture, YX or YXC, by the mean of its pixels until it is no larger than the limit."""
    height, width = picture.shape[:2]
    scale = limit_px / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), picture.dtype)


def stretched(picture: NDArray[np.uint16], *, bright: bool = False) -> NDArray[np.uint8]:
    """Spread what a picture (YX) holds between black and white; where it holds little, near white if it is `bright`."""
    seen = picture[::2, ::2]
    low, middle, high = np.percentile(seen, (0.2, 50.0, 99.9))
    # From pixel to pixel, as light that falls off towards a side is no noise.
    steps = np.abs(np.diff(seen.astype(np.int32).ravel()))
    span = max(high - low, NOISE_SPAN * float(np.median(steps)) if len(steps) else 0.0, 1.0)
    black = high - span if bright else low
    levels = np.clip((np.arange(65536, dtype=np.float32) - black) / span, 0, 1)
    if middle - black < DARK * span:
        levels = np.sqrt(levels)
    return np.asarray(255 * levels, np.uint8)[picture]


def jpeg(picture: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Compress a picture, YX or YXC."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
