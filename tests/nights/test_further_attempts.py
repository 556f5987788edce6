"""Fields that are taken again: by the night itself, by --resume, and as a person orders it; one attempt counts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.attempts import Purpose
from daemon.records.records import AttemptsOrdered, FieldSecured, NightClosed, SlideClosed
from daemon.report.gather import gather
from daemon.report.verdict import standing_of, verdict_of
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.system.errors import Exit
from tests.support.emulated_night import lamelle, living, write_configuration

FIELDS = 4
RETRY = {"attempts": 1, "field_patience_s": 0}


def scan(folder: Path, *more: str, crash: str | None = None, **parts: Any) -> tuple[int, str]:
    settings: dict[str, Any] = {"slides": 2, "fields": FIELDS, "frame_px": 256, "retry": RETRY} | parts
    config = write_configuration(folder, **settings) if not more else next(folder.glob("*.yaml"))
    done = lamelle("scan", config, "--run", folder / "run", *more, crash=crash)
    assert crash is not None or not living(folder / "run")
    if done.returncode in (Exit.COMPLETE, Exit.SKIPPED):
        said_alike(folder / "run", done.stdout)
    return done.returncode, done.stdout + done.stderr


def said_alike(run: Path, said: str) -> None:
    """See that screen, heartbeat, dataset and report say the same of a night that has ended, its needs included."""
    beat = read_heartbeat(run)
    with Dataset.open(run) as dataset:
        held, verdict = dataset.totals(), verdict_of(dataset, standing_of(run), 0)
        numbers, _ = gather(dataset)
    assert beat.verdict == verdict
    assert (beat.secured, beat.skipped, beat.objects) == (held.fields.recorded, held.fields.skipped, held.objects)
    assert (numbers.recorded, len(numbers.skipped), numbers.total.number) == (beat.secured, beat.skipped, beat.objects)
    assert bool(beat.skipped) == any(need.startswith("Look at what kept ") for need in verdict.needs)
    assert f"{beat.objects} object" in said
    assert beat.again_made == beat.again_ordered
    if beat.again_ordered:
        assert f"{beat.again_made}/{beat.again_ordered} taken again" in said


def made(run: Path) -> list[tuple[int, int, int, str, bool]]:
    """Every attempt in its order: slide, field, attempt, what for, whether it was recorded."""
    with Dataset.open(run) as dataset:
        return [
            (one.slide, one.field, one.attempt, one.purpose.value, isinstance(one, FieldSecured))
            for one in dataset.attempts()
        ]


def counted(run: Path) -> tuple[int, int, int]:
    """Counted objects by the catalog, by the records, and by the tables."""
    with Dataset.open(run) as dataset:
        recorded = [field for field in dataset.fields() if isinstance(field, FieldSecured)]
        tables = [pq.read_table(path) for path in sorted(dataset.folder.glob("slide-*/objects.parquet"))]
        return (
            dataset.totals().objects,
            sum(row.counted for field in recorded for row in field.objects),
            sum(sum(table["counted"].to_pylist()) for table in tables),
        )


PLAN = [(slide, field, 1, "plan", True) for slide in (1, 2) for field in range(1, FIELDS + 1)]


@pytest.fixture(scope="module")
def retaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night in which field 2 of mini-slide 1 and field 4 of mini-slide 2 meet a fault once."""
    folder = tmp_path_factory.mktemp("retaken")
    faults = [
        {"kind": "dropped_frame", "slide": 1, "fields": [2], "attempts": 1},
        {"kind": "dark_frame", "slide": 2, "fields": [4], "attempts": 1},
    ]
    status, said = scan(folder, emulation={"faults": faults})
    assert status == Exit.COMPLETE, said
    return folder


def test_what_a_fault_kept_from_being_recorded_is_taken_again_after_the_plan(retaken: Path) -> None:
    run = retaken / "run"
    skipped = {(1, 2), (2, 4)}
    plan = [(slide, field, 1, "plan", (slide, field) not in skipped) for slide, field, *_ in PLAN]
    assert made(run)[: len(PLAN)] == plan
    assert made(run)[len(PLAN) : len(PLAN) + 2] == [(1, 2, 2, "retake", True), (2, 4, 2, "retake", True)]
    summary = summarise(run)
    assert summary.complete
    assert (summary.fields.recorded, summary.fields.skipped, summary.skipped) == (2 * FIELDS, 0, ())
    assert [(one.slide, one.field, one.state, one.counts) for one in summary.again][:2] == [
        (1, 2, "recorded", 2),
        (2, 4, "recorded", 2),
    ]
    assert len(set(counted(run))) == 1
    with Dataset.open(run) as dataset:
        assert dataset.verify() == []
        records = [record for _, record in dataset.records()]
    orders = [record for record in records if isinstance(record, AttemptsOrdered)]
    assert (orders[0].purpose, orders[0].who) == (Purpose.RETAKE, None)
    assert isinstance(records[-1], NightClosed)
    assert [record.slide for record in records if isinstance(record, SlideClosed)][:4] == [1, 2, 1, 2]


