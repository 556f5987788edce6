"""SQLite files that survive a power cut: created whole, committed durably, refused when they are not ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon.system.durable_files import PART_SUFFIX, make_folder, sync_folder
from daemon.system.errors import Refused

BUSY_S = 30.0


class Database(sqlite3.Connection):
    """A connection that knows which file it reads, a copy of it in memory too."""

    path: Path | None = None


@dataclass(frozen=True)
class Format:
    """What a database file says of itself: the SQLite application id and user version, and its tables.

    `upgrades` make the next version of an older one, by the older one's number: statements, or what carries them out.
    """

    name: str
    application: int
    version: int
    schema: str
    upgrades: Mapping[int, str | Callable[[Database], None]] = field(default_factory=dict)


def create(path: Path, form: Format, fill: Callable[[sqlite3.Connection], None] | None = None) -> None:
    """Create a database that takes its name only once its tables and first rows are complete and synced.

    Raises
    ------
    Refused
        Something of that name is there already.
    """
    if path.exists():
        raise Refused(f"{path} is there already; resume with it or choose another folder")
    make_folder(path.parent)
    part = path.with_name(path.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(part, isolation_level=None)) as database:
        # Nobody sees the part before it is whole, so it needs no rollback journal.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute(f"PRAGMA application_id = {form.application}")
        database.execute(f"PRAGMA user_version = {form.version}")
        database.executescript(form.schema)
        if fill is not None:
            fill(database)
    with part.open("r+b") as stream:
        os.fsync(stream.fileno())
    # A write-ahead log left by a deleted database of this name would be replayed into the new one.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    part.replace(path)
    sync_folder(path.parent)


def connect(path: Path, form: Format, *, read_only: bool = False) -> Database:
    """Open a database of the given format; commits are durable (WAL, synchronous=FULL). One connection a thread.

    One of an older version that can be upgraded is upgraded in place; where it is only read, a copy in memory is.

    Raises
    ------
    Refused
        The file is missing, unreadable, not of this format or of a version that cannot be upgraded.
    """
    if not path.is_file():
        raise Refused(f"{path} does not exist; name a folder that holds a lamelle {form.name}")
    mode = "mode=ro" if read_only else "mode=rw"
    if read_only and not os.access(path.parent, os.W_OK):
        # On read-only media SQLite can keep no index of the write-ahead log, so there must be nothing in that.
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise Refused(f"{path} was not closed properly; copy its folder to a place that can be written to")
        mode = "immutable=1"
    uri = f"{path.resolve().as_uri()}?{mode}"
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, factory=Database)
    database.path = path
    try:
        found = (_pragma(database, "application_id"), _pragma(database, "user_version"))
        if found[0] != form.application:
            raise Refused(f"{path} is not a lamelle {form.name}; name a folder that holds one")
        if found[1] != form.version and found[1] not in form.upgrades:
            raise Refused(
                f"{path} is a {form.name} of version {found[1]}, this program reads version {form.version}; "
                "open it with the version of lamelle that wrote it"
            )
        if not read_only:
            if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise Refused(f"{path} lies on a file system that cannot keep a write-ahead log; use a local disk")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            # A process killed within a commit leaves a log that can be read and was never synced: sync it before anyone
            # acts on what it says.
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if found[1] != form.version:
            database = _copied(database) if read_only else database
            _upgrade(database, form, found[1])
    except sqlite3.DatabaseError as error:
        database.close()
        remedy = "make room" if _is_full(error) else "restore it from a copy"
        raise Refused(f"{path} cannot be read as a lamelle {form.name} ({error}); {remedy}") from error
    except BaseException:
        database.close()
        raise
    return database


def in_memory(path: Path | None) -> Database:
    """Open an empty database in memory, for what lies in the file `path`."""
    database = sqlite3.connect(":memory:", isolation_level=None, factory=Database)
    database.path = path
    return database


def _copied(database: Database) -> Database:
    """Copy a database into memory, and close it."""
    copy = in_memory(database.path)
    try:
        with closing(database):
            database.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _upgrade(database: Database, form: Format, found: int) -> None:
    with transaction(database):
        for version in range(found, form.version):
            upgrade = form.upgrades[version]
            if callable(upgrade):
                upgrade(database)
                continue
            for statement in upgrade.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {form.version}")


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


def _pragma(database: sqlite3.Connection, name: str) -> int:
    value: int = database.execute(f"PRAGMA {name}").fetchone()[0]
    return value


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One durable transaction: all of it is on the disk afterwards, or none."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
