"""What a full disk leaves behind, and how it is told, by whatever writes there."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from daemon.system.durable_files import disk_full, replacing
from tests.support.small_disk import fill, small_disk


@pytest.mark.parametrize(
    "write",
    [lambda stream: stream.write(bytes(1 << 16)), lambda stream: np.zeros(1 << 16).tofile(stream)],
    ids=["python", "numpy"],
)
def test_a_full_disk_is_told_with_the_file_and_leaves_the_one_before(
    write: Callable[[BinaryIO], object], tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        (disk / "table").write_bytes(b"before")
        fill(disk)
        with pytest.raises(OSError, match="No space left") as refused, replacing(disk / "table") as stream:
            write(stream)
        assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(disk / "table"))
        assert (disk / "table").read_bytes() == b"before"
        assert not (disk / "table.part").exists()


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="image file is truncated") as kept, replacing(tmp_path / "table"):
        raise OSError("image file is truncated")
    assert kept.value.filename is None
    assert not disk_full(kept.value)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_has_no_room_is_known_from_one_that_is_wrong(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as database:
        database.execute("PRAGMA max_page_count = 3")
        database.execute("CREATE TABLE a (b)")
        with pytest.raises(sqlite3.OperationalError) as full:
            database.execute("INSERT INTO a VALUES (?)", (bytes(1 << 16),))
        with pytest.raises(sqlite3.OperationalError) as wrong:
            database.execute("SELECT c FROM a")
    assert disk_full(full.value)
    assert not disk_full(wrong.value)
