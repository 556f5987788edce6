"""A night whose stacks and objects cannot all be analysed: it goes on, keeps what it cannot look at, and tells it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daemon.analysis.kept_picture import MOST_BYTES
from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.names import field_file, picture_file
from daemon.records.records import MEASURED, FieldSecured
from daemon.report.gather import gather
from daemon.report.words import skipped
from daemon.system.errors import Exit
from tests.support.emulated_night import lamelle, living, write_configuration
from tests.support.process_logs import log

RAISES, KILLS, OBJECT, PICTURES = 1, 2, 3, (4, 5)
"""Fields of mini-slide 1: the analysis raises an error; it dies, again and again; its first object raises an error; two
whose pictures raise errors."""
FIELDS = 6
RETENTION = {"fused": "every", "every": 3}
REHEARSED = ";".join(
    (
        f"analysis running|1/{RAISES}|raise",
        f"analysis running|1/{KILLS}|self",
        f"measuring|1/{OBJECT}/0|raise",
        *(f"drawing|1/{field}|raise" for field in PICTURES),
    )
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of that night."""
    folder = tmp_path_factory.mktemp("fenced")
    config = write_configuration(folder, slides=1, fields=FIELDS, frame_px=256, retention=RETENTION)
    done = lamelle("scan", config, "--run", folder / "run", crash=REHEARSED)
    assert done.returncode == Exit.SKIPPED, done.stdout + done.stderr
    assert not living(folder / "run")
    return folder / "run"


def fields(run: Path) -> Sequence[FieldSecured]:
    with Dataset.open(run) as dataset:
        return [field for field in dataset.fields() if isinstance(field, FieldSecured)]


def test_a_stack_that_cannot_be_analysed_is_kept_raw_and_named(run: Path) -> None:
    recorded = fields(run)
    why = {RAISES: "it cannot be analysed: RuntimeError: rehearsed at 'analysis running'", KILLS: recorded[1].reason}
    assert why[KILLS].startswith("the analysis died of it 2 times: the analysis process died (exit status ")
    assert [field.analysed for field in recorded] == [False, False, True, True, True, True]
    for field in recorded[:2]:
        assert field.reason == why[field.field]
        assert [file.name for file in field.files] == [field_file(1, field.field, "raw"), picture_file(1, field.field)]
        assert (field.objects, field.focus.z_um) == ((), None)
    summary = summarise(run)
    assert {one.field: one.reason for one in summary.kept_raw} == why
    assert (summary.complete, summary.not_analysed, summary.gaps, summary.duplicates) == (True, 2, 0, 0)
    failed = [event for event in summary.events if event.name == "analysis failed"]
    assert {event.field: event.message for event in failed} == {
        number: f"{reason}; its raw stack is kept for `lamelle analyse`" for number, reason in why.items()
    }
    with Dataset.open(run) as dataset:
        told = skipped(gather(dataset)[0]).rows
    assert told == tuple((f"kept raw: {reason}", "1", str(number), "1") for number, reason in why.items())


def test_an_object_that_cannot_be_measured_is_told_and_the_rest_of_its_field_is_measured(run: Path) -> None:
    field = fields(run)[OBJECT - 1]
    first, *others = field.objects
    assert first.fault == "RuntimeError: rehearsed at 'measuring'"
    assert {getattr(first, name) for name in MEASURED if name != "fault"} == {None}
    assert {row.fault for row in others} == {None}
    (event,) = (event for event in summarise(run).events if event.name == "not measured")
    assert (event.slide, event.field) == (1, OBJECT)
    assert event.message == f"object 0 ({first.class_name}): {first.fault}; it is kept, unmeasured"


def test_a_picture_that_cannot_be_drawn_costs_no_field(run: Path) -> None:
    recorded = fields(run)
    for number in PICTURES:
        assert [file.name for file in recorded[number - 1].files] == [field_file(1, number)]
        assert recorded[number - 1].objects


def test_the_picture_of_a_field_shows_both_states_side_by_side(run: Path) -> None:
    with Dataset.open(run) as dataset:
        assert dataset.verify() == []
    for number in (RAISES, KILLS, OBJECT, FIELDS):
        path = run / "dataset" / picture_file(1, number)
        assert path.stat().st_size <= MOST_BYTES
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (2 * 128, 128))
            crossed, parallel = np.split(np.asarray(picture), 2, axis=1)
        assert np.median(crossed) < 50 < 150 < np.median(parallel)


def test_every_third_field_is_kept_fused_in_full_size(run: Path) -> None:
    for field in fields(run):
        kept = [file.name for file in field.files if file.name == field_file(1, field.field, "fused")]
        assert bool(kept) == (field.field % 3 == 0)
        for name in kept:
            with read_field_file(run / "dataset" / name) as file:
                assert file.stack().shape == (2, 1, 256, 256)
                assert file.provenance.first_z_um == field.focus.z_um


def test_the_log_says_where_it_was(run: Path) -> None:
    told = [line["exception"] for line in log(run, "analysis") if "exception" in line]
    assert [one.splitlines()[-1] for one in told] == [
        "RuntimeError: rehearsed at 'analysis running'",
        "RuntimeError: rehearsed at 'measuring'",
        "RuntimeError: rehearsed at 'drawing'",
    ]
    assert all("Traceback" in one for one in told)


def test_what_was_kept_raw_is_analysed_later_unless_it_fails_again(run: Path) -> None:
    again = lamelle("analyse", run, "--workers", "1", crash=f"analysis running|1/{RAISES}|raise")
    assert again.returncode == Exit.SKIPPED
    stays = f"{field_file(1, RAISES, 'raw')} stays as it is: it cannot be analysed: RuntimeError: rehearsed"
    assert stays in again.stdout.replace("\n", "")
    raised, killed, *_ = fields(run)
    assert (raised.analysed, raised.fault) == (False, "RuntimeError")
    assert (killed.analysed, killed.reason, killed.fault) == (True, "", None)
    assert killed.objects
    assert [file.name for file in killed.files] == [
        field_file(1, KILLS, "raw"),
        picture_file(1, KILLS),
        field_file(1, KILLS),
    ]
    assert [one.field for one in summarise(run).kept_raw] == [RAISES]
