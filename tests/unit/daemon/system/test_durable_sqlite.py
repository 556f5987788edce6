"""A database that is at rest is one file, and can be read wherever it was copied to."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.system.durable_sqlite import Format, connect, create, settle
from daemon.system.errors import Refused
from tests.support.small_disk import remount, small_disk

NUMBERS = Format(name="list", application=1, version=1, schema="CREATE TABLE numbers (n INTEGER)")
NAME = "numbers.sqlite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    created = tmp_path / "here" / NAME
    create(created, NUMBERS)
    return created


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def numbers(path: Path) -> list[int]:
    with closing(connect(path, NUMBERS, read_only=True)) as database:
        return [n for (n,) in database.execute("SELECT n FROM numbers ORDER BY n")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=2) as mounted:
        yield mounted


def test_a_settled_database_is_one_file_which_plain_sqlite_reads_and_leaves_alone(path: Path) -> None:
    with closing(connect(path, NUMBERS)) as database:
        database.execute("INSERT INTO numbers VALUES (1)")
        assert files(path.parent) == [NAME, f"{NAME}-shm", f"{NAME}-wal"]
        settle(database)
        assert files(path.parent) == [NAME]
        database.execute("INSERT INTO numbers VALUES (2)")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as plain:
        assert plain.execute("SELECT count(*) FROM numbers").fetchone() == (2,)
        assert files(path.parent) == [NAME]
    before = path.read_bytes()
    connect(path, NUMBERS, log=False).close()
    assert path.read_bytes() == before
    with closing(connect(path, NUMBERS)) as database:
        database.execute("INSERT INTO numbers VALUES (3)")
        assert numbers(path) == [1, 2, 3]


def test_whoever_reads_keeps_the_log_and_loses_nothing(path: Path) -> None:
    with closing(connect(path, NUMBERS)) as database:
        with closing(connect(path, NUMBERS, read_only=True)) as reader:
            reader.execute("SELECT * FROM numbers").fetchall()
            settle(database, patience_s=0)
            assert f"{NAME}-wal" in files(path.parent)
            database.execute("INSERT INTO numbers VALUES (1)")
            assert reader.execute("SELECT n FROM numbers").fetchall() == [(1,)]
        settle(database)
    settle(database)
    assert files(path.parent) == [NAME]
    assert numbers(path) == [1]


@pytest.mark.parametrize("log", [None, b""], ids=["no log", "an empty log"])
def test_a_copy_in_wal_mode_is_read_where_nothing_can_be_written(path: Path, log: bytes | None, disk: Path) -> None:
    with closing(connect(path, NUMBERS)) as database:
        database.execute("INSERT INTO numbers VALUES (1)")
    copy = Path(shutil.copy(path, disk))
    if log is not None:
        (disk / f"{NAME}-wal").write_bytes(log)
    remount(disk, "ro")
    assert numbers(copy) == [1]


def test_a_log_that_cannot_be_taken_in_is_told(path: Path, disk: Path) -> None:
    with closing(connect(path, NUMBERS)) as database:
        database.execute("INSERT INTO numbers VALUES (1)")
        for file in path.parent.glob(f"{NAME}*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, disk)
    copy = disk / NAME
    remount(disk, "ro")
    with pytest.raises(Refused, match=r"numbers\.sqlite was not closed properly; copy its folder to a place that can"):
        numbers(copy)
    with pytest.raises(Refused, match="copy its folder to where it may be written"):
        connect(copy, NUMBERS)
    remount(disk, "rw")
    assert numbers(copy) == [1]
