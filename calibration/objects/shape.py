"""Shape of an object in um, from the points of its outline, and its size by the measure of its group.

An outline is (N, 2) x, y in px, once around. Moments, areas and tangents are those of the polygon itself, so nothing is
rounded to whole pixels. docs/measurement.md says which length is told of which object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from calibration.objects.moments import Points, moments_of
from calibration.objects.rings import without_spines

ELLIPTIC = 0.994
"""Area over that of the ellipse of equal second moments, from which on an outline counts as an ellipse."""
ROUND = 0.95
"""Minor over major axis from which on a valve is centric."""
HOLLOW = 0.7
"""Area over that of the convex hull, below which an outline may be curved or a chain."""
LONGER = 1.15
"""Length along the skeleton over the greatest Feret diameter, beyond which it is told."""
LEAST_AREA_PX = 1.0
"""What encloses less has no shape."""


class ShapeGroup(StrEnum):
    """What an object is, as far as its measure depends on it."""

    COCCOLITH = "coccolith"
    DIATOM = "diatom"
    SILICOFLAGELLATE = "silicoflagellate"
    OTHER = "other"

    @classmethod
    def of(cls, class_name: str) -> ShapeGroup:
        """Give the group that a class of the detector names; any other class is `OTHER`."""
        return next((group for group in cls if group == class_name), cls.OTHER)


class Measure(StrEnum):
    """What `length_um` and `width_um` are.

    Attributes
    ----------
    DISTAL_SHIELD
        axes of the ellipse of equal second moments.
    DIAMETER
        of the circle of equal area, both of them.
    APICAL_AXIS
        greatest Feret diameter; the transapical axis is the least one.
    BASAL_RING
        greatest and least Feret diameter without spines.
    FERET
        greatest and least Feret diameter.
    """

    DISTAL_SHIELD = "distal_shield"
    DIAMETER = "diameter"
    APICAL_AXIS = "apical_axis"
    BASAL_RING = "basal_ring"
    FERET = "feret"


@dataclass(frozen=True)
class Shape:
    """Size and form of an outline.

    Attributes
    ----------
    length_um
        by the measure that `length_by` names.
    width_um
        by the same measure.
    length_by
        the measure.
    feret_um
        greatest Feret diameter, of whatever it is.
    arc_length_um
        along the middle of what is curved, or a chain; None of all else.
    area_um2
        of the polygon.
    perimeter_um
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
    length_by: Measure
    feret_um: float
    arc_length_um: float | None
    area_um2: float
    perimeter_um: float
    equivalent_diameter_um: float
    circularity: float
    solidity: float
    orientation_deg: float


def shape_of(outline: Points, pixel_um: float, group: ShapeGroup) -> Shape | None:
    """Measure an outline; None where it encloses less than a pixel.

    Parameters
    ----------
    outline
        (N, 2) x, y in px. One that crosses itself is measured, too, as well as that is possible.
    pixel_um
        size of a pixel on the sample.
    group
        what it is an outline of.
    """
    if len(outline) < 3:
        return None
    moments = moments_of(outline)
    if moments is None or moments.area < LEAST_AREA_PX:
        return None
    coarse = outline.astype(np.float32)
    around = cv2.convexHull(coarse, returnPoints=False)[:, 0]
    hull_area = cv2.contourArea(coarse[around])
    if hull_area < LEAST_AREA_PX:
        return None
    hull = outline[around].astype(np.float64)
    longest, least = feret_diameters(hull)
    perimeter = float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum())
    major, minor = moments.axes
    solidity = min(moments.area / hull_area, 1.0)
    diameter = math.sqrt(4 * moments.area / math.pi)
    elliptic = moments.area >= ELLIPTIC * math.pi / 4 * major * minor
    length, width, by, arc = longest, least, Measure.FERET, None
    match group:
        case ShapeGroup.COCCOLITH if elliptic:
            length, width, by = major, minor, Measure.DISTAL_SHIELD
        case ShapeGroup.DIATOM if elliptic and minor >= ROUND * major:
            length, width, by = diameter, diameter, Measure.DIAMETER
        case ShapeGroup.DIATOM:
            by = Measure.APICAL_AXIS
        case ShapeGroup.SILICOFLAGELLATE if (ring := without_spines(outline)) is not None:
            length, width = feret_diameters(ring)
            by = Measure.BASAL_RING
    if group in (ShapeGroup.DIATOM, ShapeGroup.OTHER) and solidity < HOLLOW:
        along = _skeleton_length(outline)
        arc = along if along > LONGER * longest else None
    return Shape(
        length_um=length * pixel_um,
        width_um=width * pixel_um,
        length_by=by,
        feret_um=longest * pixel_um,
        arc_length_um=None if arc is None else arc * pixel_um,
        area_um2=moments.area * pixel_um**2,
        perimeter_um=perimeter * pixel_um,
        equivalent_diameter_um=diameter * pixel_um,
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
