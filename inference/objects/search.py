"""Where an object is looked for: its detection's box, and that box grown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.objects.contour import Floats, Mask, Points, contours_of
from inference.objects.objects import Box

BEYOND_BOX_UM = 0.3
GAP_UM = 0.4


@dataclass(frozen=True)
class Search:
    """Where an object is looked for.

    Attributes
    ----------
    box
        the detection, in px.
    grown
        that box grown by 0.3 um, clipped to the image.
    shape
        of the image, (h, w).
    pixel_um
        size of a pixel on the sample.
    """

    box: Box
    grown: Box
    shape: tuple[int, ...]
    pixel_um: float

    @classmethod
    def around(cls, box: Box, shape: tuple[int, ...], pixel_um: float) -> Search:
        """Begin with a box that has some part in the image."""
        beyond = round(BEYOND_BOX_UM / pixel_um)
        x0, y0 = max(box[0] - beyond, 0), max(box[1] - beyond, 0)
        return cls(box, (x0, y0, min(box[2] + beyond, shape[1]), min(box[3] + beyond, shape[0])), shape, pixel_um)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is searched."""
        x0, y0, x1, y1 = self.grown
        return x0 >= x1 or y0 >= y1

    def outside(self, image: Floats) -> Floats:
        """Pixels outside the box."""
        x0, y0, x1, y1 = self.box
        there = np.ones(image.shape, np.bool_)
        there[y0:y1, x0:x1] = False
        return image[there]

    def contour(self, seen: Mask, thread_um: float) -> Points | None:
        """Contour (N, 2) of the part that fits the box best, its gaps closed, holes filled, threads cut."""
        x0, y0, x1, y1 = self.grown
        gap, thread = round(GAP_UM / 2 / self.pixel_um), round(thread_um / 2 / self.pixel_um)
        part = seen[y0:y1, x0:x1].astype(np.uint8)
        padded = cv2.copyMakeBorder(part, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
        shut = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(gap)), np.uint8)
        filled = np.zeros_like(shut)
        found = cv2.findContours(shut, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(filled, found, -1, 1, cv2.FILLED)
        opened = np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _disc(thread)), np.uint8)
        corner = np.array([x0 - gap, y0 - gap])
        return max((one + corner for one in contours_of(opened)), key=self.fit, default=None)

    def within(self, points: Points) -> Points:
        """Points moved into what is searched."""
        x0, y0, x1, y1 = self.grown
        return np.asarray(points.clip((x0, y0), (x1, y1)))

    @property
    def diagonal(self) -> float:
        """Length of the box from corner to corner: nothing in it is longer."""
        return math.hypot(self.box[2] - self.box[0], self.box[3] - self.box[1])

    def in_box(self, points: Points) -> Points:
        """Points moved into the box."""
        x0, y0, x1, y1 = self.box
        return np.asarray(points.clip((x0, y0), (x1, y1)))

    def clips(self, points: Points) -> bool:
        """Whether some points lie on the border of what is searched."""
        x0, y0, x1, y1 = self.grown
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return bool(left <= x0 + 1 or top <= y0 + 1 or right >= x1 - 1 or bottom >= y1 - 1)

    def fit(self, points: Points) -> float:
        """Intersection over union of the box around some points with the detection's."""
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        x0, y0, x1, y1 = self.box
        common = max(min(right, x1) - max(left, x0), 0) * max(min(bottom, y1) - max(top, y0), 0)
        both = (right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - common
        return float(common / both) if both > 0 else 0.0


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
