"""Whole emulated nights: undisturbed, killed at named points and resumed, refused."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from daemon.dataset.held import FieldTotals
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.names import field_file, picture_file
from daemon.records.records import FieldSecured, decode, encode
from daemon.reprocessing.analyse import catch_up
from daemon.run_folder.journal import Journal
from daemon.system.errors import Exit
from tests.support.emulated_night import Digest, digest, lamelle, living, write_configuration
from tests.support.places import CONFIGS

KILLS = {
    "mid exposure|5|all": None,
    "frame announced|40|microscope": "microscope restarted",
    "analysis running|4|analysis": "analysis restarted",
    "spool renamed|3|supervisor": None,
    "file without catalog|3|all": None,
}
"""Where which processes are killed, and the event that tells it; None where the supervisor died too."""
TOLD_ELSEWHERE = (
    "frame announced|40|microscope",
    "analysis running|4|analysis",
    "spool renamed|3|supervisor",
    "file without catalog|3|all",
)
"""Of one process alone: nights with faults lose each of the two children too, redone ones the supervisor. Between file
and catalog the delivery's own test kills."""


def test_a_night_records_every_field_once(undisturbed: tuple[Path, Digest]) -> None:
    run, recorded = undisturbed
    summary = summarise(run)
    (ran_on,) = [event.message for event in summary.events if event.name == "detector"]
    assert ran_on.startswith("runs on onnxruntime on cpu, ")
    assert summary.complete
    assert summary.fields == FieldTotals(planned=6, recorded=6, skipped=0)
    assert (summary.gaps, summary.duplicates) == (0, 0)
    assert set(recorded) == {(slide, field) for slide in (1, 2) for field in (1, 2, 3)}
    assert sum(objects for _, objects, _ in recorded.values()) > 10


