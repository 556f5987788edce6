"""Detections of one object, seen in several planes, become one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """Boxes x0, y0, x1, y1 float32 (N, 4), scores float32 (N,), labels (N,) counted from 1, planes (N,)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    planes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: NDArray[np.generic]) -> Detections:
        """Pick some of them, in the order of `which` (indices or a mask)."""
        return Detections(self.boxes[which], self.scores[which], self.labels[which], self.planes[which])


NOTHING = Detections(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
)


def overlaps(one: NDArray[np.float32], many: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box with many (N, 4)."""
    width = np.minimum(one[2], many[:, 2]) - np.maximum(one[0], many[:, 0])
    height = np.minimum(one[3], many[:, 3]) - np.maximum(one[1], many[:, 1])
    common = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    union = (one[2] - one[0]) * (one[3] - one[1]) + areas - common
    return np.asarray(common / np.maximum(union, np.finfo(np.float32).tiny), np.float32)


def merge(found: Detections, iou: float, support: int = 1) -> Detections:
    """One detection an object, best first.

    The best-scored detection draws to it all that overlap it by more than `iou`, and gives box and plane. The label is
    the one with the greatest sum of scores. The score is the mean over the best `support` planes, where a plane
    without a detection counts as 0: what is seen in one plane only is believed less. The result does not depend on the
    order of what is given.
    """
    order = np.lexsort((found.labels, *found.boxes.T, found.planes, -found.scores))
    rest = found.take(order)
    kept: list[tuple[NDArray[np.float32], float, int, int]] = []
    while len(rest):
        same = overlaps(rest.boxes[0], rest.boxes) > iou
        same[0] = True
        group = rest.take(same)
        best_of_plane = np.sort([group.scores[group.planes == plane].max() for plane in np.unique(group.planes)])[::-1]
        score = float(best_of_plane[:support].sum() / support)
        votes = np.bincount(group.labels, weights=group.scores)
        kept.append((group.boxes[0], score, int(votes.argmax()), int(group.planes[0])))
        rest = rest.take(~same)
    merged = Detections(
        np.array([k[0] for k in kept], np.float32).reshape(-1, 4),
        np.array([k[1] for k in kept], np.float32),
        np.array([k[2] for k in kept], np.int64),
        np.array([k[3] for k in kept], np.int64),
    )
    return merged.take(np.argsort(-merged.scores, kind="stable"))
