"""A night that is over, on media where nothing can be written: it is read, and what would write says where to."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

import lamelle
from daemon.cli import app
from daemon.dataset.catalog import Catalog, only_recorder_of
from daemon.dataset.later_tables import measured_with
from daemon.dataset.summary import summarise
from daemon.exchange.objects import extract
from daemon.figures.choice import ObjectChoice
from daemon.figures.plots import plot
from daemon.reprocessing.measure import measure_again
from daemon.system.errors import Refused
from tests.support.small_dataset import make_dataset
from tests.support.small_disk import remount, small_disk

QUIET = Console(quiet=True)


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        make_dataset(disk / "dataset", slides=1, fields=1)
        remount(disk, "ro")
        yield disk / "dataset"


def test_it_is_read(dataset: Path, tmp_path: Path) -> None:
    assert [file.name for file in dataset.glob("catalog.sqlite*")] == ["catalog.sqlite"]
    assert summarise(dataset).objects > 0
    assert extract(dataset, tmp_path / "objects", ObjectChoice(), ["png"]) > 0
    nights = lamelle.open(str(dataset))
    (first, *_) = nights.objects().to_pylist()
    assert nights.stack(first).pixels.size > 0
    with closing(sqlite3.connect(f"{(dataset / 'catalog.sqlite').as_uri()}?mode=ro", uri=True)) as plain:
        assert plain.execute("SELECT count(*) FROM objects").fetchone() > (0,)


def test_what_would_write_there_names_the_option_for_another_place(dataset: Path, tmp_path: Path) -> None:
    elsewhere = "name another place with --into"
    with pytest.raises(Refused, match=rf"plots cannot be written \(.*\); {elsewhere}"):
        plot(dataset, None, None, QUIET)
    with pytest.raises(Refused, match=rf"dataset cannot be written \(.*\); {elsewhere}"):
        measure_again(dataset, QUIET)
    with pytest.raises(Refused, match=rf"cannot be written \(.*\); {elsewhere}"):
        extract(dataset, dataset.parent / "objects", ObjectChoice())
    with pytest.raises(Refused, match=r"catalog\.sqlite .*copy its folder to where it may be written"):
        Catalog(dataset)
    with pytest.raises(Refused, match=r"dataset cannot be written to .*; copy it to where"), only_recorder_of(dataset):
        pass
    again = measure_again(dataset, QUIET, into=tmp_path / "measured")
    assert measured_with(tmp_path / "measured" / "slide-1" / "measured-001.parquet").number == again.number == 1


def test_a_place_that_cannot_be_written_ends_a_command_with_one_sentence(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.excepthook", sys.excepthook)  # typer leaves one of its own there
    monkeypatch.setattr("sys.argv", ["lamelle", "inspect", str(dataset), "--sheet", str(dataset / "sheet.png")])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("lamelle: ")
    assert "sheet.png" in told
    assert "name another place" in told
