"""Counts, lengths and masses of a night by mini-slide and class, as they grow: small, whatever the night finds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from daemon.protocols.watching import FieldDone, Find, Tally

BINS = 40
LENGTHS_UM = (0.5, 200.0)
MASSES_PG = (0.1, 10_000.0)
"""What the bins cover, evenly in their logarithm; what lies beyond counts in the first or the last one."""


def edges(covered: tuple[float, float]) -> tuple[float, ...]:
    """Edges of the bins, one more than there are bins."""
    low, high = covered
    return tuple(low * (high / low) ** (k / BINS) for k in range(BINS + 1))


class _Counts:
    def __init__(self) -> None:
        self.objects = 0
        self.lengths = [0] * BINS
        self.masses = [0] * BINS
        self.taxa: Counter[str] = Counter()


class Tallies:
    """Of every mini-slide and class what `watchwire.Tally` holds.

    Parameters
    ----------
    before
        what was counted so far.
    """

    def __init__(self, before: Iterable[Tally] = ()) -> None:
        self._counts: dict[tuple[int, str], _Counts] = {}
        for tally in before:
            counts = self._of(tally.slide, tally.class_name)
            counts.objects = tally.objects
            counts.lengths, counts.masses = list(tally.lengths), list(tally.masses)
            counts.taxa = Counter(tally.taxa)

    def add(self, done: FieldDone) -> None:
        """Count the objects of a field, instead of those that it had before it was taken again."""
        for finds, times in ((done.instead_of, -1), (done.finds, 1)):
            for find in finds:
                self._count(done.slide, find, times)

    def rows(self) -> tuple[Tally, ...]:
        """Give what was counted, by mini-slide and class."""
        return tuple(
            Tally(
                slide=slide,
                class_name=name,
                objects=of.objects,
                lengths=tuple(of.lengths),
                masses=tuple(of.masses),
                taxa=dict(sorted((+of.taxa).items())),
            )
            for (slide, name), of in sorted(self._counts.items())
            if of.objects
        )

    def _count(self, slide: int, find: Find, times: int) -> None:
        counts = self._of(slide, find.class_name)
        counts.objects += times
        if find.taxon is not None:
            counts.taxa[find.taxon] += times
        if find.length_um is not None:
            counts.lengths[_bin(find.length_um, LENGTHS_UM)] += times
        if find.mass_pg is not None:
            counts.masses[_bin(find.mass_pg, MASSES_PG)] += times

    def _of(self, slide: int, class_name: str) -> _Counts:
        return self._counts.setdefault((slide, class_name), _Counts())


def _bin(value: float, covered: tuple[float, float]) -> int:
    low, high = covered
    if value <= low:
        return 0
    return min(int(math.log(value / low) / math.log(high / low) * BINS), BINS - 1)
