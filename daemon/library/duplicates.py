"""Pictures that are the same, and pictures that are nearly so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.library.entry import LOOK_PX, Entry

SIDES = 0.06
"""Sides of near duplicates differ by no more of their length."""
DETAIL_PX = 2.0
"""Of a small picture what is wider than this, as a standard deviation, is shading or outline, which many share."""
ALIKE = 0.92
"""What is left of them correlates by at least this. On 7,648 pictures of plankton pairs above are one specimen seen twice;
round grains, which are alike in outline alone, reach 0.90."""
RULE = (
    f"sides that differ by at most {SIDES:.0%}, and details of pictures of {LOOK_PX} x {LOOK_PX} px that correlate by at "
    f"least {ALIKE:g}"
)
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
    """Group entries that are nearly the same by `RULE`, over however many links; those with the same pixels apart."""
    first = list({entry.sha256: entry for entry in reversed(entries) if not entry.constant}.values())[::-1]
    parents = list(range(len(first)))
    least = [1.0] * len(first)

    def root(one: int) -> int:
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        return one

    for one, other, alike in _pairs(first):
        a, b = sorted((root(one), root(other)))
        parents[b] = a
        least[a] = min(least[a], least[b], alike)
    groups: dict[int, list[Entry]] = {}
    for number, entry in enumerate(first):
        groups.setdefault(root(number), []).append(entry)
    return [Group(tuple(group), least[number]) for number, group in groups.items() if len(group) > 1]


def _pairs(entries: Sequence[Entry]) -> Iterator[tuple[int, int, float]]:
    """Give pairs of places in the sequence that are alike, and how much."""
    if not entries:
        return
    sides = np.log([entry.shape_czyx[2:] for entry in entries])
    order = np.argsort(sides.sum(axis=1), kind="stable")
    sides, areas = sides[order], sides.sum(axis=1)[order]
    details = _details(entries)[order]
    within = np.log1p(SIDES)
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        end = int(np.searchsorted(areas, areas[stop - 1] + 2 * within, side="right"))
        alike = details[start:stop] @ details[start:end].T
        for a, b in zip(*np.nonzero(alike >= ALIKE), strict=True):
            one, other = start + int(a), start + int(b)
            if one < other and np.abs(sides[one] - sides[other]).max() <= within:
                yield int(order[one]), int(order[other]), float(alike[a, b])


def _details(entries: Sequence[Entry]) -> NDArray[np.float32]:
    """Free small pictures of what is wide, and bring them to one length: (N, pixels)."""
    made = np.empty((len(entries), LOOK_PX * LOOK_PX), np.float32)
    for number, entry in enumerate(entries):
        look = np.frombuffer(entry.look, np.uint8).reshape(LOOK_PX, LOOK_PX).astype(np.float32)
        made[number] = (look - cv2.GaussianBlur(look, (0, 0), DETAIL_PX)).ravel()
    made -= made.mean(axis=1, keepdims=True)
    return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-6), np.float32)
