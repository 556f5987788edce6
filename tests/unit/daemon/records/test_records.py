"""States, events and reasons of a night; and what version 0.1 said in sentences alone, read as fields."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.records.events import EventName, ReasonCode
from daemon.records.records import Event, FieldSkipped, decode, encode
from daemon.records.states import EndedBy, NightState
from tests.support.small_night import event, skipped

PAUSES = "the night pauses at the next field boundary, light off, until someone resumes it"


def earlier_event(name: str, message: str) -> Event:
    """Read an event as version 0.1 wrote it."""
    plain = {"kind": "event", "utc": 1.0, "level": "info", "name": name, "message": message, "monotonic_s": 1.0}
    record = decode(msgspec.msgpack.encode(plain | {"slide": None, "field": None}))
    assert isinstance(record, Event)
    return record


def earlier_skip(reason: str) -> FieldSkipped:
    """Read a skipped field as version 0.1 wrote it."""
    plain: dict[str, Any] = {"kind": "skipped", "utc": 1.0, "slide": 1, "field": 2, "sample": "a", "attempts": 1}
    record = decode(msgspec.msgpack.encode(plain | {"reason": reason, "search": None, "sources": []}))
    assert isinstance(record, FieldSkipped)
    return record


@pytest.mark.parametrize("who", ["anna", "lab 2: anna", "a: pause: b"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pause ordered", PAUSES),
        ("resume ordered", "the night goes on; lab 3: ben had paused it"),
        ("skip ordered", "the remaining fields of mini-slide 3 are skipped"),
        ("stop ordered", "the night stops safely at the next field boundary; go on with --resume"),
    ],
)
def test_who_gave_an_order_is_read_whole_from_a_sentence_of_before(name: str, message: str, who: str) -> None:
    if "pause: " in who:
        who = who.replace("pause: ", "")
    assert earlier_event(name, f"{who}: {message}").who == who


def test_who_was_refused_is_read_from_a_sentence_of_before() -> None:
    assert (
        earlier_event("order refused", "ben: who: pause: lab 2: anna keeps the night paused already").who == "ben: who"
    )
    assert earlier_event("pause ordered", "ben: put otherwise").who == "ben"


def test_who_ended_a_night_is_read_from_a_sentence_of_before() -> None:
    stopped = "stopped by {}; go on with --resume"
    by_system = earlier_event("interrupted", stopped.format("the system"))
    by_person = earlier_event("interrupted", stopped.format("a person"))
    fault = earlier_event("night stopped", "the stage is stuck")
    assert (by_system.by, by_system.ending) == (EndedBy.SYSTEM, NightState.TERMINATED)
    assert (by_person.by, by_person.ending) == (EndedBy.PERSON, NightState.INTERRUPTED)
    assert (fault.by, fault.ending) == (EndedBy.FAULT, NightState.STOPPED)
    assert earlier_event("paused", stopped.format("the system")).ending is None


def test_the_kind_of_a_fault_was_the_name_of_its_event() -> None:
    read = earlier_event("StageStuck", "it did not arrive; exposing again")
    assert (read.name, read.fault, read.title) == (EventName.FAULT, "StageStuck", "stage stuck")
    assert earlier_event("slide left", "10 fields in a row without focus on mini-slide 1").reason_code == "no focus"
    assert earlier_event("slide left", "5 fields in a row failed on mini-slide 1").reason_code == "faults in a row"


@pytest.mark.parametrize(
    ("reason", "code", "who", "fault", "sentence"),
    [
        ("skipped by lab 2: anna", ReasonCode.BY_ORDER, "lab 2: anna", None, None),
        ("slide left: 10 fields in a row without focus", ReasonCode.NO_FOCUS, None, None, None),
        ("slide left: 5 fields in a row failed", ReasonCode.FAULTS_IN_A_ROW, None, None, None),
        ("FrameFault: frame lost: wait", ReasonCode.FAULT, None, "FrameFault", "frame fault: frame lost: wait"),
        ("analysis failed: it died", ReasonCode.ANALYSIS_FAILED, None, None, None),
        ("a.tif: page 3 is missing", ReasonCode.UNREADABLE, None, None, None),
    ],
)
def test_why_a_field_was_skipped_is_read_from_a_sentence_of_before(
    reason: str, code: ReasonCode, who: str | None, fault: str | None, sentence: str | None
) -> None:
    read = earlier_skip(reason)
    assert (read.reason_code, read.who, read.fault, read.reason) == (code, who, fault, sentence or reason)


def test_fields_count_and_sentences_do_not() -> None:
    told = msgspec.structs.replace(event("ben: the night pauses"), name=EventName.PAUSE_ORDERED, who="anna", fault=None)
    left = msgspec.structs.replace(skipped(1, 2), reason="skipped by anna")
    assert [decode(encode(record)) for record in (told, left)] == [told, left]


def test_what_is_no_record_stays_none() -> None:
    for body in (
        {"kind": "event", "name": "StageStuck"},
        {"kind": "event", "name": 7},
        {"kind": "other"},
        [1],
        "event",
    ):
        with pytest.raises(msgspec.DecodeError):
            decode(msgspec.msgpack.encode(body))


def test_a_night_that_ended_was_ended_by_somebody() -> None:
    assert {state for state in NightState if state.ended} == {
        "complete", "not delivered", "stopped", "interrupted", "terminated", "refused",
    }  # fmt: skip
    assert [NightState(text).by for text in ("scanning", "terminated", "interrupted", "stopped")] == [
        None, EndedBy.SYSTEM, EndedBy.PERSON, EndedBy.FAULT,
    ]  # fmt: skip