@pytest.mark.parametrize(
    "crash", [pytest.param(crash, marks=pytest.mark.long) if crash in TOLD_ELSEWHERE else crash for crash in KILLS]
)
def test_a_killed_night_resumes_to_the_same_pixels(
    crash: str, undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    config = write_configuration(tmp_path)
    run = tmp_path / "run"
    killed = lamelle("scan", config, "--run", run, crash=crash)
    if KILLS[crash] is None:
        assert killed.returncode not in Exit.__members__.values()
        resumed = lamelle("scan", config, "--run", run, "--resume")
        assert resumed.returncode == 0, resumed.stderr
    else:
        assert killed.returncode == 0, killed.stderr
    summary = summarise(run)
    assert KILLS[crash] is None or KILLS[crash] in [event.name for event in summary.events]
    assert summary.complete
    assert (summary.gaps, summary.duplicates, summary.fields.skipped) == (0, 0, 0)
    assert digest(run) == undisturbed[1]
    assert not living(run)


def test_a_night_whose_gpu_is_lost_keeps_raw_stacks_and_is_caught_up_with(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    """The first fields' records are made to say that a GPU analysed them; there is none when the night goes on."""
    config = write_configuration(tmp_path)
    run, dataset = tmp_path / "run", tmp_path / "run" / "dataset"
    lamelle("scan", config, "--run", run, crash="journalled|2|all")
    say_that_a_gpu_analysed(run / "journal.sqlite", dataset / "catalog.sqlite")
    resumed = lamelle("scan", config, "--run", run, "--resume")
    assert resumed.returncode == Exit.SKIPPED, resumed.stderr
    summary = summarise(run)
    assert summary.complete
    assert summary.not_analysed == 4
    # Whether it can be kept awake is the computer's own affair.
    told = [event.name for event in summary.events if event.name not in ("not kept awake", "night resumed")]
    assert told == ["calibration", "detector", "detector lost"]
    with Dataset.open(run) as kept:
        raw = [field for field in kept.fields() if isinstance(field, FieldSecured) and not field.analysed]
        assert {(field.slide, field.field) for field in raw} == {(1, 3), (2, 1), (2, 2), (2, 3)}
        assert all(
            [file.name for file in field.files]
            == [field_file(field.slide, field.field, "raw"), picture_file(field.slide, field.field)]
            for field in raw
        )
        first_z_um = {(field.slide, field.field): field.first_z_um for field in raw}
    assert first_z_um == {place: undisturbed[1][place][0] for place in first_z_um}

    killed = lamelle("analyse", run, crash="file without catalog|2|all")
    assert killed.returncode not in Exit.__members__.values()
    assert summarise(run).not_analysed == 3
    out = io.StringIO()
    assert catch_up(run, None, 1, Console(file=out)) == Exit.COMPLETE
    assert "3 of 3 fields" in out.getvalue()
    assert digest(run) == undisturbed[1]
    summary = summarise(run)
    assert (summary.complete, summary.not_analysed, summary.gaps, summary.duplicates) == (True, 0, 0, 0)
    with Dataset.open(run) as caught_up:
        assert caught_up.verify() == []
        for slide in (1, 2):
            table = pq.read_table(dataset / f"slide-{slide}" / "objects.parquet")
            assert table == caught_up.objects(slide)
            assert table.num_rows == sum(undisturbed[1][slide, field][1] for field in (1, 2, 3))
    assert not living(run)
    assert not living(dataset)


def say_that_a_gpu_analysed(*databases: Path) -> None:
    for path in databases:
        with closing(sqlite3.connect(path)) as database, database:
            for seq, body in database.execute("SELECT seq, body FROM records WHERE kind = 'field'").fetchall():
                told = encode(msgspec.structs.replace(decode(body), device="cuda"))
                database.execute("UPDATE records SET body = ? WHERE seq = ?", (told, seq))


def test_a_run_folder_belongs_to_one_night(undisturbed: tuple[Path, Digest], tmp_path: Path) -> None:
    run = undisturbed[0]
    config = run.parent / "night.yaml"
    taken = lamelle("scan", config, "--run", run)
    assert taken.returncode == Exit.REFUSED
    assert "holds another night" in taken.stderr
    changed = tmp_path / "changed.yaml"
    changed.write_text(config.read_text(encoding="utf-8").replace("fields: 3", "fields: 4"), encoding="utf-8")
    refused = lamelle("scan", changed, "--run", run, "--resume")
    assert refused.returncode == Exit.REFUSED
    assert "scan.fields is 4" in refused.stderr


def test_a_night_keeps_its_samples(tmp_path: Path) -> None:
    config = write_configuration(tmp_path, slides=1, fields=1)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("position,sample\n1,before\n", encoding="utf-8")
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(str(CONFIGS / "samples.csv"), str(sheet)), encoding="utf-8")
    run = tmp_path / "run"
    assert lamelle("scan", config, "--run", run).returncode == Exit.COMPLETE
    sheet.write_text("position,sample\n1,after\n", encoding="utf-8")
    refused = lamelle("scan", config, "--run", run, "--resume")
    assert refused.returncode == Exit.REFUSED
    assert "scan.samples" in refused.stderr


def test_nothing_is_left_of_a_complete_night_but_its_records(undisturbed: tuple[Path, Digest]) -> None:
    run = undisturbed[0]
    assert not [path for path in (run / "spool").rglob("*") if path.is_file()]
    journal = Journal.open(run / "journal.sqlite")
    try:
        assert journal.acknowledged() == journal.last_seq()
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("low_um", "density", "event", "status"),
    [
        pytest.param(-3.5, 1.0, "focus out of reach", Exit.COMPLETE, marks=pytest.mark.long),
        (-5.5, 3.0, "slide left", Exit.SKIPPED),
    ],
)
def test_a_mini_slide_whose_focus_is_out_of_reach_is_told_and_left(
    tmp_path: Path, low_um: float, density: float, event: str, status: Exit
) -> None:
    """The surface lies near -6.8 um. Far above it only what stands tall is seen; near it stack after stack ends low."""
    emulation, focus = {"density": density}, {"blank_fields_leave_slide": 3}
    config = write_configuration(tmp_path, slides=1, fields=6, emulation=emulation, focus=focus)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["scan"]["slides"][0]["z_window_um"] = {"low": low_um, "high": 20}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = tmp_path / "run"
    done = lamelle("scan", config, "--run", run)
    assert done.returncode == status, done.stderr
    summary = summarise(run)
    assert ("warning", event) in [(told.level, told.name) for told in summary.events]
    assert summary.complete
