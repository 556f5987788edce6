"""The catalog of a dataset, as its recorder writes it: one durable transaction a record."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from daemon.dataset.catalog_format import FORMAT
from daemon.dataset.catalog_rows import make_room, opened_again, store
from daemon.dataset.faults import miscounted
from daemon.dataset.objects_table import COUNTED, JOINED, remove_objects_table, table_fault, write_objects_table
from daemon.dataset.queries import query, read_record
from daemon.records.attempts import AttemptName
from daemon.records.names import CATALOG
from daemon.records.records import AttemptsOrdered, Event, NightClosed, NightStarted, SlideClosed, decode
from daemon.system.durable_sqlite import Database, connect, create, keep_log, settle, transaction
from daemon.system.durable_sqlite import in_memory as empty_in_memory
from daemon.system.errors import Refused

LOCK = "recorder.lock"
"""Whoever writes into a dataset holds this file there."""


class Catalog:
    """What a dataset holds. A record stands in it only once its files lie durably in the dataset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / CATALOG
        if not path.exists():
            create(path, FORMAT)
        # A night that is closed is mostly opened to find that there is nothing to do: that leaves every byte as it was.
        self._database = connect(path, FORMAT, log=False)
        try:
            if not self.night_closed():
                keep_log(self._database)
        except BaseException:
            self._database.close()
            raise

    def night(self) -> str | None:
        """Name the night the dataset is bound to; None until its first record."""
        row = self._database.execute("SELECT night FROM night").fetchone()
        return None if row is None else str(row[0])

    def last_seq(self) -> int:
        """Give the number of the last record; 0 for none."""
        return int(self._database.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    def received(self) -> int:
        """Give the number of the night's last record; what was found after the night was closed follows it."""
        query = "SELECT seq FROM records WHERE kind != 'analysed' ORDER BY seq DESC LIMIT 1"
        row = self._database.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def body(self, seq: int) -> bytes | None:
        """Give the bytes of a record, or None."""
        row = self._database.execute("SELECT body FROM records WHERE seq = ?", (seq,)).fetchone()
        return None if row is None else bytes(row[0])

    def digest(self) -> str | None:
        """Hex sha256 of the bytes of the night's last record, or None."""
        body = self.body(self.received())
        return None if body is None else hashlib.sha256(body).hexdigest()

    def started(self) -> NightStarted | None:
        """Give the record the dataset begins with; None until it is there."""
        body = self.body(1)
        record = None if body is None else read_record(self._database, 1, body)
        return record if isinstance(record, NightStarted) else None

    def states(self) -> dict[tuple[int, int], str]:
        """Say what became of the fields: (slide, field) to "recorded" or "skipped"."""
        rows = self._database.execute("SELECT slide, field, state FROM fields")
        return {(slide, field): state for slide, field, state in rows}

    def events(self) -> list[Event]:
        """List what a person should know."""
        rows = query(self._database, "SELECT seq, body FROM records WHERE kind = 'event' ORDER BY seq")
        records = (read_record(self._database, seq, body) for seq, body in rows)
        return [record for record in records if isinstance(record, Event)]

    def counted(self) -> int:
        """Return how many objects count."""
        query = f"SELECT count(*) {JOINED} WHERE {COUNTED}"
        return int(self._database.execute(query).fetchone()[0])

    def analysed_later(self) -> list[int]:
        """List the slides with fields whose objects were found after they were recorded."""
        rows = self._database.execute("SELECT DISTINCT slide FROM fields WHERE analysed_seq != seq ORDER BY slide")
        return [slide for (slide,) in rows]

    def planned(self) -> dict[int, int]:
        """Fields planned on each slide."""
        return dict(query(self._database, "SELECT slide, planned FROM samples"))

    def attempt_seq(self, slide: int, field: int, attempt: int) -> int | None:
        """Give the number of the record of an attempt at a field, or None."""
        query = "SELECT seq FROM attempts WHERE slide = ? AND field = ? AND attempt = ?"
        row = self._database.execute(query, (slide, field, attempt)).fetchone()
        return None if row is None else int(row[0])

    def ordered(self, slide: int, field: int, attempt: int) -> bool:
        """Whether a further attempt at a field was ordered."""
        rows = query(self._database, "SELECT seq, body FROM records WHERE kind = 'attempts_ordered'")
        orders = (read_record(self._database, seq, body) for seq, body in rows)
        name = AttemptName(slide, field, attempt)
        return any(name in order.attempts for order in orders if isinstance(order, AttemptsOrdered))

    def closed(self, slide: int) -> bool:
        """Whether a slide is closed."""
        row = self._database.execute("SELECT closed_utc FROM samples WHERE slide = ?", (slide,)).fetchone()
        return row is not None and row[0] is not None

    def night_closed(self) -> bool:
        """Whether the night is complete."""
        return self._database.execute("SELECT 1 FROM night WHERE closed_utc IS NOT NULL").fetchone() is not None

    def commit(self, seq: int, body: bytes) -> None:
        """Store record `seq` and what it says, durably.

        The table of a slide that is closed is written before, that of one that is opened again removed. Once the night
        is closed the catalog does without a write-ahead log: it can be copied, and read where nothing can be written.

        Raises
        ------
        sqlite3.IntegrityError
            The record contradicts what is there, such as a field that is held already.
        """
        record = decode(body)
        keep_log(self._database)
        if isinstance(record, SlideClosed):
            write_objects_table(self._folder, self._database, record.slide)
        for slide in opened_again(record):
            remove_objects_table(self._folder, slide)
        with transaction(self._database) as database:
            make_room(database, seq)
            database.execute("INSERT INTO records VALUES (?, ?, ?)", (seq, record.__struct_config__.tag, body))
            store(database, seq, record)
        if isinstance(record, NightClosed):
            settle(self._database)

    def mend_tables(self) -> list[tuple[int, str]]:
        """Write the table of a closed slide anew where it is missing, damaged or stale; returns slides and why.

        A catalog that contradicts its own records writes none: what is there may be right.
        """
        closed = filter(self.closed, self.planned())
        faulty = [(slide, what) for slide in closed if (what := table_fault(self._folder, self._database, slide))]
        if not faulty or miscounted(self._database):
            return []
        for slide, _ in faulty:
            write_objects_table(self._folder, self._database, slide)
        return faulty

    @property
    def database(self) -> Database:
        """The connection, for reading."""
        return self._database

    def close(self) -> None:
        """Let go of the file, without a write-ahead log where nobody else reads it; may be called again."""
        settle(self._database)
        self._database.close()


def in_memory(path: Path, records: Iterable[tuple[int, bytes]]) -> Database:
    """Make a catalog in memory of the numbered records of a file, such as a journal whose recorder is elsewhere."""
    database = empty_in_memory(path)
    try:
        database.executescript(FORMAT.schema)
        with transaction(database):
            for seq, body in records:
                record = decode(body)
                database.execute("INSERT INTO records VALUES (?, ?, ?)", (seq, record.__struct_config__.tag, body))
                store(database, seq, record)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def only_recorder_of(into: Path) -> Iterator[None]:
    """Hold a dataset's lock, which the operating system lets go of when the process ends, however it ends.

    Raises
    ------
    Refused
        Another process holds it, or nothing can be written there.
    """
    with ExitStack() as held:
        try:
            lock = held.enter_context(closing(sqlite3.connect(into / LOCK, timeout=0, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise Refused(f"{into} cannot be written to ({error}); copy it to where it may be written") from error
            reason = f"{into} is in use by another recorder, or by a command that writes there"
            raise Refused(f"{reason}; stop it or choose another folder") from error
        yield
