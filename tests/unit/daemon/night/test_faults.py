"""A few faults of `benchmarks.faults` through simulated nights; the whole list: tests/long/test_faults.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.faults.night import FIELDS, SLIDES, Outcome, spend
from benchmarks.faults.page import by_name, problems
from benchmarks.faults.world import FOR_GOOD_S
from daemon.records.events import EventName

ALL = FIELDS * SLIDES
HOUR = {"retry": {"instrument_patience_h": 1}}
SHORT = [
    ("a shutter is closed by hand", 1.0),
    ("a shutter is closed by hand", 30.0),
    ("the joystick is touched", 30.0),
    ("the focus drive says that it stands nowhere", 30.0),
]


def night(name: str, lasts_s: float | None) -> Outcome:
    fault = by_name(name)
    return spend(fault.trouble(lasts_s, 1), False, {**fault.parts, **HOUR})


@pytest.mark.parametrize(("name", "lasts_s"), SHORT)
def test_what_is_short_costs_no_field_and_what_is_recorded_is_true(name: str, lasts_s: float) -> None:
    outcome = night(name, lasts_s)
    assert not list(problems(by_name(name), f"{lasts_s:g} s", outcome))
    assert (outcome.recorded, outcome.skipped, outcome.safe) == (ALL, [], True)
    assert outcome.tries > 1
    assert bool(outcome.paused_s) == (lasts_s > 1) or sum(outcome.paused_s) < 3


@pytest.mark.parametrize("name", ["the live window is opened", "lamelle's microscope process dies"])
def test_what_lasts_for_good_ends_the_night_safe_with_the_true_sentence(name: str) -> None:
    outcome = night(name, FOR_GOOD_S)
    assert outcome.safe
    assert not outcome.strange
    assert not outcome.skipped
    assert {"the live window is opened": "stop live", "lamelle's microscope process dies": "process died"}[
        name
    ] in outcome.stopped
    assert "that has lasted 1 h" in outcome.stopped
    assert len(outcome.messages(EventName.PAUSED)) == 1
    assert len(outcome.told) < 15


def test_what_cannot_be_read_back_is_not_said_to_be_safe() -> None:
    outcome = night("the focus drive does not answer", FOR_GOOD_S)
    assert not outcome.safe
    assert len(outcome.messages(EventName.NOT_SAFE)) == 2


def test_what_cannot_work_is_refused_before_anything_is_exposed() -> None:
    outcome = night("larger z leads away from the sample", None)
    assert "focus direction -1" in outcome.refused
    assert outcome.recorded == 0


def test_frames_that_are_not_as_recorded_are_found() -> None:
    """The witness is no friend of the night's: where nothing can be read back it tells that frames are not true."""
    fault = replace(by_name("the objective slips, and its drive does not"), unseen="")
    outcome = spend(fault.trouble(30.0, 1), False, {})
    assert any("the objective was at" in problem for problem in problems(fault, "30 s", outcome))
