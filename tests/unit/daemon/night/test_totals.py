"""What of a night is done, and the pace of the process that runs it."""

from __future__ import annotations

from msgspec.structs import replace

from daemon.night.totals import NightTotals
from daemon.records.records import FileEntry
from tests.support.small_night import object_row, secured, skipped

FILE = FileEntry(name="slide-1/field-0001.ome.tif", size=1000, sha256="00" * 32)


def test_the_pace_is_that_of_this_process() -> None:
    now = [100.0]
    totals = NightTotals(10, [secured(1, 1, (FILE,)), skipped(1, 2)], lambda: now[0])
    assert (totals.secured, totals.skipped, totals.pace(), totals.disk_hours(10**6)) == (1, 1, (0.0, None), None)
    totals.begin()
    assert totals.pace() == (0.0, None)
    now[0] += 8
    totals.begin()
    for field in (3, 4):
        totals.add(secured(1, field, (FILE, FILE)))
    # Two fields in eight seconds, six are left; 4000 bytes in that time.
    assert totals.pace() == (0.25, 24.0)
    assert totals.disk_hours(4000 * 3600) == 8.0


def test_only_what_counts_is_an_object() -> None:
    kinds = (object_row(0), replace(object_row(1), in_exclusive_tile=False), object_row(2, score=0.3))
    totals = NightTotals(2, [replace(secured(1, 1, ()), objects=kinds)])
    totals.add(replace(secured(1, 2, ()), objects=kinds, analysed=False))
    assert (totals.objects, totals.not_analysed) == (2, 1)
