"""Boxes of reference of the region proposal network, those of an architecture or fitted to what is annotated."""

from __future__ import annotations

import json
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torchvision.models.detection.anchor_utils import AnchorGenerator

ROUNDS = 100
ELONGATED = 2 / 3
"""Of all boxes, this share is no longer than the longest ratio that is fitted."""


class Anchors(NamedTuple):
    """Sizes (square roots of areas, px of the views) on each level of the pyramid, and ratios of height to width."""

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...]

    def generator(self) -> AnchorGenerator:
        """Torchvision's generator of them."""
        return AnchorGenerator(self.sizes, (self.ratios,) * len(self.sizes))

    def to_json(self) -> str:
        """JSON, for the header of a weights file."""
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Anchors from a weights file's header."""
        sizes, ratios = json.loads(text)
        return cls(tuple(tuple(map(float, level)) for level in sizes), tuple(map(float, ratios)))

    @classmethod
    def of(cls, generator: AnchorGenerator) -> Self:
        """Anchors that a generator makes."""
        return cls(
            tuple(tuple(map(float, level)) for level in generator.sizes), tuple(map(float, generator.aspect_ratios[0]))
        )

    def fitted(self, sides: NDArray[np.floating]) -> Anchors:
        """Anchors of the same number, fitted to boxes.

        Sizes are the means that k-means finds among the logarithms of the boxes' sizes (Redmon 2017, arXiv 1612.08242,
        does so with widths and heights). Ratios stay one in the middle and one either side: mirrored and turned, boxes
        are as often upright as lying.

        Parameters
        ----------
        sides
            (N, 2) widths and heights, px of the views, N at least 1.
        """
        logarithms = np.log(np.maximum(sides, 1.0))
        size = np.sort(logarithms.mean(axis=1))
        count = sum(map(len, self.sizes))
        centres = np.quantile(size, (np.arange(count) + 0.5) / count)
        for _ in range(ROUNDS):
            nearest = np.abs(size[:, None] - centres).argmin(axis=1)
            moved = np.array([size[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(count)])
            # A centre that is nearest to no box stays where it was, and others may pass it.
            moved.sort()
            if np.array_equal(moved, centres):
                break
            centres = moved
        fitted = iter(np.round(np.exp(centres), 1).tolist())
        elongation = np.quantile(np.abs(logarithms[:, 1] - logarithms[:, 0]), ELONGATED)
        ratio = round(float(np.exp(max(elongation, 0.1))), 2)
        return Anchors(
            tuple(tuple(next(fitted) for _ in level) for level in self.sizes), (round(1 / ratio, 3), 1.0, ratio)
        )
