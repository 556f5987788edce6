"""Boxes around what is drawn in other ways: polygons, masks as runs of pixels, turned boxes, ellipses."""

from __future__ import annotations

import math
from collections.abc import Sequence

Box = tuple[float, float, float, float]
"""x, y, width, height in px."""
LONGEST_RUN_BITS = 60


def around_points(xs: Sequence[float], ys: Sequence[float]) -> Box:
    """Box around points."""
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def around_turned(box: Box, degrees: float) -> Box:
    """Box around a box that is turned about its centre; itself where it is not turned, or has no area."""
    x, y, width, height = box
    if not degrees or min(width, height) <= 0:
        return box
    c, s = _turn(degrees)
    return _centred((x + width / 2, y + height / 2), width * c + height * s, width * s + height * c)


def around_ellipse(centre: tuple[float, float], rx: float, ry: float, degrees: float) -> Box:
    """Box around an ellipse of radii along its own axes, which are turned about its centre."""
    c, s = _turn(degrees)
    return _centred(centre, 2 * math.hypot(rx * c, ry * s), 2 * math.hypot(rx * s, ry * c))


def around_runs(runs: Sequence[int], row: int, rows: int) -> Box | None:
    """Box around the pixels of a mask; None if it has none.

    Parameters
    ----------
    runs
        how many pixels are out, in, out ... row after row.
    row
        pixels in a row.

    Raises
    ------
    ValueError
        The runs are not those of a mask of this size.
    """
    if row < 1 or rows < 1 or min(runs, default=0) < 0 or sum(runs) != row * rows:
        raise ValueError(f"runs of {sum(runs)} pixels for {row} x {rows}")
    x0, x1, y0, y1, at = row, 0, rows, 0, 0
    for place, length in enumerate(runs):
        if place % 2 and length:
            first, last = divmod(at, row), divmod(at + length - 1, row)
            y0, y1 = min(y0, first[0]), max(y1, last[0] + 1)
            whole_row = first[0] != last[0]
            x0, x1 = min(x0, 0 if whole_row else first[1]), max(x1, row if whole_row else last[1] + 1)
        at += length
    return (x0, y0, x1 - x0, y1 - y0) if x1 else None


def unpack_runs(text: str) -> list[int]:
    """Unpack COCO's compressed runs.

    A character holds five bits, low ones first; from the fourth on a run is written by how it differs from the last
    but one.

    Raises
    ------
    ValueError
        It is no such text.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} in the runs of a mask")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32 and shift < LONGEST_RUN_BITS:
            continue
        if bits & 32:
            raise ValueError("a run of a mask that is longer than any picture")
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the runs of a mask end in the middle of a number")
    return runs


def _turn(degrees: float) -> tuple[float, float]:
    """Cosine and sine without their signs; exact without a turn."""
    turn = math.radians(degrees)
    return abs(math.cos(turn)), abs(math.sin(turn))


def _centred(centre: tuple[float, float], width: float, height: float) -> Box:
    return centre[0] - width / 2, centre[1] - height / 2, width, height
