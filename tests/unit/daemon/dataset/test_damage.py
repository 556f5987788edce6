"""What cannot be read is told in one sentence that names the file and the remedy, whatever reads it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

import lamelle
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.recorder.session import Reception
from daemon.report.report import report
from daemon.run_folder.journal import Journal
from daemon.system.errors import DamagedFile, JournalDamaged, LamelleError, Refused
from daemon.system.process_table import read_processes
from tests.support import small_night as night
from tests.support.small_dataset import make_dataset

Damage = Callable[[sqlite3.Connection], object]


def record_of(kind: str, change: Callable[[dict[str, Any]], bytes | dict[str, Any]]) -> Damage:
    """Change the first record of a kind."""

    def damage(database: sqlite3.Connection) -> None:
        query = "SELECT seq, body FROM records WHERE kind = ? ORDER BY seq LIMIT 1"
        seq, body = database.execute(query, (kind,)).fetchone()
        changed = change(msgspec.msgpack.decode(body))
        told = changed if isinstance(changed, bytes) else msgspec.msgpack.encode(changed)
        database.execute("UPDATE records SET body = ? WHERE seq = ?", (told, seq))

    return damage


DAMAGES: dict[str, Damage] = {
    "started is garbage": record_of("night_started", lambda _: b"xx"),
    "started lacks a key": record_of("night_started", lambda d: {k: v for k, v in d.items() if k != "samples"}),
    "field is cut off": record_of("field", lambda d: msgspec.msgpack.encode(d)[:60]),
    "field lacks a key": record_of("field", lambda d: {k: v for k, v in d.items() if k != "objects"}),
    "field is of another mini-slide": record_of("field", lambda d: d | {"slide": 7}),
    "event has an unknown end": record_of("event", lambda d: d | {"by": "cat"}),
    "no table of objects": lambda database: database.execute("DROP TABLE objects"),
    "no table of samples": lambda database: database.execute("DROP TABLE samples"),
    "columns are no JSON": lambda database: database.execute("UPDATE samples SET columns = '[1' WHERE slide = 1"),
}


def open_databases(folder: Path) -> list[str]:
    """Name the files of databases in a folder that this process holds open."""
    held = (Path(one.path) for one in psutil.Process().open_files())
    return [file.name for file in held if folder in file.parents]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_catalog_is_named_by_everyone(tmp_path: Path, damage: Damage) -> None:
    make_dataset(tmp_path, slides=1, fields=2)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as database:
        damage(database)
    readers: list[Callable[[], object]] = [
        lambda: summarise(tmp_path),
        lambda: report(tmp_path, tmp_path / "r.html", None),
        lambda: lamelle.open(tmp_path).samples(),
    ]
    for read in readers:
        with pytest.raises(DamagedFile, match=r"catalog\.sqlite .*; restore it from a copy$"):
            read()


def test_a_recorder_that_cannot_read_its_catalog_says_so(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as database:
        DAMAGES["no table of objects"](database)
    # Whoever is told holds the error, and with it everything on the way: nothing closes by itself.
    with pytest.raises(LamelleError, match="restore it from a copy") as _told:
        Reception(tmp_path)
    assert open_databases(tmp_path) == []


@pytest.mark.parametrize("change", [lambda _: os.urandom(50), lambda d: d | {"slide": 7}])
def test_a_damaged_journal_is_named_with_its_remedy(
    tmp_path: Path, change: Callable[[dict[str, Any]], bytes | dict[str, Any]]
) -> None:
    with closing(Journal.create(tmp_path / "journal.sqlite", night.started())) as journal:
        journal.append(night.secured(1, 1, ()))
    with closing(sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)) as database:
        record_of("field", change)(database)
    with closing(Journal.open(tmp_path / "journal.sqlite")) as journal:
        reads: list[Callable[[], object]] = [lambda: journal.slide_fields(1), lambda: list(journal.records())]
        for read in reads:
            with pytest.raises(JournalDamaged, match=r"journal\.sqlite holds .*; restore it from a copy$"):
                read()
    if change({}) != {"slide": 7}:
        with pytest.raises(JournalDamaged, match="restore it from a copy"):
            Dataset.of_journal(tmp_path)


def test_a_folder_without_a_dataset_says_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(Refused, match=r"holds no dataset of a night; name a dataset, or the run folder"):
            Dataset.open(folder)


def test_a_process_table_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('{"a"')
    with pytest.raises(DamagedFile, match=r"processes\.json cannot be read .*; end what still runs"):
        read_processes(tmp_path)
