"""Pictures that are the same, and pictures that are nearly so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.library.entry import LOOK_PX, Entry

SIDES = 0.06
"""Sides of near duplicates differ by no more of their length."""
DETAIL_PX = 2.0
"""Of a small picture what is wider than this, as a standard deviation, is shading or outline, which many share."""
ALIKE = 0.93
"""What is left of them correlates by at least this. Of 7,648 pictures of plankton, pairs above are one specimen twice;
round grains, which are alike in outline alone, reach 0.90."""
RULE = (
    f"sides that differ by at most {SIDES:.0%}, and details, at {LOOK_PX} x {LOOK_PX} px, that correlate by at least "
    f"{ALIKE:g}"
)
SMALLEST_PX = 8
"""Pictures of a shorter side show little."""
_BLOCK = 512


@dataclass(frozen=True)
class Group:
    """Entries that show one picture, or nearly so: `alike` is the least correlation among its links, 1 for the same."""

    entries: tuple[Entry, ...]
    alike: float = 1.0

    @property
    def taxa(self) -> tuple[str, ...]:
        """What they are called, each once."""
        return tuple(sorted({entry.taxon for entry in self.entries}))


def same_pictures(entries: Sequence[Entry]) -> list[Group]:
    """Group entries whose pixels are the same, in the order of their keys."""
    by_hash: dict[str, list[Entry]] = {}
    for entry in entries:
        by_hash.setdefault(entry.sha256, []).append(entry)
    return [Group(tuple(group)) for group in by_hash.values() if len(group) > 1]


def near_duplicates(entries: Sequence[Entry]) -> list[Group]:
    """Group entries that are nearly the same by `RULE`, over however many links; of those with the same pixels one.

    Pictures in which little can be seen are left alone.
    """
    first = {entry.sha256: entry for entry in reversed(entries) if _shows_something(entry)}
    compared = list(first.values())[::-1]
    if not compared:
        return []
    sides = np.log([entry.shape_czyx[2:] for entry in compared])
    order = np.argsort(sides.sum(axis=1), kind="stable")
    labels, least = _linked(sides[order], _details([compared[number] for number in order]))
    groups: dict[int, list[int]] = {}
    for label, number in zip(labels.tolist(), order.tolist(), strict=True):
        groups.setdefault(label, []).append(number)
    found = [(sorted(numbers), label) for label, numbers in groups.items() if len(numbers) > 1]
    return [
        Group(tuple(compared[number] for number in numbers), float(least[label])) for numbers, label in sorted(found)
    ]


def _shows_something(entry: Entry) -> bool:
    return not entry.constant and min(entry.shape_czyx[2:]) >= SMALLEST_PX


def _linked(sides: NDArray[np.float64], details: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give pictures that are linked one label, and the least correlation among the links of each label.

    Parameters
    ----------
    sides
        (N, 2) logarithms of height and width; the areas ascend.
    details
        (N, pixels), each of length 1.
    """
    labels, least = np.arange(len(sides)), np.ones(len(sides))
    within, areas = np.log1p(SIDES), sides.sum(axis=1)
    for start in range(0, len(sides), _BLOCK):
        stop = min(start + _BLOCK, len(sides))
        end = int(np.searchsorted(areas, areas[stop - 1] + 2 * within, side="right"))
        alike = details[start:stop] @ details[start:end].T
        linked = np.triu(alike >= ALIKE, 1)
        for row in np.flatnonzero(linked.any(axis=1)):
            others = np.flatnonzero(linked[row])
            others = others[np.abs(sides[start + others] - sides[start + row]).max(axis=1) <= within]
            if len(others):
                met = np.unique(labels[[start + row, *(start + others)]])
                least[met[0]] = min(float(least[met].min()), float(alike[row, others].min()))
                if len(met) > 1:
                    labels[np.isin(labels, met)] = met[0]
    return labels, least


def _details(entries: Sequence[Entry]) -> NDArray[np.float32]:
    """Free small pictures of what is wide, and bring them to one length: (N, pixels)."""
    made = np.empty((len(entries), LOOK_PX * LOOK_PX), np.float32)
    for number, entry in enumerate(entries):
        look = np.frombuffer(entry.look, np.uint8).reshape(LOOK_PX, LOOK_PX).astype(np.float32)
        made[number] = (look - cv2.GaussianBlur(look, (0, 0), DETAIL_PX)).ravel()
    made -= made.mean(axis=1, keepdims=True)
    return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-6), np.float32)
