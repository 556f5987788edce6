"""The one set of sentences on how a night stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.records.events import EventName, ReasonCode
from daemon.records.records import Event
from daemon.records.states import NightState
from daemon.verdict.facts import NightFacts, SkippedFields, SlideFacts
from daemon.verdict.verdict import judge

WHOLE = NightFacts(
    state=NightState.COMPLETE,
    reason="",
    alive=False,
    closed=True,
    slides=(
        SlideFacts(1, "MD-01", planned=3, recorded=3, objects=40, closed=True),
        SlideFacts(2, "MD-02", planned=3, recorded=3, objects=1, closed=True),
    ),
)
HALF = replace(
    WHOLE,
    state=NightState.SCANNING,
    alive=True,
    closed=False,
    slides=(WHOLE.slides[0], SlideFacts(2, "MD-02", planned=3, recorded=1, skipped=1, objects=7)),
)


def event(
    name: EventName, message: str, slide: int | None = None, level: str = "warning", names: tuple[str, ...] = ()
) -> Event:
    return Event(utc=1.0, monotonic_s=1.0, level=level, name=name, message=message, slide=slide, names=names)


def test_a_night_that_went_well_needs_nobody() -> None:
    verdict = judge(WHOLE)
    assert verdict.headline == "Complete: 6 of 6 fields recorded, 41 objects."
    assert (verdict.tone, verdict.needs) == ("good", ())


@pytest.mark.parametrize(
    ("state", "alive", "says", "tone"),
    [
        (NightState.STARTING, True, "Starting.", "running"),
        (NightState.SCANNING, True, "Scanning: 5 of 6 fields are done, 1 of them skipped.", "running"),
        (NightState.PAUSED, True, "Paused: the disk is full. 5 of 6 fields are done, 1 of them skipped.", "warning"),
        (NightState.DELIVERING, True, "What is recorded goes to the recorder: ", "running"),
        (
            NightState.STOPPED,
            False,
            "Stopped by a fault: the disk is full. 5 of 6 fields are done, 1 of them skipped.",
            "bad",
        ),
        (NightState.REFUSED, False, "Could not begin: the disk is full.", "bad"),
        (NightState.INTERRUPTED, False, "Stopped by a person: 5 of 6 fields are done, 1 of them skipped.", "warning"),
        (NightState.TERMINATED, False, "Ended by the system: 5 of 6 fields are done, 1 of them skipped.", "warning"),
        (NightState.NOT_DELIVERED, False, "Not all was delivered: 5 of 6 fields are done, 1 of them skipped.", "bad"),
        (NightState.SCANNING, False, "Ended without a word", "bad"),
        (None, True, "Still running: 5 of 6 fields are done, 1 of them skipped.", "running"),
        (
            None,
            None,
            "Not complete: 5 of 6 fields are done, 1 of them skipped. The night still runs, or was stopped",
            "warning",
        ),
    ],
)
def test_every_state_has_its_sentence(state: NightState | None, alive: bool | None, says: str, tone: str) -> None:
    verdict = judge(replace(HALF, state=state, alive=alive, reason="the disk is full"))
    assert verdict.headline.startswith(says)
    assert verdict.tone == tone


@pytest.mark.parametrize("state", list(NightState))
def test_no_state_is_without_a_sentence(state: NightState) -> None:
    for facts in (WHOLE, HALF):
        verdict = judge(replace(facts, state=state, reason="r"))
        assert verdict.headline.endswith(".")
        assert "None" not in verdict.headline


@pytest.mark.parametrize("state", [NightState.INTERRUPTED, NightState.TERMINATED, NightState.STOPPED, None])
def test_a_night_that_ended_early_is_to_be_resumed(state: NightState | None) -> None:
    assert any("--resume" in need for need in judge(replace(HALF, state=state, alive=False)).needs)
    assert not any("--resume" in need for need in judge(replace(HALF, alive=True)).needs)


def test_nothing_recorded_is_never_well() -> None:
    slides = (SlideFacts(1, "MD-01", planned=3, skipped=3, closed=True),)
    skipped = (SkippedFields(1, ReasonCode.FAULT, 3, "PresetNotReached: preset 'Crossed' reads back as 'Open'"),)
    verdict = judge(replace(WHOLE, slides=slides, skipped=skipped))
    assert verdict.headline == "Complete, but nothing was recorded: all 3 fields were skipped."
    assert verdict.tone == "bad"
    assert verdict.needs == (
        "Find out why nothing was recorded: 0 of 3 fields.",
        (
            "Look at what kept 3 fields of mini-slide 1 from being recorded: "
            "PresetNotReached: preset 'Crossed' reads back as 'Open'."
        ),
    )


def test_fields_left_by_order_or_for_want_of_focus_are_not_laid_to_a_fault() -> None:
    skipped = (
        SkippedFields(2, ReasonCode.BY_ORDER, 1, "skipped by anna"),
        SkippedFields(2, ReasonCode.NO_FOCUS, 1, "slide left: 10 fields in a row without focus"),
    )
    assert judge(replace(HALF, skipped=skipped)).needs == ()


def test_oil_lost_and_skipped_fields_need_somebody_while_the_night_runs_and_after_it() -> None:
    oil = event(EventName.OIL_LOST, "the background fell to a tenth", 2)
    skipped = (SkippedFields(2, ReasonCode.FAULT, 1, "StageStuck: x"),)
    running = judge(replace(HALF, events=(oil,), skipped=skipped))
    ended = judge(replace(HALF, state=NightState.COMPLETE, closed=True, alive=False, events=(oil,), skipped=skipped))
    assert running.needs == ended.needs
    assert [need.split(":")[0] for need in ended.needs] == [
        "Look at what kept 1 field of mini-slide 2 from being recorded",
        "Look at immersion oil and lamp",
    ]
    assert (running.tone, ended.tone) == ("warning", "warning")
    assert running.needs[1].endswith("(mini-slide 2).")


def test_events_of_one_name_are_told_once_with_all_their_slides() -> None:
    events = tuple(event(EventName.OIL_LOST, f"field {n}", slide) for n, slide in enumerate((3, 1, 3)))
    assert judge(replace(WHOLE, events=events)).needs == ("Look at immersion oil and lamp: field 2 (mini-slide 1, 3).",)


def test_what_could_not_be_made_safe_comes_first() -> None:
    facts = replace(HALF, state=NightState.STOPPED, alive=False, unsafe="the shutter is open", dataset_faults=2)
    verdict = judge(facts)
    assert verdict.needs[0] == "See to the microscope at once: the shutter is open."
    assert verdict.needs[1].startswith("The dataset has 2 faults")
    assert verdict.tone == "bad"


def test_a_closed_night_whose_dataset_is_not_whole_is_not_called_complete() -> None:
    verdict = judge(replace(WHOLE, dataset_faults=1))
    assert "omplete" not in verdict.headline
    assert verdict.tone == "bad"
    assert verdict.needs == ("The dataset has 1 fault: `lamelle inspect DIR` names what is missing, twice or at odds.",)


def test_a_slide_on_which_nothing_was_found_is_named() -> None:
    slides = (WHOLE.slides[0], SlideFacts(2, "MD-02", planned=3, recorded=3, closed=True))
    assert judge(replace(WHOLE, slides=slides)).needs == (
        "Look at mini-slide 2, MD-02: nothing was found in 3 fields.",
    )


def test_empty_mini_slides_share_a_line_that_says_whether_anything_is_to_be_seen() -> None:
    bare = [SlideFacts(n, f"MD-0{n}", planned=3, recorded=3, closed=True, blank=3) for n in (1, 2, 3)]
    (need,) = judge(replace(WHOLE, slides=tuple(bare))).needs
    assert need.startswith("Look at mini-slides 1-3: nothing was found in 9 fields, and none of them shows anything")
    assert "check z_um" in need
    (some,) = judge(replace(WHOLE, slides=(replace(bare[0], blank=1), WHOLE.slides[0]))).needs
    assert some.startswith("Look at mini-slide 1, MD-01: nothing was found in 3 fields, and 1 of them shows nothing")


def test_one_missing_calibration_is_told_and_many_are_counted() -> None:
    one = event(EventName.CALIBRATION, "the calibration flat-1 counted until 2026-01-01; make it anew")
    other = event(EventName.CALIBRATION, "the calibration dark-1 is not used")
    assert judge(replace(WHOLE, events=(one, one))).needs == (f"Calibrate: {one.message}.",)
    assert "2 complaints" in judge(replace(WHOLE, events=(one, other))).needs[0]


def test_what_an_archive_left_out_needs_somebody_in_one_sentence() -> None:
    why = "its suffix '.mp4' is none that is read"
    films = event(EventName.LEFT_OUT, why, names=("a/film.mp4", "b.mp4"))
    verdict = judge(replace(WHOLE, events=(films,)))
    look = "Look at 2 files or folders of the archive that were not read"
    assert verdict.needs == (f"{look}: {why}: a/film.mp4, b.mp4.",)
    assert verdict.tone == "warning"
    locked = event(EventName.LEFT_OUT, "it cannot be read (Permission denied)", names=("c",))
    (need,) = judge(replace(WHOLE, events=(films, locked))).needs
    assert need.startswith("Look at 3 files or folders of the archive that were not read: there are 2 reasons; the ev")


def test_a_mini_slide_that_is_done_is_not_said_to_be_scanned() -> None:
    slides = (SlideFacts(1, "MD-01", planned=3, recorded=2, skipped=1), SlideFacts(2, "MD-02", planned=3))
    between = replace(HALF, state=NightState.SCANNING, alive=True, slides=slides, slide=1)
    assert judge(between).headline.startswith("Scanning: 3 of 6 fields are done")
    assert judge(replace(between, slide=2)).headline.startswith("Scanning mini-slide 2, MD-02: ")
    again = replace(between, again_ordered=2, again_made=1)
    assert judge(again).headline.startswith("Scanning mini-slide 1, MD-01: ")
