"""Length of what is curved, or a chain: along the skeleton of its outline."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from skimage.morphology import skeletonize

from calibration.objects.moments import Points, moments_of

SKELETON_WIDTH_PX = 8.0
"""Mean width to which an outline is scaled before it is thinned, at most."""
GREATEST_PX = 1024
"""Side to which an outline is scaled before it is thinned, at most."""
FINER = 3
EVENING_STEPS = 4.0
"""Standard deviation, in steps from pixel to pixel, over which the way along a skeleton is evened out."""


def skeleton_length(outline: Points) -> float:
    """Length of the longest way along the skeleton of a polygon, on to the outline at both ends, in its unit.

    What is wide is thinned at a smaller scale, so that it takes no longer and its skeleton has fewer spurs.
    """
    moments = moments_of(outline)
    if moments is None:
        return 0.0
    perimeter = float(np.hypot(*(np.roll(outline, -1, axis=0) - outline).T).sum())
    longest = float(np.ptp(outline, axis=0).max())
    scale = min(1.0, SKELETON_WIDTH_PX * perimeter / (2 * moments.area), GREATEST_PX / longest)
    points = (outline - outline.min(axis=0)) * scale + 2
    width, height = (np.ceil(points.max(axis=0)).astype(int) + 4).tolist()
    # Filling takes in the border, so it is done on a finer grid, of which the pixels' centres are taken.
    fine = np.zeros((height * FINER, width * FINER), np.uint8)
    cv2.fillPoly(fine, [np.rint(points * FINER - 0.5).astype(np.int32)], 1)
    mask = fine[FINER // 2 :: FINER, FINER // 2 :: FINER] > 0
    rows, columns = np.nonzero(skeletonize(mask))
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
