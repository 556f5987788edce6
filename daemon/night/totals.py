"""What of a night is done, and at what pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from daemon.records.attempts import AttemptName, FurtherAttempts, supersedes
from daemon.records.records import AttemptsOrdered, FieldSecured, FieldSkipped


class _FieldSums(NamedTuple):
    """What the attempt at a field that counts adds to the sums."""

    secured: bool
    not_analysed: bool = False
    objects: int = 0

    @classmethod
    def of(cls, record: FieldSecured | FieldSkipped) -> _FieldSums:
        if isinstance(record, FieldSkipped):
            return cls(False)
        return cls(True, not record.analysed, len(record.counted_objects))


class NightTotals:
    """Sums over the fields of a night, and its pace since this process began, pauses left out.

    Parameters
    ----------
    planned
        fields of the whole night.
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
    attempts
        attempts at fields so far, also those that do not count.
    again
        further attempts that were ordered, and those of them that are made.
    """

    def __init__(self, planned: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.planned = planned
        self.secured = self.skipped = self.not_analysed = self.objects = self.attempts = 0
        self.again = FurtherAttempts()
        self._clock = clock
        self._begun_s: float | None = None
        self._rests_since_s: float | None = None
        self._before = self._written_bytes = 0
        self._counting: dict[tuple[int, int], _FieldSums] = {}

    def begin(self) -> None:
        """Measure the pace from now on: it is that of this process; only the first call counts."""
        if self._begun_s is None:
            self._begun_s = self._clock()
            self._before, self._written_bytes = self.attempts, 0

    def rest(self, resting: bool) -> None:
        """Stand still from now on, or go on: what passes meanwhile is no part of the pace."""
        now_s = self._clock()
        if resting and self._rests_since_s is None:
            self._rests_since_s = now_s
        elif not resting and self._rests_since_s is not None:
            if self._begun_s is not None:
                self._begun_s += now_s - max(self._rests_since_s, self._begun_s)
            self._rests_since_s = None

    def order(self, order: AttemptsOrdered) -> None:
        """Take in that fields are to be taken again."""
        self.again.order(order.attempts)

    def add(self, record: FieldSecured | FieldSkipped) -> bool:
        """Add an attempt at a field; whether it counts now, instead of the one before if there was one."""
        self.attempts += 1
        self.again.make(AttemptName(record.slide, record.field, record.attempt))
        if isinstance(record, FieldSecured):
            self._written_bytes += sum(entry.size for entry in record.files)
        place, counted = (record.slide, record.field), _FieldSums.of(record)
        before = self._counting.get(place)
        if not supersedes(counted.secured, None if before is None else before.secured):
            return False
        if before is not None:
            self._count(before, -1)
        self._count(counted, 1)
        self._counting[place] = counted
        return True

    def _count(self, one: _FieldSums, times: int) -> None:
        self.secured += times * one.secured
        self.skipped += times * (not one.secured)
        self.not_analysed += times * one.not_analysed
        self.objects += times * one.objects

    def pace(self) -> tuple[float, float | None]:
        """Give attempts at fields a second since this process began, and the seconds left at that rate."""
        made = self.attempts - self._before
        if made == 0 or not self._running_s():
            return 0.0, None
        rate = made / self._running_s()
        left = self.planned - self.secured - self.skipped + self.again.ordered - self.again.made
        return rate, left / rate

    def disk_hours(self, free_bytes: int) -> float | None:
        """Give the hours that a disk lasts if the night goes on writing as it did since this process began."""
        if self._written_bytes == 0 or not self._running_s():
            return None
        return free_bytes / self._written_bytes * self._running_s() / 3600

    def _running_s(self) -> float:
        """Give how long this process has worked, pauses left out; 0 before it began."""
        if self._begun_s is None:
            return 0.0
        until_s = self._clock() if self._rests_since_s is None else self._rests_since_s
        return max(0.0, until_s - self._begun_s)
