"""Every fault of the emulated microscope through whole nights: retried, skipped, told, and safe at the end.

Two nights of one seed are each other's reference: where one meets a fault the other meets none.
"""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from rich.console import Console

from daemon.dataset.held import FieldTotals
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import render, summarise
from daemon.records.records import FieldSkipped
from daemon.system.errors import Exit
from tests.support.deadlines import NIGHT_S
from tests.support.emulated_night import digest, lamelle, living, write_configuration
from tests.support.process_logs import SAFE_WITHIN_S, log, safe_after, times, wait_for

FIELDS = 9
RETRIED = {
    "dropped_frame": ("FrameFault", "frame lost"),
    "repeated_frame": ("FrameFault", "repeats"),
    "dark_frame": ("FrameFault", "dark"),
    "saturated_frame": ("FrameFault", "saturated"),
    "stage_stuck": ("StageStuck", "Z stands"),
    "stage_busy": ("DeviceTimeout", "Z was still busy"),
    "preset_missed": ("PresetNotReached", "reads back"),
    "hang": ("ChildLost", "did not answer"),
    "die": ("ChildLost", "died"),
}
"""Faults that meet the first exposure of a field each, from field 1 on, and what is told of them."""
ANALYSIS_DIES = FIELDS + 1
"""Which stack the analysis dies of: the first of the second mini-slide."""


class Ran(NamedTuple):
    run: Path
    status: int
    output: str


