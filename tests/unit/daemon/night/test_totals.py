"""What of a night is done, and the pace of the process that runs it."""

from __future__ import annotations

from msgspec.structs import replace

from daemon.night.totals import NightTotals
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.records import AttemptsOrdered, FileEntry
from tests.support.small_night import object_row, secured, skipped

FILE = FileEntry(name="slide-1/field-0001.ome.tif", size=1000, sha256="00" * 32)


def test_the_pace_is_that_of_this_process() -> None:
    now = [100.0]
    totals = NightTotals(10, lambda: now[0])
    totals.add(secured(1, 1, (FILE,)))
    totals.add(skipped(1, 2))
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


def test_a_pause_is_no_part_of_the_pace() -> None:
    now = [100.0]
    totals = NightTotals(10, lambda: now[0])
    totals.begin()
    for field in (1, 2):
        now[0] += 4
        totals.add(secured(1, field, (FILE, FILE)))
    there = (totals.pace(), totals.disk_hours(4000 * 3600))
    assert there == ((0.25, 32.0), 8.0)
    totals.rest(True)
    for _ in range(3):
        now[0] += 1000
        totals.rest(True)  # said again and again while it lasts
        assert (totals.pace(), totals.disk_hours(4000 * 3600)) == there
    totals.rest(False)
    assert (totals.pace(), totals.disk_hours(4000 * 3600)) == there
    now[0] += 8
    totals.add(secured(1, 3, (FILE, FILE)))
    assert totals.pace() == (3 / 16, 7 * 16 / 3)


def test_only_what_counts_is_an_object() -> None:
    kinds = (object_row(0), replace(object_row(1), in_exclusive_tile=False), object_row(2, score=0.3))
    totals = NightTotals(2)
    totals.add(replace(secured(1, 1, ()), objects=kinds))
    totals.add(replace(secured(1, 2, ()), objects=kinds, analysed=False))
    assert (totals.objects, totals.not_analysed) == (2, 1)


def test_progress_of_further_attempts_is_how_many_of_the_ordered_ones_are_made() -> None:
    now = [100.0]
    totals = NightTotals(4, lambda: now[0])
    for field in range(1, 5):
        totals.add(secured(1, field, ()))
    again = tuple(AttemptName(1, field, 2) for field in range(1, 5))
    totals.order(AttemptsOrdered(utc=1.0, purpose=Purpose.REDO, attempts=again))
    totals.add(replace(secured(1, 1, (), objects=5), attempt=2))
    totals.begin()
    now[0] += 8
    # One that is skipped does not count, and is made; of four that were ordered two are left, at 8 s each.
    assert not totals.add(replace(skipped(1, 2), attempt=2))
    assert (totals.secured, totals.skipped, totals.objects) == (4, 0, 11)
    assert (totals.again.made, totals.again.ordered, totals.attempts) == (2, 4, 6)
    assert totals.pace() == (0.125, 16.0)
    for field in (3, 4):
        totals.add(replace(secured(1, field, ()), attempt=2))
    # Once all are made, another order begins anew; where some are due still, it adds to them.
    totals.order(AttemptsOrdered(utc=1.0, purpose=Purpose.REDO, attempts=(AttemptName(1, 1, 3),)))
    assert (totals.again.made, totals.again.ordered) == (0, 1)
    totals.order(AttemptsOrdered(utc=1.0, purpose=Purpose.REDO, attempts=(AttemptName(1, 2, 3), AttemptName(1, 1, 3))))
    assert (totals.again.made, totals.again.ordered) == (0, 2)
