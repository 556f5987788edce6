"""Area, centre and second moments of an outline, exact for the polygon."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

NOTHING = 1e-6
"""Share of the area that is counted both for and against, so that none is left."""


class Moments(NamedTuple):
    """Area, centre and central second moments over the area of a polygon, in px."""

    area: float
    x: float
    y: float
    xx: float
    xy: float
    yy: float

    @property
    def axes(self) -> tuple[float, float]:
        """Major and minor axis of the ellipse of equal second moments."""
        middle, apart = (self.xx + self.yy) / 2, math.hypot((self.xx - self.yy) / 2, self.xy)
        return 4 * math.sqrt(middle + apart), 4 * math.sqrt(max(middle - apart, 0.0))

    @property
    def orientation(self) -> float:
        """Direction of the major axis, from x towards y, rad."""
        return 0.5 * math.atan2(2 * self.xy, self.xx - self.yy)


def moments_of(outline: Points) -> Moments | None:
    """Moments of a polygon by Green's theorem (C. Steger 1996, On the calculation of arbitrary moments of polygons).

    None of one that encloses nothing, and of one that crosses itself so that what it encloses counts for and against.
    """
    middle = outline.mean(axis=0)
    x, y = (outline - middle).T
    after_x, after_y = np.roll(x, -1), np.roll(y, -1)
    cross = x * after_y - after_x * y
    twice = float(cross.sum())
    if abs(twice) < NOTHING * float(np.abs(cross).sum()) or twice == 0:
        return None
    centre_x = float((cross * (x + after_x)).sum()) / (3 * twice)
    centre_y = float((cross * (y + after_y)).sum()) / (3 * twice)
    xx = float((cross * (x * x + x * after_x + after_x * after_x)).sum()) / (6 * twice) - centre_x**2
    yy = float((cross * (y * y + y * after_y + after_y * after_y)).sum()) / (6 * twice) - centre_y**2
    xy = float((cross * (2 * x * y + x * after_y + after_x * y + 2 * after_x * after_y)).sum()) / (12 * twice)
    xy -= centre_x * centre_y
    if xx <= 0 or yy <= 0 or xy * xy > xx * yy:
        return None
    return Moments(abs(twice) / 2, centre_x + float(middle[0]), centre_y + float(middle[1]), xx, xy, yy)