def run_night(folder: Path, faults: list[dict[str, Any]], crash: str | None = None, **parts: Any) -> Ran:
    config = write_configuration(folder, frame_px=256, emulation={"faults": faults}, **parts)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["instrument"]["deadlines"] = {"move_s": 1, "focus_s": 0.5, "switch_s": 0.5, "frame_s": 1}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = lamelle("scan", config, "--run", folder / "run", crash=crash)
    return Ran(folder / "run", done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def retried(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Mini-slide 1 meets a fault at each field, mini-slide 2 none; once the analysis dies."""
    faults = [{"kind": kind, "slide": 1, "fields": [n]} for n, kind in enumerate(RETRIED, 1)]
    folder = tmp_path_factory.mktemp("retried")
    return run_night(folder, faults, f"analysis running|{ANALYSIS_DIES}|analysis", slides=2, fields=FIELDS)


@pytest.fixture(scope="module")
def skipping(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Mini-slide 1 meets no fault; 2 a bubble, a lamp that is off, lost oil; 3 is blank."""
    faults = [
        {"kind": "bubble", "slide": 2, "fields": [3]},
        {"kind": "dark_frame", "slide": 2, "fields": [5], "attempts": None},
        {"kind": "oil_lost", "slide": 2, "fields": [7]},
        {"kind": "blank", "slide": 3, "attempts": None},
    ]
    parts: dict[str, Any] = {"focus": {"blank_fields_leave_slide": 3}, "retry": {"field_patience_s": 0}}
    return run_night(tmp_path_factory.mktemp("skipping"), faults, slides=3, fields=FIELDS, **parts)


def told(run: Path) -> list[tuple[int | None, int | None, str, str]]:
    """Where, how grave and what the events in the catalog are."""
    return [(event.slide, event.field, event.level, event.title) for event in summarise(run).events]


def table(run: Path) -> str:
    out = io.StringIO()
    Console(file=out, width=240).print(render(summarise(run)))
    return out.getvalue()


def exposures(run: Path) -> Counter[tuple[int, int, int]]:
    """How often each stack was exposed: slide, field, and how often that was exposed before; searches left out."""
    fields = [line["fields"] for line in log(run, "microscope") if line["message"] == "exposing"]
    return Counter((one["slide"], one["field"], one["exposed"]) for one in fields if one["frames"] == 18)


def test_a_night_whose_faults_are_overcome_is_complete(retried: Ran) -> None:
    assert retried.status == Exit.COMPLETE, retried.output
    summary = summarise(retried.run)
    assert summary.fields == FieldTotals(planned=2 * FIELDS, recorded=2 * FIELDS, skipped=0)
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    with Dataset.open(retried.run) as dataset:
        attempts = {(field.slide, field.field): field.attempts for field in dataset.fields()}
    assert attempts == {(slide, field): 3 - slide for slide in (1, 2) for field in range(1, FIELDS + 1)}
    assert not living(retried.run)


@pytest.mark.parametrize(("number", "kind"), list(enumerate(RETRIED, 1)))
def test_a_fault_that_was_overcome_is_told(retried: Ran, number: int, kind: str) -> None:
    fault, said = RETRIED[kind]
    events = [event for event in summarise(retried.run).events if event.field == number]
    assert {(event.slide, event.level, event.name, event.fault) for event in events} == {(1, "warning", "fault", fault)}
    assert all(said in event.message and event.message.endswith("exposing again") for event in events)
    assert said in table(retried.run)


@pytest.mark.long
def test_what_was_overcome_leaves_no_trace_in_the_pixels(retried: Ran, skipping: Ran) -> None:
    disturbed, undisturbed = digest(retried.run), digest(skipping.run)
    first = {(1, field): undisturbed[1, field] for field in range(1, FIELDS + 1)}
    assert {place: disturbed[place] for place in first} == first
    assert sum(objects for _, objects, _ in first.values()) > 3
    # On mini-slide 2 the other way round: until focus follows from the field with the bubble, but for that field.
    assert [undisturbed[2, field] == disturbed[2, field] for field in (1, 2, 3, 4)] == [True, True, False, True]


def test_a_microscope_that_hangs_or_dies_is_safe_in_time(retried: Ran) -> None:
    hung_s, died_s = times(retried.run, "microscope lost", "supervisor")
    assert safe_after(retried.run, hung_s) < SAFE_WITHIN_S
    # Nobody but another process can make safe then; how long one takes to start here, the first of the night says.
    first_start_s = safe_after(retried.run, log(retried.run, "supervisor")[0]["monotonic_s"])
    assert safe_after(retried.run, died_s) < max(SAFE_WITHIN_S, first_start_s)
    assert [name for *_, name in told(retried.run)].count("microscope restarted") == 2


def test_a_stack_whose_analysis_died_is_not_exposed_again(retried: Ran) -> None:
    assert (None, None, "warning", "analysis restarted") in told(retried.run)
    exposed = exposures(retried.run)
    assert {place: count for place, count in exposed.items() if place[0] == 2} == {
        (2, field, 0): 1 for field in range(1, FIELDS + 1)
    }
    assert set(exposed.values()) == {1}


def test_a_night_that_skipped_says_what_and_why(skipping: Ran) -> None:
    assert skipping.status == Exit.SKIPPED, skipping.output
    summary = summarise(skipping.run)
    reasons = {(one.slide, one.field): one.reason for one in summary.skipped}
    left_blank = dict.fromkeys(((3, field) for field in range(5, 10)), "slide left: 3 fields in a row without focus")
    assert {place: reason for place, reason in reasons.items() if "left" in reason} == left_blank
    codes = Counter((one.slide, one.reason_code, one.fault) for one in summary.skipped)
    assert codes == {(2, "fault", "FrameFault"): 1, (3, "no focus", None): 5}
    assert "frame fault: plane 1 of crossed is all dark" in reasons.pop((2, 5))
    assert reasons.keys() == left_blank.keys()
    excluded = {(one.slide, one.field) for one in summary.judged if not one.counted}
    # Of frames of 15 um not every one shows enough to tell what is missing.
    assert {(2, 8)} <= excluded <= {(2, 7), (2, 8), (2, 9)}
    assert summary.fields == FieldTotals(planned=27, recorded=27 - 6, skipped=6, excluded=len(excluded))
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    with Dataset.open(skipping.run) as dataset:
        attempts = {(f.slide, f.field): f.attempts for f in dataset.fields() if isinstance(f, FieldSkipped)}
    assert {place: tried for place, tried in attempts.items() if tried} == {(2, 5): 3}
    assert not living(skipping.run)


def test_skipped_fields_and_left_slides_are_told(skipping: Ran) -> None:
    events = told(skipping.run)
    assert (2, 5, "error", "frame fault") in events
    assert (3, 5, "warning", "slide left") in events
    assert [event for event in events if event[3] == "slide left"] == [(3, 5, "warning", "slide left")]
    shown = table(skipping.run)
    for row in (
        "5-9",
        "slide left: 3 fields in a row without focus",
        "the field is skipped",
        "oil lost?",
    ):
        assert row in shown
    assert "complete, but with skipped fields" in skipping.output.replace("\n", " ")


def test_a_bubble_and_lost_oil_are_told_and_nothing_else_is(skipping: Ran, retried: Ran) -> None:
    dim = [event for event in told(skipping.run) if event[3] in ("dim field", "oil lost?")]
    assert dim == [
        (2, 3, "warning", "dim field"),
        (2, 7, "warning", "dim field"),
        (2, 8, "warning", "dim field"),
        (2, 9, "warning", "oil lost?"),
    ]
    assert not {"dim field", "oil lost?"} & {name for *_, name in told(retried.run)}


def test_an_instrument_that_is_out_of_order_for_a_while_costs_no_field(tmp_path: Path) -> None:
    """The preset is not reached four times over, and on the next field no frame comes: both are waited out."""
    faults = [
        {"kind": "preset_missed", "fields": [2], "attempts": 4},
        {"kind": "stage_stuck", "fields": [3], "attempts": 3},
    ]
    ran = run_night(tmp_path, faults, slides=1, fields=4, retry={"longest_pause_s": 1})
    assert ran.status == Exit.COMPLETE, ran.output
    events = told(ran.run)
    assert [title for *_, title in events if title in ("paused", "resumed")] == ["paused", "resumed"] * 2
    summary = summarise(ran.run)
    (paused, stuck) = [event.message for event in summary.events if event.name == "paused"]
    assert "reads back" in paused
    assert paused.endswith("the light is off, and the night goes on once that ends")
    assert "Z stands" in stuck
    with Dataset.open(ran.run) as dataset:
        assert [(field.field, field.attempts) for field in dataset.fields()] == [(1, 1), (2, 5), (3, 4), (4, 1)]
    lights = [line["message"] for line in log(ran.run, "microscope") if line["message"].startswith(("light", "expos"))]
    assert "light off" in lights[lights.index("light on") : -1]


def test_what_two_fields_in_a_row_meet_is_no_fault_of_the_place(tmp_path: Path) -> None:
    """The first field is skipped in the end; with the second the night waits, and ends safe once patience ends."""
    retry = {"attempts": 1, "field_patience_s": 0, "longest_pause_s": 0.5, "instrument_patience_h": 5 / 3600}
    ran = run_night(tmp_path, [{"kind": "dropped_frame", "attempts": None}], slides=3, fields=2, retry=retry)
    assert ran.status == Exit.FAULT
    summary = summarise(ran.run)
    assert [(one.slide, one.field, one.fault) for one in summary.skipped] == [(1, 1, "FrameFault")]
    stopped = summary.events[-1]
    assert (stopped.level, stopped.name) == ("error", "night stopped")
    assert re.search(
        r"frame lost.*; that has lasted \d+ s and was tried \d+ times, so the night has ended", stopped.message
    )
    assert safe_after(ran.run, times(ran.run, "night stopped", "supervisor")[0]) < SAFE_WITHIN_S
    assert times(ran.run, "microscope safe", "supervisor")
    assert not living(ran.run)


@pytest.mark.skipif(sys.platform == "win32", reason="there a Ctrl-C reaches this process too")
def test_a_second_interrupt_during_a_hang_is_safe_in_time(tmp_path: Path) -> None:
    run = tmp_path / "run"
    emulation = {"faults": [{"kind": "hang", "slide": 1, "fields": [1]}]}
    config = write_configuration(tmp_path, slides=1, fields=2, frame_px=256, emulation=emulation)
    command = [sys.executable, "-m", "daemon", "scan", str(config), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: bool(times(run, "exposing")), "an exposure")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: bool(times(run, "stopping after this field", "supervisor")), "the first interrupt")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=NIGHT_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    assert safe_after(run, times(run, "interrupted", "supervisor")[0] - 0.5) < SAFE_WITHIN_S
    assert not living(run)
