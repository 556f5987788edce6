"""Datasets that earlier versions left behind are whole, and open as they are."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import lamelle
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.records import NAMED, FieldSecured
from daemon.run_folder.journal import Journal
from tests.support.places import ROOT

CATALOG_5 = ROOT / "tests" / "fixtures" / "0.2.0-catalog-5" / "complete"
"""A night of two fields, with one object, from before objects had names."""


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "dataset" / "catalog.sqlite")) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def test_a_night_from_before_names_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(CATALOG_5, run)
    summary = summarise(run)
    assert (summary.complete, summary.gaps, summary.duplicates, summary.objects) == (True, 0, 0, 1)
    with Dataset.open(run) as dataset:
        assert dataset.verify() == []
        secured = [field for field in dataset.fields() if isinstance(field, FieldSecured)]
        night = dataset.night()
    assert night is not None
    assert (night.taxonomy, night.named_by) == ("", "")
    (row,) = (row for field in secured for row in field.objects if row.counted)
    assert row.length_um is not None
    assert {getattr(row, name) for name in NAMED} == {None}
    table = lamelle.open(run).objects()
    assert table["taxon"].to_pylist() == [None]
    assert table["length_um"].to_pylist() == [row.length_um]
    assert version(run) == 5


def test_whoever_writes_it_makes_it_one_of_today(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(CATALOG_5, run)
    with closing(Catalog(run / "dataset")) as catalog:
        assert catalog.night_closed()
        assert catalog.counted() == 1
    assert version(run) == 7
    assert summarise(run).complete
    with closing(Journal.open(run / "journal.sqlite")) as journal:
        assert journal.night_closed()
