"""What of a night is done, and at what pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from daemon.records.records import FieldSecured, FieldSkipped


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
        """Add a field."""
        if isinstance(record, FieldSkipped):
            self.skipped += 1
            return
        self.secured += 1
        self.not_analysed += not record.analysed
        self.objects += sum(row.counted for row in record.objects)
        self._written_bytes += sum(entry.size for entry in record.files)

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
