"""Shape of an object in um, from the points of its outline.

An outline is (N, 2) x, y in px, once around. Moments, areas and tangents are those of the polygon itself, so nothing is
rounded to whole pixels. docs/measurement.md says which length is told of which object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from calibration.objects.moments import Points, moments_of

LengthBy = Literal["ellipse", "feret", "skeleton"]

ELLIPTIC = 0.994
"""Area over that of the ellipse of equal second moments, from which on an outline counts as an ellipse."""
HOLLOW = 0.7
"""Area over that of the convex hull, below which an outline may be curved or a chain."""
LONGER = 1.15
"""Length along the skeleton over the greatest Feret diameter, beyond which the skeleton counts."""


@dataclass(frozen=True)
class Shape:
    """Size and form of an outline.

    Attributes
    ----------
    length_um
        by the definition that `length_by` names.
    width_um
        by the same definition.
    perimeter_um
        of the polygon.
    area_um2
        of the polygon.
    equivalent_diameter_um
        of the circle of equal area.
    circularity
        4 pi area over the square of the perimeter.
    solidity
        area over that of the convex hull.
    orientation_deg
        of the long axis of the second moments, from x towards y, 0 to 180.
    """

    length_um: float
    width_um: float
    length_by: LengthBy
    area_um2: float
    perimeter_um: float
    equivalent_diameter_um: float
    circularity: float
    solidity: float
    orientation_deg: float


def shape_of(outline: Points, pixel_um: float, *, placolith: bool) -> Shape:
    """Measure an outline.

    Parameters
    ----------
    outline
        (N, 2) x, y in px, at least three that are not on a line.
    placolith
        whether it is of a coccolith, whose length is that of its ellipse, if it is one.
    """
    moments = moments_of(outline)
    area_um2 = moments.area * pixel_um**2
    around = cv2.convexHull(outline.astype(np.float32))
    hull = np.asarray(around, np.float64)[:, 0]
    longest, least = feret_diameters(hull)
    perimeter = float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum())
    major, minor = moments.axes
    solidity = moments.area / cv2.contourArea(around)
    length, width, by = longest, least, "feret"
    if placolith:
        if moments.area >= ELLIPTIC * math.pi / 4 * major * minor:
            length, width, by = major, minor, "ellipse"
    elif solidity < HOLLOW and (along := _skeleton_length(outline)) > LONGER * longest:
        length, width, by = along, moments.area / along, "skeleton"
    return Shape(
        length_um=length * pixel_um,
        width_um=width * pixel_um,
        length_by=by,  # type: ignore[arg-type]
        area_um2=area_um2,
        perimeter_um=perimeter * pixel_um,
        equivalent_diameter_um=math.sqrt(4 * area_um2 / math.pi),
        circularity=4 * math.pi * moments.area / perimeter**2,
        solidity=solidity,
        orientation_deg=math.degrees(moments.orientation) % 180,
    )


def feret_diameters(hull: Points) -> tuple[float, float]:
    """Greatest and least distance of two parallel tangents of a convex polygon, (N, 2), in its unit.

    The least one has a tangent along an edge (H. Freeman and R. Shapira 1975, Commun. ACM 18, 409).
    """
    x, y = hull.T
    longest = float(np.sqrt(((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2).max()))
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([-edges[:, 1], edges[:, 0]]) / np.maximum(np.hypot(*edges.T), 1e-12)
    across = hull @ normals
    return longest, float((across.max(axis=0) - across.min(axis=0)).min())


def _skeleton_length(outline: Points) -> float:
    # Half a second of imports that few objects need, and processes that never measure not at all.
    from calibration.objects.skeleton import skeleton_length

    return skeleton_length(outline)
