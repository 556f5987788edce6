"""Reading a catalog: whatever it holds that cannot be read is told in one sentence, with the file and the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from daemon.records.flags import FieldFlag
from daemon.records.records import AnyRecord, decode, slides_of
from daemon.system.durable_sqlite import Database
from daemon.system.errors import DamagedFile

_DAMAGE = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite says of a table that is missing or of pages that are none; that it is busy or full is no damage."""


def query(database: Database, statement: str, parameters: tuple[object, ...] = ()) -> Iterator[Any]:
    """Give the rows of a statement that reads.

    Raises
    ------
    DamagedFile
        A table is missing or cannot be read.
    """
    try:
        # Not `yield from`, which would close the cursor of a reader that gave up, perhaps after its database.
        for row in database.execute(statement, parameters):  # noqa: UP028
            yield row
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", -1) & 0xFF not in _DAMAGE:
            raise
        raise damaged(database, f"cannot be read ({error})") from error


def read_record(database: Database, seq: int, body: bytes, slides: Collection[int] | None = None) -> AnyRecord:
    """Decode a record.

    Parameters
    ----------
    slides
        the mini-slides of the plan, if they are known.

    Raises
    ------
    DamagedFile
        It is none, or of a mini-slide that is not in the plan.
    """
    try:
        record = decode(body)
    except msgspec.DecodeError as error:
        raise damaged(database, f"holds a record {seq} that cannot be read ({error})") from error
    stray = set() if slides is None else slides_of(record) - set(slides)
    if stray:
        raise damaged(database, f"holds a record {seq} of mini-slide {min(stray)}, which the night does not plan")
    return record


def read_columns(database: Database, slide: int, text: str) -> dict[str, str]:
    """Decode the columns of a mini-slide's sample.

    Raises
    ------
    DamagedFile
        They are none.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise damaged(database, f"holds columns of mini-slide {slide} that cannot be read ({error})") from error


def read_flags(database: Database, text: str) -> tuple[FieldFlag, ...]:
    """Decode the flags of a field.

    Raises
    ------
    DamagedFile
        They are none.
    """
    try:
        return msgspec.json.decode(text, type=tuple[FieldFlag, ...])
    except msgspec.DecodeError as error:
        raise damaged(database, f"holds flags of a field that cannot be read ({error})") from error


def damaged(database: Database, what: str) -> DamagedFile:
    """Return the error of a catalog that is not what it should be."""
    return DamagedFile(f"{database.path} {what}; restore it from a copy")
