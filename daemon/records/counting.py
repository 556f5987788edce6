"""How many objects there are: those that count, and those that are kept beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from daemon.records.records import ObjectRow


@dataclass(frozen=True)
class ObjectCounts:
    """Objects, each in one of four numbers.

    Attributes
    ----------
    counted
        those that count; whoever says "objects" and no more means these.
    seen_again
        those at or above the threshold that lie in another field's tile, where they count.
    below_threshold
        those that score too little, wherever they lie.
    excluded
        those that would count, were their field counted.
    """

    counted: int = 0
    seen_again: int = 0
    below_threshold: int = 0
    excluded: int = 0

    @classmethod
    def of(cls, rows: Iterable[ObjectRow], *, field_counted: bool = True) -> ObjectCounts:
        """Count some objects, of fields that are counted themselves or not."""
        counted = seen_again = below_threshold = 0
        for row in rows:
            counted += row.counted
            below_threshold += row.below_threshold
            seen_again += not row.counted and not row.below_threshold
        if field_counted:
            return cls(counted, seen_again, below_threshold)
        return cls(0, seen_again, below_threshold, counted)

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(
            self.counted + other.counted,
            self.seen_again + other.seen_again,
            self.below_threshold + other.below_threshold,
            self.excluded + other.excluded,
        )
