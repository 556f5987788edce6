"""The journal: which fields of the night are secured, in one durable sequence; `--resume` goes by it alone."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import msgspec

from daemon.records.attempts import AttemptName, supersedes
from daemon.records.names import attempt_of, field_file, field_of
from daemon.records.records import (
    AnyRecord,
    AttemptsOrdered,
    Event,
    FieldAnalysed,
    FieldSecured,
    FieldSkipped,
    NightClosed,
    NightStarted,
    SlideClosed,
    decode,
    encode,
    slides_of,
)
from daemon.system.durable_sqlite import Database, Format, connect, create, settle, transaction
from daemon.system.errors import JournalDamaged

_FORMAT = Format(
    name="journal",
    application=0x4C4D4A31,
    version=3,
    schema="""
        CREATE TABLE records (
            seq INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            slide INTEGER,
            field INTEGER,
            once TEXT UNIQUE,
            body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE delivery (acknowledged INTEGER NOT NULL) STRICT;
        INSERT INTO delivery VALUES (0);
    """,
    # The tables are the same: since version 2 records of events and of skipped fields have more keys, since version 3
    # those of fields, and there are further attempts.
    upgrades={1: "", 2: ""},
)


CLOSED, ORDERED = "night closed", "attempts ordered"
"""With what the words of records begin that close the night, and open it again."""
NOTED_EVENTS = 1000
"""Events that wait in memory while the disk is full; then the oldest are dropped, and only the log has them."""


class Journal:
    """Records of one night, numbered from 1 without a gap, and how far the recorder has acknowledged them.

    A journal belongs to the thread that opened it; other threads open their own.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self._planned: dict[int, int] = {}
        self._noted: deque[Event] = deque(maxlen=NOTED_EVENTS)

    @classmethod
    def create(cls, path: Path, started: NightStarted) -> Journal:
        """Begin a night: the journal appears whole, with `started` as record 1, or not at all."""
        create(path, _FORMAT, lambda database: _insert(database, started))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal of a night.

        Raises
        ------
        Refused
            The file is missing, not a journal, or of another version.
        JournalDamaged
            The sequence has a hole, or acknowledges what it does not hold.
        """
        journal = cls(path, connect(path, _FORMAT))
        try:
            journal._verify()
            journal._planned = journal.started().planned
        except BaseException:
            journal.close()
            raise
        return journal

    def _verify(self) -> None:
        count, first, last = self._database.execute("SELECT count(*), min(seq), max(seq) FROM records").fetchone()
        if count == 0 or first != 1 or last != count:
            raise JournalDamaged(
                f"{self.path} holds {count} records numbered {first} to {last}; restore it from a copy"
            )
        if self.acknowledged() > last:
            raise JournalDamaged(
                f"{self.path} ends at record {last} but {self.acknowledged()} are acknowledged; restore it from a copy"
            )

    def append(self, *records: AnyRecord) -> int:
        """Add records in one durable transaction, after events that wait; returns the number of the last one.

        Raises
        ------
        JournalDamaged
            An attempt at a field is secured or skipped twice, a slide or the night closed twice without anything in
            between, or the night is closed and takes nothing but an order for further attempts.
        ValueError
            A field is not planned, or its files are not named after it.
        sqlite3.OperationalError
            The disk is full or fails; nothing was added, and it may be tried again.
        """
        with transaction(self._database) as database:
            for record in (*records, *self._noted) if self.night_closed() else (*self._noted, *records):
                if not isinstance(record, AttemptsOrdered) and self.night_closed():
                    raise JournalDamaged(f"{self.path} belongs to a closed night and takes no more records")
                self._admit(record)
                _insert(database, record)
        self._noted.clear()
        return self.last_seq()

    def note(self, event: Event) -> None:
        """Add an event; on a full disk it waits for the next record. A closed night takes none: the log has it."""
        self._noted.append(event)
        with suppress(sqlite3.OperationalError):
            if self.night_closed():
                self._noted.clear()
            else:
                self.append()

    def _admit(self, record: AnyRecord) -> None:
        """Refuse what no recorder could take, as long as something can be done about it."""
        if not isinstance(record, FieldSecured | FieldSkipped):
            return
        place = (record.slide, record.field)
        if not 1 <= record.field <= self._planned.get(record.slide, 0):
            raise ValueError(f"slide {record.slide} field {record.field} is not planned")
        if isinstance(record, FieldSecured):
            strangers = [
                file.name
                for file in record.files
                if field_of(file.name) != place or attempt_of(file.name) != record.attempt or file.size < 1
            ]
            if strangers:
                usual = field_file(*place, attempt=record.attempt)
                raise ValueError(f"{strangers} are empty or not named as files of {place} are, such as {usual}")

    def last_seq(self) -> int:
        """Give the number of the last record."""
        return int(self._database.execute("SELECT max(seq) FROM records").fetchone()[0])

    def started(self) -> NightStarted:
        """Give the record the night began with."""
        (body,) = self._database.execute("SELECT body FROM records WHERE seq = 1").fetchone()
        record = self._decode(body)
        if not isinstance(record, NightStarted):
            raise JournalDamaged(f"{self.path} does not begin with the start of a night; restore it from a copy")
        return record

    def done(self) -> dict[tuple[int, int], str]:
        """Say what became of fields, (slide, field) to "field" (secured) or "skipped", by the attempts that count."""
        rows = self._database.execute(
            "SELECT slide, field, kind FROM records WHERE kind IN ('field', 'skipped') ORDER BY kind DESC"
        )
        # Of a field with several attempts a complete one comes last.
        return {(slide, field): kind for slide, field, kind in rows}

    def records(self) -> Iterator[AnyRecord]:
        """Give every record, in order."""
        for (body,) in self._database.execute("SELECT body FROM records ORDER BY seq"):
            record = self._decode(body)
            if stray := slides_of(record) - self._planned.keys():
                told = f"a record of mini-slide {min(stray)}, which the night does not plan"
                raise JournalDamaged(f"{self.path} holds {told}; restore it from a copy")
            yield record

    def attempts(self, slide: int, field: int | None = None) -> list[FieldSecured | FieldSkipped]:
        """List what became of all attempts at fields of a slide, or at one of them, in their order."""
        rows = self._database.execute(
            "SELECT body FROM records WHERE kind IN ('field', 'skipped') AND slide = ? AND field = coalesce(?, field)"
            " ORDER BY seq",
            (slide, field),
        )
        records = [self._decode(body) for (body,) in rows]
        attempts = [record for record in records if isinstance(record, FieldSecured | FieldSkipped)]
        if stray := next((record for record in attempts if record.slide != slide), None):
            told = f"a record of mini-slide {stray.slide} field {stray.field} among those of mini-slide {slide}"
            raise JournalDamaged(f"{self.path} holds {told}; restore it from a copy")
        return attempts

    def slide_fields(self, slide: int, field: int | None = None) -> list[FieldSecured | FieldSkipped]:
        """List what became of the fields of a slide, or of one, so far, by field number: the attempts that count."""
        counting: dict[int, FieldSecured | FieldSkipped] = {}
        for record in self.attempts(slide, field):
            before = counting.get(record.field)
            complete = isinstance(record, FieldSecured)
            if supersedes(complete, None if before is None else isinstance(before, FieldSecured)):
                counting[record.field] = record
        return [counting[number] for number in sorted(counting)]

    def orders(self) -> list[AttemptsOrdered]:
        """List the orders for further attempts."""
        rows = self._database.execute("SELECT body FROM records WHERE kind = 'attempts_ordered' ORDER BY seq")
        records = (self._decode(body) for (body,) in rows)
        return [record for record in records if isinstance(record, AttemptsOrdered)]

    def due(self, slide: int) -> list[tuple[AttemptName, AttemptsOrdered]]:
        """List the attempts at fields of a slide that were ordered and not made yet, with their orders."""
        made = {(record.field, record.attempt) for record in self.attempts(slide)}
        return [
            (name, order)
            for order in self.orders()
            for name in order.attempts
            if name.slide == slide and (name.field, name.attempt) not in made
        ]

    def device(self) -> Literal["cpu", "cuda"] | None:
        """Return what the night's detector has run on; None before the first field was analysed."""
        rows = self._database.execute("SELECT body FROM records WHERE kind = 'field' ORDER BY seq DESC")
        records = (self._decode(body) for (body,) in rows)
        known = next((one.device for one in records if isinstance(one, FieldSecured) and one.device), None)
        return None if known is None else "cuda" if known == "cuda" else "cpu"

    def closed_slides(self) -> set[int]:
        """Slides whose fields are all secured or skipped, and told so after the last of them."""
        rows = self._database.execute(
            "SELECT slide FROM records WHERE kind IN ('field', 'skipped', 'slide_closed') GROUP BY slide"
            " HAVING max(seq) = max(CASE kind WHEN 'slide_closed' THEN seq END)"
        )
        return {slide for (slide,) in rows}

    def night_closed(self) -> bool:
        """Whether the night is complete, and no further attempts were ordered since."""
        return self._last(CLOSED) > self._last(ORDERED)

    def _last(self, words: str) -> int:
        """Give the number of the last record whose words begin so, by their index: it is asked for each record."""
        query = "SELECT coalesce(max(seq), 0) FROM records WHERE once >= ? AND once < ?"
        return int(self._database.execute(query, (words, words + "~")).fetchone()[0])

    def events(self) -> list[Event]:
        """Everything a person should know, in order."""
        rows = self._database.execute("SELECT body FROM records WHERE kind = 'event' ORDER BY seq")
        records = (self._decode(body) for (body,) in rows)
        return [record for record in records if isinstance(record, Event)]

    def pending(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Numbers and bytes of at most `limit` records that follow record `after`."""
        return self._database.execute(
            "SELECT seq, body FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
        ).fetchall()

    def acknowledge(self, seq: int) -> None:
        """Store durably that the recorder holds every record up to `seq`; an earlier number changes nothing."""
        with transaction(self._database) as database:
            if seq > self.last_seq():
                raise JournalDamaged(f"{self.path} ends at record {self.last_seq()}, so {seq} cannot be acknowledged")
            database.execute("UPDATE delivery SET acknowledged = ? WHERE acknowledged < ?", (seq, seq))

    def acknowledged(self) -> int:
        """Give the number of the last record that the recorder holds; 0 for none."""
        return int(self._database.execute("SELECT acknowledged FROM delivery").fetchone()[0])

    def settle(self) -> None:
        """Do without a write-ahead log, once no process of the night has the journal open any more."""
        settle(self._database)

    def close(self) -> None:
        """Let go of the file; may be called again."""
        self._database.close()

    def _decode(self, body: bytes) -> AnyRecord:
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise JournalDamaged(
                f"{self.path} holds a record that cannot be read ({error}); restore it from a copy"
            ) from error


def read_records(path: Path, after: int = 0, limit: int = -1) -> list[tuple[int, bytes]]:
    """Read the records that follow record `after`, at most `limit` if not -1, without holding the journal.

    That may be done while its night runs.

    Raises
    ------
    Refused
        The file is missing, not a journal, or of another version.
    sqlite3.OperationalError
        It cannot be read at present.
    """
    with closing(connect(path, _FORMAT, read_only=True)) as database:
        rows = database.execute("SELECT seq, body FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return rows.fetchall()


def _insert(database: sqlite3.Connection, record: AnyRecord) -> None:
    slide, field, once = _place(record)
    if isinstance(record, AttemptsOrdered):
        (last,) = database.execute("SELECT max(seq) FROM records").fetchone()
        once = f"{ORDERED} after record {last}"
    elif isinstance(record, SlideClosed | NightClosed):
        # Each may be closed again once there were further attempts.
        fields = "kind IN ('field', 'skipped') AND slide = coalesce(?, slide)"
        query = f"SELECT coalesce(max(seq), 1) FROM records WHERE {fields}"  # noqa: S608 - words of our own
        once = f"{once} after record {database.execute(query, (slide,)).fetchone()[0]}"
    try:
        database.execute(
            "INSERT INTO records SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ? FROM records",
            (record.__struct_config__.tag, slide, field, once, encode(record)),
        )
    except sqlite3.IntegrityError as error:
        raise JournalDamaged(f"the journal holds {once} already and takes it once only") from error


def _place(record: AnyRecord) -> tuple[int | None, int | None, str | None]:
    """Slide, field, and the words under which a record may stand in the journal once."""
    match record:
        case FieldSecured() | FieldSkipped():
            words = f"slide {record.slide} field {record.field}"
            return record.slide, record.field, words + (f" attempt {record.attempt}" if record.attempt > 1 else "")
        case FieldAnalysed():
            return record.slide, record.field, f"slide {record.slide} field {record.field} analysed"
        case SlideClosed():
            return record.slide, None, f"slide {record.slide} closed"
        case NightStarted():
            return None, None, "night started"
        case NightClosed():
            return None, None, CLOSED
        case AttemptsOrdered():
            return None, None, ORDERED
        case Event():
            return record.slide, record.field, None
