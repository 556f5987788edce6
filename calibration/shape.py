"""Shape of an object in um, from the points of its outline.

An outline is (N, 2) x, y in px, once around. Moments, areas and tangents are those of the polygon itself, so nothing is
rounded to whole pixels. docs/measurement.md says which length is told of which object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from skimage.draw import polygon2mask
from skimage.morphology import skeletonize

Points = NDArray[np.float64]
LengthBy = Literal["ellipse", "feret", "skeleton"]

ELLIPTIC = 0.985
"""Area over that of the ellipse of equal second moments, from which on an outline counts as an ellipse."""
HOLLOW = 0.7
"""Area over that of the convex hull, below which an outline may be curved or a chain."""
LONGER = 1.15
"""Length along the skeleton over the greatest Feret diameter, beyond which the skeleton counts."""
SKELETON_WIDTH_PX = 8.0
"""Mean width to which an outline is scaled before it is thinned, at most."""
EVENING_STEPS = 4.0
"""Standard deviation, in steps from pixel to pixel, over which the way along a skeleton is evened out."""


@dataclass(frozen=True)
class Shape:
    """Size and form of an outline.

    Attributes
    ----------
    length_um, width_um : by the definition that `length_by` names.
    perimeter_um, area_um2 : of the polygon. equivalent_diameter_um : of the circle of equal area.
    circularity : 4 pi area over the square of the perimeter. solidity : area over that of the convex hull.
    orientation_deg : of the long axis of the second moments, from x towards y, 0 to 180.
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


def shape_of(outline: Points, pixel_um: float, *, placolith: bool) -> Shape:
    """Measure an outline.

    Parameters
    ----------
    outline : (N, 2) x, y in px, at least three that are not on a line.
    placolith : whether it is of a coccolith, whose length is that of its ellipse, if it is one.
    """
    moments = moments_of(outline)
    area_um2 = moments.area * pixel_um**2
    hull = np.asarray(cv2.convexHull(outline.astype(np.float32)), np.float64)[:, 0]
    longest, least = feret_diameters(hull)
    perimeter = float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum())
    major, minor = moments.axes
    solidity = moments.area / moments_of(hull).area
    length, width, by = longest, least, "feret"
    if placolith:
        if moments.area >= ELLIPTIC * math.pi / 4 * major * minor:
            length, width, by = major, minor, "ellipse"
    elif solidity < HOLLOW and (along := skeleton_length(outline)) > LONGER * longest:
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


def moments_of(outline: Points) -> Moments:
    """Moments of a polygon by Green's theorem (C. Steger 1996, On the calculation of arbitrary moments of polygons)."""
    middle = outline.mean(axis=0)
    x, y = (outline - middle).T
    after_x, after_y = np.roll(x, -1), np.roll(y, -1)
    cross = x * after_y - after_x * y
    twice = float(cross.sum())
    centre_x = float((cross * (x + after_x)).sum()) / (3 * twice)
    centre_y = float((cross * (y + after_y)).sum()) / (3 * twice)
    xx = float((cross * (x * x + x * after_x + after_x * after_x)).sum()) / (6 * twice) - centre_x**2
    yy = float((cross * (y * y + y * after_y + after_y * after_y)).sum()) / (6 * twice) - centre_y**2
    xy = float((cross * (2 * x * y + x * after_y + after_x * y + 2 * after_x * after_y)).sum()) / (12 * twice)
    xy -= centre_x * centre_y
    return Moments(abs(twice) / 2, centre_x + float(middle[0]), centre_y + float(middle[1]), xx, xy, yy)


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


def skeleton_length(outline: Points) -> float:
    """Length of the longest way along the skeleton of a polygon, on to the outline at both ends, in its unit.

    What is wide is thinned at a smaller scale, so that it takes no longer and its skeleton has fewer spurs.
    """
    area = moments_of(outline).area
    perimeter = float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum())
    scale = min(1.0, SKELETON_WIDTH_PX * perimeter / (2 * area))
    points = (outline - outline.min(axis=0)) * scale + 2
    shape = np.ceil(points.max(axis=0)).astype(int)[::-1] + 3
    mask = np.pad(polygon2mask(tuple(shape), points[:, ::-1]), 1)  # type: ignore[no-untyped-call]
    rows, columns = np.nonzero(skeletonize(mask))  # type: ignore[no-untyped-call]
    if len(rows) < 2:
        return 0.0
    way = _longest_way(rows, columns)
    to_border = distance_transform_edt(mask)
    places = np.stack([rows[way], columns[way]], axis=1).astype(float)
    evened = gaussian_filter1d(places, EVENING_STEPS, axis=0, mode="nearest")
    evened[[0, -1]] = places[[0, -1]]
    along = float(np.hypot(*np.diff(evened, axis=0).T).sum())
    ends = sum(float(to_border[rows[end], columns[end]]) for end in (way[0], way[-1]))
    return (along + ends) / scale


def _longest_way(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Find the indices of the skeleton's pixels from one end to the other of the longest of all shortest ways."""
    number = np.full((rows.max() + 2, columns.max() + 2), -1)
    number[rows, columns] = np.arange(len(rows))
    starts, ends, steps = [], [], []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        other = number[rows + down, columns + right]
        met = other >= 0
        starts.append(np.nonzero(met)[0])
        ends.append(other[met])
        steps.append(np.full(int(met.sum()), math.hypot(down, right)))
    size = (len(rows), len(rows))
    graph = coo_array((np.concatenate(steps), (np.concatenate(starts), np.concatenate(ends))), shape=size).tocsr()
    first = _farthest(dijkstra(graph, directed=False, indices=0))
    distances, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    way = [_farthest(distances)]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
    return np.array(way)


def _farthest(distances: NDArray[np.float64]) -> int:
    return int(np.where(np.isfinite(distances), distances, -1).argmax())
