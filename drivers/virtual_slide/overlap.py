"""Which objects of a field lie over each other, and which of them can still be told from what they share light with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.scene import box_of

Outline = NDArray[np.float64]

MASKING = 3.0
"""An object this many times as strong in a polarization hides another one there (a guess, from looking at fields)."""
MASKED_SHARE = 0.5
"""An object is hidden when this much of it lies within stronger ones."""
_CELL_PX = 2


def overlapping(outlines: Sequence[Outline | None]) -> list[set[int]]:
    """Return with which others each outline (N, 2) shares area, all made convex; None shares nothing."""
    hulls = {k: cv2.convexHull(o.astype(np.float32)) for k, o in enumerate(outlines) if o is not None}
    boxes = {k: box_of(hull[:, 0].astype(np.float64)) for k, hull in hulls.items()}
    others: list[set[int]] = [set() for _ in outlines]
    for one, other in combinations(hulls, 2):
        (x0, y0, x1, y1), (u0, v0, u1, v1) = boxes[one], boxes[other]
        meet = x0 < u1 and u0 < x1 and y0 < v1 and v0 < y1
        if meet and cv2.intersectConvexConvex(hulls[one], hulls[other])[0] > 0:
            others[one].add(other)
            others[other].add(one)
    return others


def clear_contrast(number: int, outlines: Sequence[Outline], contrasts: NDArray[np.float64], beside: set[int]) -> float:
    """Greatest contrast of an object over the polarizations in which nothing stronger hides it, else 0.

    Parameters
    ----------
    number
        of the object, in `outlines` (N, 2) and `contrasts` (objects, polarizations).
    beside
        numbers of those that share area with it.
    """
    clear = 0.0
    for polarization, contrast in enumerate(contrasts[number]):
        stronger = [outlines[k] for k in beside if contrasts[k, polarization] >= MASKING * contrast]
        if not stronger or _share_within(outlines[number], stronger) < MASKED_SHARE:
            clear = max(clear, float(contrast))
    return clear


def _share_within(one: Outline, others: Sequence[Outline]) -> float:
    """Share of an outline's area that lies within any of some others."""
    x0, y0, x1, y1 = box_of(one)
    shape = int((y1 - y0) / _CELL_PX) + 1, int((x1 - x0) / _CELL_PX) + 1
    inside, covered = (np.zeros(shape, np.uint8) for _ in range(2))
    for canvas, outlines in ((inside, [one]), (covered, others)):
        for outline in outlines:
            cells = np.rint((outline - (x0, y0)) / _CELL_PX).astype(np.int32)
            cv2.fillPoly(canvas, [cells], (1,))
    return float(covered[inside > 0].mean())
