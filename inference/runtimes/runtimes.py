"""What runs the network, whatever library it is made with, and how it is tried."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.errors import RuntimeRefused
from inference.objects.merging import Detections, overlaps
from inference.runtimes.reference import Reference
from inference.views.channels import ViewArray

WORTH_COMPARING = 0.05
"""Fainter detections come and go with the last bits of a sum."""
BOX_ERROR_PX = 0.5
SCORE_ERROR = 0.02


class Runtime(Protocol):
    """Finds objects in views, float32, on whatever device; `name` says for people what does."""

    name: str

    def detect(self, views: ViewArray) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""


class GraphRuntime(ABC):
    """The static graph; where its suppression did not converge, torchvision's network is asked.

    Parameters
    ----------
    batch
        views that the graph takes at once.
    exact
        gives torchvision's network; most nights never ask.
    """

    def __init__(self, name: str, batch: int, exact: Callable[[], Runtime]) -> None:
        self.name = name
        self._batch = batch
        self._exact = exact

    @abstractmethod
    def run(self, views: ViewArray) -> Sequence[NDArray[Any]]:
        """Give the outputs of the graph, as in `detected.Detected`, for views (batch, 3, h, w)."""

    def detect(self, views: ViewArray) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        for first in range(0, len(views), self._batch):
            some = views[first : first + self._batch]
            # The last one again, for those that a whole batch lacks.
            whole = some if len(some) == self._batch else some[np.minimum(range(self._batch), len(some) - 1)]
            rows = zip(*self.run(whole), strict=True)
            for view, (boxes, scores, labels, count, converged) in zip(some, rows, strict=False):
                one = Detections(boxes[:count], scores[:count], labels[:count], np.zeros(count, np.int64))
                if not converged:
                    (one,) = self._exact().detect(view[None])
                plane = np.full(len(one), len(found), np.int64)
                found.append(Detections(one.boxes, one.scores, one.labels, plane))
        return found


def check_runtime(runtime: Runtime, reference: Reference) -> None:
    """Try a runtime on views whose detections are known.

    Raises
    ------
    RuntimeRefused
        A detection is missing, or lies or scores otherwise.
    """
    (found,) = runtime.detect(reference.views)
    expected = reference.expected
    for one, other in ((expected, found), (found, expected)):
        for k in np.flatnonzero(one.scores > WORTH_COMPARING + SCORE_ERROR):
            alike = (
                (other.labels == one.labels[k])
                & (np.abs(other.boxes - one.boxes[k]).max(axis=1, initial=0) <= BOX_ERROR_PX)
                & (np.abs(other.scores - one.scores[k]) <= SCORE_ERROR)
            )
            if not alike.any():
                near = overlaps(one.boxes[k], other.boxes).max(initial=0)
                raise RuntimeRefused(
                    f"{runtime.name} does not reproduce a reference detection of score {one.scores[k]:.3f} "
                    f"(nearest overlap {near:.2f}); it is not used"
                )
