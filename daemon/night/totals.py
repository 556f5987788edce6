"""What of a night is done, and at what pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from daemon.records.attempts import supersedes
from daemon.records.records import FieldSecured, FieldSkipped


class _FieldSums(NamedTuple):
    """What the attempt at a field that counts adds to the sums."""

    secured: bool
    not_analysed: bool = False
    objects: int = 0

    @classmethod
    def of(cls, record: FieldSecured | FieldSkipped) -> _FieldSums:
        if isinstance(record, FieldSkipped):
            return cls(False)
        return cls(True, not record.analysed, sum(row.counted for row in record.objects))


class NightTotals:
    """Sums over the fields of a night, and its pace since this process began.

    Parameters
    ----------
    planned
        fields of the whole night.
    before
        what became of fields before this process began.
    clock
        monotonic seconds.

    Attributes
    ----------
    secured
        fields so far.
    skipped
        fields so far that will not be recorded.
    not_analysed
        secured fields of which only the raw stack is kept.
    objects
        counted ones.
    """

    def __init__(
        self,
        planned: int,
        before: Iterable[FieldSecured | FieldSkipped],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planned = planned
        self.secured = self.skipped = self.not_analysed = self.objects = self._written_bytes = 0
        self._clock = clock
        self._begun_s: float | None = None
        self._counting: dict[tuple[int, int], _FieldSums] = {}
        for record in before:
            self.add(record)
        # The pace is that of this process.
        self._before, self._written_bytes = self.secured + self.skipped, 0
        self._written_bytes = 0

    def begin(self) -> None:
        """Measure the pace from now on; only the first call counts."""
        if self._begun_s is None:
            self._begun_s = self._clock()

    def add(self, record: FieldSecured | FieldSkipped) -> None:
        """Add an attempt at a field; where there was one before, only one of them counts."""
        if isinstance(record, FieldSecured):
            self._written_bytes += sum(entry.size for entry in record.files)
        place, counted = (record.slide, record.field), _FieldSums.of(record)
        before = self._counting.get(place)
        if supersedes(counted.secured, None if before is None else before.secured):
            if before is not None:
                self._count(before, -1)
            self._count(counted, 1)
            self._counting[place] = counted

    def _count(self, one: _FieldSums, times: int) -> None:
        self.secured += times * one.secured
        self.skipped += times * (not one.secured)
        self.not_analysed += times * one.not_analysed
        self.objects += times * one.objects

    def pace(self) -> tuple[float, float | None]:
        """Give fields a second since this process began, and the seconds left at that rate."""
        done = self.secured + self.skipped - self._before
        if self._begun_s is None or done == 0:
            return 0.0, None
        rate = done / (self._clock() - self._begun_s)
        return rate, (self.planned - self._before - done) / rate

    def disk_hours(self, free_bytes: int) -> float | None:
        """Give the hours that a disk lasts if the night goes on writing as it did since this process began."""
        if self._begun_s is None or self._written_bytes == 0:
            return None
        return free_bytes / self._written_bytes * (self._clock() - self._begun_s) / 3600