def test_a_person_has_a_closed_night_taken_anew_and_old_attempts_stay(retaken: Path) -> None:
    run = retaken / "run"
    before = made(run)
    status, said = scan(retaken, "--redo", "slide 2 fields 1-2; slide 1 field 3")
    assert status == Exit.COMPLETE, said
    assert made(run)[len(before) :] == [
        (1, 3, 2, "redo", True),
        (2, 1, 2, "redo", True),
        (2, 2, 2, "redo", True),
    ]
    assert len(set(counted(run))) == 1
    summary = summarise(run)
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    with Dataset.open(run) as dataset:
        files = {file.name for one in dataset.attempts() if isinstance(one, FieldSecured) for file in one.files}
        assert {"slide-2/field-0001.ome.tif", "slide-2/field-0001-attempt-2.ome.tif"} <= files
        assert dataset.verify() == []
        orders = [record for _, record in dataset.records() if isinstance(record, AttemptsOrdered)]
        names = dataset.objects(2).column("field_file").to_pylist()
    assert orders[-1].who is not None
    assert {name for name in names if "field-0001" in name} <= {"slide-2/field-0001-attempt-2.ome.tif"}
    assert "fields taken again" in said
    assert lamelle("report", run).returncode == 0
    page = (run / "dataset" / "report.html").read_text(encoding="utf-8")
    assert "taken again as ordered: attempt 2 counts" in page
    assert "taken again after a fault: attempt 2 counts" in page


@pytest.mark.parametrize(
    ("redo", "told"),
    [
        ("slide 9; slide 1", "names mini-slide 9, which the night does not have"),
        ("slide 1 field 99", "names fields 99, but those of mini-slide 1 run from 1 to"),
        ("everything", "is not understood at 'everything'"),
        ("skipped", "names no field that was taken"),
    ],
)
def test_what_cannot_be_redone_is_refused_in_one_sentence(retaken: Path, redo: str, told: str) -> None:
    status, said = scan(retaken, "--redo", redo)
    assert status == Exit.REFUSED
    assert told in " ".join(said.split())


@pytest.mark.long
def test_what_fails_again_stays_skipped_until_somebody_resumes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    faults = [{"kind": "dropped_frame", "slide": 1, "fields": [2], "attempts": 3}]
    status, said = scan(tmp_path, slides=1, fields=2, emulation={"faults": faults})
    assert status == Exit.SKIPPED, said
    assert [(field, attempt, good) for _, field, attempt, _, good in made(run) if field == 2] == [
        (2, 1, False),
        (2, 2, False),
    ]
    assert scan(tmp_path, "--resume")[0] == Exit.SKIPPED
    status, said = scan(tmp_path, "--resume")
    assert status == Exit.COMPLETE, said
    assert [(attempt, good) for _, field, attempt, _, good in made(run) if field == 2] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]
    with closing(sqlite3.connect(run / "dataset" / "catalog.sqlite")) as database:
        assert database.execute("SELECT attempt, state FROM fields WHERE field = 2").fetchall() == [(4, "recorded")]


@pytest.mark.long
def test_a_redo_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, said = scan(tmp_path, slides=1)
    assert status == Exit.COMPLETE, said
    status, _ = scan(tmp_path, "--redo", "slide 1", crash="journalled|2|supervisor")
    assert status not in (Exit.COMPLETE, Exit.SKIPPED)
    status, said = scan(tmp_path, "--resume")
    assert status == Exit.COMPLETE, said
    assert [(field, attempt) for _, field, attempt, _, _ in made(run)] == [
        (field, attempt) for attempt in (1, 2) for field in range(1, FIELDS + 1)
    ]
    summary = summarise(run)
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    assert len(set(counted(run))) == 1


@pytest.mark.long
def test_what_is_redone_before_its_mini_slide_was_closed_is_delivered_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, _ = scan(tmp_path, slides=1, fields=3, crash="journalled|2|supervisor")
    assert status not in (Exit.COMPLETE, Exit.SKIPPED)
    status, said = scan(tmp_path, "--redo", "slide 1 field 1")
    assert status == Exit.COMPLETE, said
    assert [(field, attempt) for _, field, attempt, _, _ in made(run)] == [(1, 1), (2, 1), (3, 1), (1, 2)]
    summary = summarise(run)
    assert (summary.complete, summary.gaps, summary.duplicates) == (True, 0, 0)
    assert len(set(counted(run))) == 1
    (run / "dataset").rename(tmp_path / "elsewhere")
    status, said = scan(tmp_path, "--redo", "slide 1 field 1")
    assert (status, (run / "dataset").exists()) == (Exit.REFUSED, False)
    assert "dataset is gone, where" in " ".join(said.split())


@pytest.mark.long
def test_a_start_that_is_refused_is_told_alone_and_leaves_its_folder_free(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, slides=1, fields=1, frame_px=256)
    good = config.read_text(encoding="utf-8")
    settings = yaml.safe_load(good)
    settings["instrument"]["devices"]["focus"] = "Z2"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    refused = lamelle("scan", config, "--run", tmp_path / "run")
    assert refused.returncode == Exit.REFUSED
    assert "Z2" in refused.stderr
    assert "not safe" not in refused.stdout + refused.stderr
    config.write_text(good, encoding="utf-8")
    done = lamelle("scan", config, "--run", tmp_path / "run")
    assert done.returncode == Exit.COMPLETE, done.stdout + done.stderr
