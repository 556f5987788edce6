"""What the records of a night say of it, in their order, whatever the clocks say."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import EventName
from daemon.records.flags import FieldFlag
from daemon.records.records import AnyRecord, AttemptsOrdered, Event, FieldAnalysed, FileEntry
from daemon.records.states import EndedBy, NightState
from daemon.verdict.facts import FactsGatherer, NightFacts
from daemon.verdict.verdict import judge, progress
from tests.support import small_night as night


def facts(records: Iterable[AnyRecord], state: NightState | None = NightState.SCANNING) -> NightFacts:
    gatherer = FactsGatherer(night.started())
    for record in records:
        gatherer.add(record)
    return gatherer.facts(state, "", alive=False)


def told(name: EventName, utc: float, by: EndedBy | None = None) -> Event:
    return Event(utc=utc, monotonic_s=1.0, level="warning", name=name, message="the shutter is open", by=by)


STOPPED = told(EventName.INTERRUPTED, 10.0, EndedBy.PERSON)
FIELD = replace(night.secured(1, 1, ()), utc=5.0)


def test_a_crash_after_a_resume_is_not_told_as_the_former_ending() -> None:
    assert judge(facts([FIELD, STOPPED])).headline.startswith("Stopped by a person")
    resumed = facts([FIELD, STOPPED, told(EventName.NOT_SAFE, 11.0), told(EventName.NIGHT_RESUMED, 4.0)])
    assert judge(resumed).headline.startswith("Ended without a word")
    assert resumed.unsafe == ""


def test_the_order_of_records_counts_and_not_their_clocks() -> None:
    assert facts([FIELD, replace(STOPPED, utc=1.0)]).state is NightState.INTERRUPTED
    assert facts([STOPPED, FIELD]).state is NightState.SCANNING


def test_what_was_found_later_counts_in_the_place_of_what_was_kept_raw() -> None:
    raw = replace(FIELD, analysed=False, objects=())
    later = FieldAnalysed(
        utc=20.0, slide=1, field=1, device="cpu", versions={}, seconds={}, objects=FIELD.objects, files=()
    )
    assert (facts([raw]).not_analysed, facts([raw]).objects) == (1, 0)
    assert (facts([raw, later]).not_analysed, facts([raw, later]).objects, facts([raw, later]).recorded) == (0, 2, 1)


def test_a_night_that_was_opened_again_is_not_closed() -> None:
    order = AttemptsOrdered(utc=30.0, purpose=Purpose.REDO, attempts=(AttemptName(1, 1, 2),))
    closed = facts([FIELD, night.slide_closed(1, 3), night.night_closed(6)])
    opened = facts([FIELD, night.slide_closed(1, 3), night.night_closed(6), order])
    assert (closed.closed, opened.closed, opened.slides[0].closed) == (True, False, False)


def test_what_keeps_delivery_is_a_need_until_it_goes_on() -> None:
    away, goes_on = told(EventName.RECORDER_AWAY, 1.0), told(EventName.DELIVERY_GOES_ON, 2.0)
    asleep, resumed = told(EventName.NOT_KEPT_AWAKE, 1.0), told(EventName.NIGHT_RESUMED, 3.0)
    assert [event.name for event in facts([away, asleep]).events] == [away.name, asleep.name]
    assert [event.name for event in facts([away, asleep, goes_on]).events] == [asleep.name]
    # The process that told it is gone.
    assert facts([away, asleep, resumed]).events == ()


def test_further_attempts_are_told_while_they_last_and_one_of_them_counts() -> None:
    order = AttemptsOrdered(utc=30.0, purpose=Purpose.REDO, attempts=(AttemptName(1, 1, 2), AttemptName(1, 2, 2)))
    again = replace(FIELD, attempt=2, objects=FIELD.objects[:1])
    half = facts([FIELD, order, again])
    assert (half.recorded, half.objects, half.again_made, half.again_ordered) == (1, 1, 1, 2)
    assert progress(half).endswith("; 1 of 2 are taken again")
    # What was said before the order is not so any more.
    assert judge(facts([FIELD, order], NightState.COMPLETE)).headline.startswith("Ended without a word")
    whole = facts([FIELD, order, again, replace(night.skipped(1, 2), attempt=2)])
    assert "taken again" not in progress(whole)
    # What was found later in the attempt before does not count beside it.
    name = FileEntry(name="slide-1/field-0001.ome.tif", size=1, sha256="")
    later = FieldAnalysed(
        utc=20.0, slide=1, field=1, device="cpu", versions={}, seconds={}, objects=FIELD.objects, files=(name,)
    )
    assert facts([replace(FIELD, analysed=False, objects=()), order, again, later]).objects == 1


def test_every_reason_why_files_were_left_out_counts_and_once() -> None:
    films, locked = (
        Event(utc=1.0, monotonic_s=1.0, level="warning", name=EventName.LEFT_OUT, message=why, names=names)
        for why, names in (("its suffix is none that is read", ("a.mp4", "b.mp4")), ("it cannot be read", ("c",)))
    )
    found = facts([films, locked, FIELD, films])
    assert [event.names for event in found.events] == [("a.mp4", "b.mp4"), ("c",)]
    assert any(need.startswith("Look at 3 files or folders of the archive") for need in judge(found).needs)


def test_of_dim_fields_the_darkest_is_told_and_not_the_last() -> None:
    def dim(slide: int, field: int, background_dn: float) -> list[AnyRecord]:
        message = f"the background is {background_dn / 100:.0f} % of that of the fields before"
        dimmed = replace(told(EventName.DIM_FIELD, 1.0), slide=slide, field=field, message=message)
        return [replace(night.secured(slide, field, ()), backgrounds_dn=(10.0, background_dn)), dimmed]

    records = [*dim(1, 1, 6000.0), *dim(1, 2, 900.0), *dim(1, 3, 6500.0), *dim(2, 1, 5000.0)]
    (need,) = [need for need in judge(facts(records)).needs if "dim field" in need]
    assert "is 9 % of" in need
    assert "(mini-slide 1, 2)" in need


LOST = (FieldFlag.DIM, FieldFlag.OIL_LOST)


def without_oil(field: int, counted: bool = False) -> list[AnyRecord]:
    """A field of mini-slide 1 that was dim, and is counted or not, with what the night said of it."""
    excluded_by = () if counted else (FieldFlag.OIL_LOST,)
    record = replace(night.secured(1, field, ()), flags=LOST, excluded_by=excluded_by, backgrounds_dn=(900.0 + field,))
    return [record, replace(told(EventName.DIM_FIELD, 1.0), slide=1, field=field, message=f"field {field} is dim")]


def of_light(records: Iterable[AnyRecord]) -> list[str]:
    return [need for need in judge(facts(records)).needs if "dim" in need or "oil" in need]


def test_a_dim_field_that_is_counted_is_told_though_a_darker_one_is_not_counted() -> None:
    (lost, decide) = of_light([*without_oil(1), *without_oil(2, counted=True)])
    assert "1 of its 2 fields (1) are not counted" in lost
    assert decide == "Decide about a dim field, which is counted: field 2 is dim (mini-slide 1)."


def test_what_was_said_of_the_light_is_forgotten_where_another_stack_counts_by_now() -> None:
    oil = replace(told(EventName.OIL_LOST, 1.0), slide=1, field=3, message="check immersion oil")
    records = [*without_oil(1), *without_oil(2), *without_oil(3), oil]
    order = AttemptsOrdered(utc=2.0, purpose=Purpose.REDO, attempts=tuple(AttemptName(1, n, 2) for n in (1, 2, 3)))
    good = [replace(night.secured(1, number, ()), attempt=2, purpose=Purpose.REDO) for number in (1, 2, 3)]
    assert of_light(records) == of_light([*records, order]) != []
    for left, done in ((3, good[:2]), (1, good[1:])):
        (lost,) = of_light([*records, order, *done])
        assert f"1 of its 3 fields ({left}) are not counted" in lost
    assert of_light([*records, order, *good]) == []
    dim_again = [replace(without_oil(2, counted=True)[0], attempt=2), without_oil(2)[1]]
    told_again = of_light([*records, order, good[0], *dim_again, good[2]])
    assert "Decide about a dim field, which is counted: field 2 is dim (mini-slide 1)." in told_again
