"""An evaluation taken apart: by class, size and density, by how sure the detector was, and its worst mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from inference.annotations.coco import Annotation
from inference.annotations.stacks import AnnotatedStack
from inference.evaluation.figures import Evaluation, Judged, StackFindings
from inference.objects.objects import FoundObject

MEDIUM_PX, LARGE_PX = 32, 96
"""Sides of squares at which COCO's sizes begin."""
SURENESS = (0.05, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Edges of the bins of scores."""


class PartFigures(NamedTuple):
    """A part of all objects: what it is, how many there are to be found, and of these and of detections the right."""

    name: str
    objects: int
    detections: int
    recall: float | None
    precision: float | None


class Sureness(NamedTuple):
    """Detections of like scores: their mean score, and how many of them are right."""

    low: float
    high: float
    detections: int
    score: float
    right: float


class Mistake(NamedTuple):
    """An object that was missed, or a detection of nothing: the field it is in, its box in px, what is known of it."""

    field: int
    box: tuple[float, float, float, float]
    class_name: str
    score: float | None


class Breakdown:
    """Takes an evaluation apart.

    Parameters
    ----------
    items
        what was judged.
    found
        what was found there.
    evaluation
        `figures.compare` of both.
    """

    def __init__(self, items: Sequence[AnnotatedStack], found: Sequence[StackFindings], evaluation: Evaluation) -> None:
        self._items, self._found = items, found
        self._threshold = evaluation.figures.threshold
        self._judged = evaluation.detections
        self._certain = [one for one in evaluation.detections if one.score >= self._threshold]
        self._real = {(k, a.id): a for k, item in enumerate(items) for a in item.annotations if not a.iscrowd}
        self._hits = {(one.field, one.annotation) for one in self._certain}

    def by_class(self, classes: Sequence[str]) -> list[PartFigures]:
        """Recall and precision of each class."""
        return self._parts(classes, self._class_of, lambda one: self._object(one).class_name)

    def by_size(self) -> list[PartFigures]:
        """Recall and precision of small, medium and large objects, by the area of their boxes in px of the image."""
        names = (f"below {MEDIUM_PX} px", f"{MEDIUM_PX} to {LARGE_PX} px", f"from {LARGE_PX} px")

        def size(width: float, height: float) -> str:
            return names[int(np.searchsorted((MEDIUM_PX**2, LARGE_PX**2), width * height, side="right"))]

        def of_object(one: Judged) -> str:
            x0, y0, x1, y1 = self._object(one).box
            return size(x1 - x0, y1 - y0)

        return self._parts(names, lambda _, a: size(a.bbox[2], a.bbox[3]), of_object)

    def by_density(self) -> list[PartFigures]:
        """Recall and precision in the third of the fields with the fewest objects, the middle one, and the fullest.

        Thirds whose fields hold as many objects are one part.
        """
        counts = Counter(field for field, _ in self._real)
        order = sorted(range(len(self._items)), key=lambda field: counts[field])
        of_field: dict[int, str] = {}
        for third in np.array_split(order, 3):
            inside = [counts[field] for field in third.tolist()]
            if inside:
                of_field |= dict.fromkeys(third.tolist(), f"{inside[0]} to {inside[-1]} objects per field")
        return self._parts(
            tuple(dict.fromkeys(of_field.values())), lambda key, _: of_field[key[0]], lambda one: of_field[one.field]
        )

    def sureness(self) -> list[Sureness]:
        """How often detections of like scores are right; a calibrated detector is right as often as its score says."""
        bins = []
        for low, high in pairwise(SURENESS):
            inside = [one for one in self._judged if low <= one.score < high or one.score == high == SURENESS[-1]]
            if inside:
                right = float(np.mean([one.annotation is not None for one in inside]))
                bins.append(Sureness(low, high, len(inside), float(np.mean([one.score for one in inside])), right))
        return bins

    def worst_misses(self, most: int) -> list[Mistake]:
        """List objects that were not found, the largest first."""
        missed = [(key, a) for key, a in self._real.items() if key not in self._hits]
        missed.sort(key=lambda pair: -pair[1].bbox[2] * pair[1].bbox[3])
        return [
            Mistake(key[0], (x, y, x + width, y + height), self._class_of(key, a), None)
            for key, a in missed[:most]
            for x, y, width, height in [a.bbox]
        ]

    def worst_false_alarms(self, most: int) -> list[Mistake]:
        """List detections of what is not there, or not that, the surest first."""
        false = sorted((one for one in self._certain if one.annotation is None), key=lambda one: -one.score)
        return [
            Mistake(one.field, self._object(one).box, self._object(one).class_name, one.score) for one in false[:most]
        ]

    def _parts(
        self,
        names: Sequence[str],
        of_truth: Callable[[tuple[int, int], Annotation], str],
        of_detection: Callable[[Judged], str],
    ) -> list[PartFigures]:
        objects = Counter(of_truth(key, a) for key, a in self._real.items())
        hits = Counter(of_truth(key, a) for key, a in self._real.items() if key in self._hits)
        detections = Counter(map(of_detection, self._certain))
        right = Counter(of_detection(one) for one in self._certain if one.annotation is not None)
        return [
            PartFigures(
                name,
                objects[name],
                detections[name],
                hits[name] / objects[name] if objects[name] else None,
                right[name] / detections[name] if detections[name] else None,
            )
            for name in names
        ]

    def _class_of(self, key: tuple[int, int], annotation: Annotation) -> str:
        return self._items[key[0]].class_names[annotation.category_id]

    def _object(self, one: Judged) -> FoundObject:
        return self._found[one.field].objects[one.place]
