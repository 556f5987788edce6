"""The ring of an outline with spines: what is left of it where a disc of some width fits in."""

from __future__ import annotations

import cv2
import numpy as np

from calibration.objects.moments import Points

SPINE_SHARE = 0.3
"""Radius of that disc over that of the greatest one that fits in."""
SIDE_PX = 400
"""The longer side of an outline as it is drawn."""
BORDER_PX = 4


def without_spines(outline: Points) -> Points | None:
    """Convex hull (N, 2) of an outline without its spines, in its unit; None where nothing is left.

    Parameters
    ----------
    outline
        (N, 2) x, y, once around.
    """
    corner, extent = outline.min(axis=0), np.ptp(outline, axis=0)
    scale = SIDE_PX / max(float(extent.max()), 1e-9)
    points = (outline - corner) * scale
    width, height = (np.ceil(points.max(axis=0)).astype(int) + 2 * BORDER_PX).tolist()
    drawn = np.zeros((height, width), np.uint8)
    cv2.fillPoly(drawn, [np.rint(points + BORDER_PX).astype(np.int32)], 1)
    reach = round(SPINE_SHARE * float(cv2.distanceTransform(drawn, cv2.DIST_L2, 5).max()))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    opened = np.asarray(cv2.morphologyEx(drawn, cv2.MORPH_OPEN, disc), np.uint8)
    parts = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    hulls = [cv2.convexHull(part)[:, 0] for part in parts]
    greatest = max(hulls, key=cv2.contourArea, default=None)
    if greatest is None or len(greatest) < 3:
        return None
    return np.asarray((greatest - BORDER_PX) / scale + corner, np.float64)
