"""SQLite files that survive a power cut: created whole, committed durably, refused when they are not ours."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from daemon.system.durable_files import PART_SUFFIX, make_folder, sync_folder
from daemon.system.errors import Refused

BUSY_S = 30.0
SETTLE_S = 2.0
"""How long a database waits for those who happen to read it before it is left with its write-ahead log."""


_LOOK = "SELECT 1 FROM sqlite_master"
_REMEDIES = {
    sqlite3.SQLITE_FULL: "make room",
    sqlite3.SQLITE_BUSY: "wait until nobody else uses it",
    sqlite3.SQLITE_READONLY: "copy its folder to where it may be written",
    sqlite3.SQLITE_CANTOPEN: "copy its folder to where it may be written",
}

_log = logging.getLogger(__name__)


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
    # A log left by a deleted database of this name would be replayed into the new one.
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    part.replace(path)
    sync_folder(path.parent)


def connect(path: Path, form: Format, *, read_only: bool = False, log: bool = True) -> Database:
    """Open a database of the given format; commits are durable (synchronous=FULL). One connection a thread.

    One of an older version that can be upgraded is upgraded in place; where it is only read, a copy in memory is.

    Parameters
    ----------
    log
        whether commits go into a write-ahead log from now on; else they do as they did.

    Raises
    ------
    Refused
        The file is missing, unreadable, not of this format or of a version that cannot be upgraded.
    """
    if not path.is_file():
        raise Refused(f"{path} does not exist; name a folder that holds a lamelle {form.name}")
    if not read_only and not os.access(path, os.W_OK):
        raise Refused(f"{path} cannot be written; copy its folder to where it may be written")
    database = _open_to_read(path) if read_only else _open(path, "mode=rw")
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
            if log:
                keep_log(database)
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
        remedy = _REMEDIES.get(error.sqlite_errorcode & 0xFF, "restore it from a copy")
        raise Refused(f"{path} cannot be read as a lamelle {form.name} ({error}); {remedy}") from error
    except BaseException:
        database.close()
        raise
    return database


def keep_log(database: Database) -> None:
    """Let commits go into a write-ahead log, beside which others can read.

    Raises
    ------
    Refused
        The file system allows none.
    """
    if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise Refused(f"{database.path} lies on a file system that cannot keep a write-ahead log; use a local disk")


def settle(database: Database, patience_s: float = SETTLE_S) -> None:
    """Take in the write-ahead log and do without one, so that the file alone is everything, on read-only media too.

    Where somebody else has the database open for longer than `patience_s`, or the disk has no room, it stays as it is;
    so does one that is closed.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            database.execute("PRAGMA journal_mode = DELETE")
            return
        except sqlite3.ProgrammingError:
            return
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                _log.info("%s keeps its write-ahead log (%s)", database.path, error)
                return
        # A mode is changed at once or not at all: SQLite waits for nobody here.
        time.sleep(0.05)


def in_memory(path: Path | None) -> Database:
    """Open an empty database in memory, for what lies in the file `path`."""
    database = sqlite3.connect(":memory:", isolation_level=None, factory=Database)
    database.path = path
    return database


def _open(path: Path, options: str) -> Database:
    uri = f"{path.resolve().as_uri()}?{options}"
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, factory=Database)
    database.path = path
    return database


def _open_to_read(path: Path) -> Database:
    """Open a database to read it, also where nothing can be written.

    Raises
    ------
    Refused
        What was committed last is in a log beside it, which cannot be taken in there.
    """
    if path.with_name(path.name + "-journal").exists():
        # The log was given up just when process or computer ended; SQLite takes that back where it may write.
        with suppress(sqlite3.OperationalError), closing(_open(path, "mode=rw")) as writer:
            writer.execute(_LOOK).fetchone()
    database = _open(path, "mode=ro")
    try:
        database.execute(_LOOK).fetchone()
        return database
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return database  # whose first use says what is wrong with it
    except sqlite3.DatabaseError:
        return database
    database.close()
    # On read-only media SQLite can keep no index of a write-ahead log: there must be nothing in one.
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    if any(log.exists() and log.stat().st_size for log in logs):
        raise Refused(f"{path} was not closed properly; copy its folder to a place that can be written to")
    return _open(path, "immutable=1")


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
