"""The catalog of a dataset, as its recorder writes it: one durable transaction a record."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from daemon.dataset.faults import miscounted
from daemon.dataset.objects_table import (
    COUNTED,
    OBJECT_COLUMNS,
    object_values,
    remove_objects_table,
    table_fault,
    write_objects_table,
)
from daemon.dataset.queries import query, read_record
from daemon.records.attempts import AttemptName, supersedes
from daemon.records.names import CATALOG, attempt_of
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
)
from daemon.system.durable_sqlite import Database, Format, connect, create, transaction
from daemon.system.durable_sqlite import in_memory as empty_in_memory

_OBJECT_COLUMNS = ", ".join(f"{column.name} {column.sql}" for column in OBJECT_COLUMNS)

_MEASURED_BY_NUMBER = (
    "focus_plane", "focus_z_um", "display_plane", "sharpness", "depth_um", "length_um", "width_um", "area_um2",
    "perimeter_um", "equivalent_diameter_um", "circularity", "solidity", "orientation_deg", "thickness_mean_um",
    "thickness_max_um", "volume_um3", "calcite_equivalent_pg", "calcite_equivalent_deviation_pg",
    "calcite_equivalent_fused_pg", "mass_pg", "leakage",
)  # fmt: skip
_MEASURED_BY_NAME = ("focus_by", "outline_by", "length_by")
_MEASURED_FLAGS = (
    "cut", "overlapping", "outline_clipped", "background_disturbed", "defocused", "saturated", "folded",
)  # fmt: skip
_MEASURED_OF_3 = {"REAL": _MEASURED_BY_NUMBER, "TEXT": _MEASURED_BY_NAME, "INTEGER": _MEASURED_FLAGS}
"""Columns of objects that version 3 added, by their type; those of later versions are not to be put here."""

_ADDED_BY_4 = {"fields": ("reason_code", "who", "fault"), "events": ("who", "by", "fault", "reason_code")}
"""Columns that version 4 added, of text."""
_ADDED_BY_5 = {
    "TEXT": ("fault",), "REAL": ("feret_um", "arc_length_um"),
    "INTEGER": ("outline_doubtful", "usable_for_size", "usable_for_mass"),
}  # fmt: skip
"""Columns of objects that version 5 added, by their type."""


def _with_columns(added: Mapping[str, tuple[str, ...]]) -> str:
    """Give objects columns, named by their type."""
    return ";".join(f"ALTER TABLE objects ADD COLUMN {name} {kind}" for kind, names in added.items() for name in names)


_ATTEMPTS = """
    CREATE TABLE attempts (
        seq INTEGER PRIMARY KEY REFERENCES records, slide INTEGER NOT NULL, field INTEGER NOT NULL,
        attempt INTEGER NOT NULL, purpose TEXT NOT NULL, state TEXT, UNIQUE (slide, field, attempt)
    ) STRICT
"""
"""Every attempt at a field; `fields`, `objects` hold the one that counts."""


def _to_version_4(database: Database) -> None:
    """Give events and skipped fields their codes: what their records say is projected anew."""
    for table, names in _ADDED_BY_4.items():
        for name in names:
            database.execute(f"ALTER TABLE {table} ADD COLUMN {name} TEXT")
    said = database.execute("SELECT seq, body FROM records WHERE kind IN ('event', 'skipped')").fetchall()
    for seq, body in said:
        match read_record(database, seq, body):
            case Event() as event:
                _update(database, "events", seq, _event(event))
            case FieldSkipped() as skipped:
                _update(database, "fields", seq, _skipped(skipped))


FORMAT = Format(
    name="dataset",
    application=0x4C4D4C43,
    version=5,
    schema=f"""
        CREATE TABLE records (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL) STRICT;
        CREATE TABLE night (
            night TEXT PRIMARY KEY, started_utc REAL, closed_utc REAL, configuration TEXT NOT NULL,
            versions TEXT NOT NULL, weights_sha256 TEXT NOT NULL, calibrations TEXT NOT NULL
        ) STRICT;
        CREATE TABLE samples (
            slide INTEGER PRIMARY KEY, planned INTEGER NOT NULL, columns TEXT NOT NULL, closed_utc REAL
        ) STRICT;
        CREATE TABLE fields (
            slide INTEGER NOT NULL REFERENCES samples, field INTEGER NOT NULL,
            seq INTEGER NOT NULL UNIQUE REFERENCES records,
            state TEXT NOT NULL CHECK (state IN ('recorded', 'skipped')), sample TEXT NOT NULL,
            attempts INTEGER NOT NULL, reason TEXT,
            x_um REAL, y_um REAL, first_z_um REAL, step_um REAL, polarizations TEXT, shape_czyx TEXT,
            exposed_utc REAL, exposed_monotonic_s REAL, seconds TEXT, focus_z_um REAL, focus_at_edge INTEGER,
            focus_contrast REAL, raw_bytes INTEGER NOT NULL,
            device TEXT, analysed_seq INTEGER REFERENCES records, sources TEXT,
            reason_code TEXT, who TEXT, fault TEXT, attempt INTEGER NOT NULL DEFAULT 1,
            PRIMARY KEY (slide, field)
        ) STRICT;
        {_ATTEMPTS};
        CREATE TABLE files (
            name TEXT PRIMARY KEY, slide INTEGER NOT NULL, field INTEGER NOT NULL, size INTEGER NOT NULL,
            sha256 TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 1,
            FOREIGN KEY (slide, field) REFERENCES fields
        ) STRICT;
        CREATE TABLE objects (
            slide INTEGER NOT NULL, field INTEGER NOT NULL, {_OBJECT_COLUMNS},
            PRIMARY KEY (slide, field, number), FOREIGN KEY (slide, field) REFERENCES fields
        ) STRICT;
        CREATE TABLE events (
            seq INTEGER PRIMARY KEY REFERENCES records, utc REAL, monotonic_s REAL,
            level TEXT NOT NULL, name TEXT NOT NULL, message TEXT NOT NULL, slide INTEGER, field INTEGER,
            who TEXT, by TEXT, fault TEXT, reason_code TEXT
        ) STRICT;
    """,
    upgrades={
        1: """
            ALTER TABLE fields ADD COLUMN device TEXT;
            ALTER TABLE fields ADD COLUMN analysed_seq INTEGER REFERENCES records;
            ALTER TABLE fields ADD COLUMN sources TEXT;
            UPDATE fields SET analysed_seq = seq, sources = '[]' WHERE state = 'recorded'
        """,
        2: _with_columns(_MEASURED_OF_3),
        3: _to_version_4,
        4: ";".join(
            (
                _with_columns(_ADDED_BY_5),
                "ALTER TABLE fields ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1",
                "ALTER TABLE files ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1",
                _ATTEMPTS,
                "INSERT INTO attempts SELECT seq, slide, field, 1, 'plan', state FROM fields",
            )
        ),
    },
)


class Catalog:
    """What a dataset holds. A record stands in it only once its files lie durably in the dataset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / CATALOG
        if not path.exists():
            create(path, FORMAT)
        self._database = connect(path, FORMAT)

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

    def counted(self) -> int:
        """Return how many objects count."""
        query = f"SELECT count(*) FROM objects WHERE {COUNTED}"  # noqa: S608 - words of our own
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

        The table of a slide that is closed is written before, that of one that is opened again removed.

        Raises
        ------
        sqlite3.IntegrityError
            The record contradicts what is there, such as a field that is held already.
        """
        record = decode(body)
        if isinstance(record, SlideClosed):
            write_objects_table(self._folder, self._database, record.slide)
        elif isinstance(record, AttemptsOrdered):
            for slide in {name.slide for name in record.attempts}:
                remove_objects_table(self._folder, slide)
        with transaction(self._database) as database:
            _make_room(database, seq)
            database.execute("INSERT INTO records VALUES (?, ?, ?)", (seq, record.__struct_config__.tag, body))
            _store(database, seq, record)

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
        """Let go of the file; may be called again."""
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
                _store(database, seq, record)
    except BaseException:
        database.close()
        raise
    return database


def _store(database: sqlite3.Connection, seq: int, record: AnyRecord) -> None:
    match record:
        case NightStarted():
            _store_night(database, record)
        case FieldSecured():
            _store_field(database, seq, record)
        case FieldSkipped():
            _store_skipped(database, seq, record)
        case AttemptsOrdered():
            database.execute("UPDATE night SET closed_utc = NULL")
            for slide in {name.slide for name in record.attempts}:
                database.execute("UPDATE samples SET closed_utc = NULL WHERE slide = ?", (slide,))
        case FieldAnalysed():
            _store_analysed(database, seq, record)
        case Event():
            _insert(database, "events", {"seq": seq} | _event(record))
        case SlideClosed():
            database.execute("UPDATE samples SET closed_utc = ? WHERE slide = ?", (record.utc, record.slide))
        case NightClosed():
            database.execute("UPDATE night SET closed_utc = ?", (record.utc,))


def _event(record: Event) -> dict[str, object]:
    return msgspec.structs.asdict(record)


def _skipped(record: FieldSkipped) -> dict[str, object]:
    return {
        "sample": record.sample,
        "attempts": record.attempts,
        "reason": record.reason,
        "reason_code": record.reason_code,
        "who": record.who,
        "fault": record.fault,
        "sources": _json(record.sources),
    }


def _store_night(database: sqlite3.Connection, record: NightStarted) -> None:
    night = {
        "night": record.night,
        "started_utc": record.utc,
        "configuration": record.configuration,
        "versions": _json(record.versions),
        "weights_sha256": record.weights_sha256,
        "calibrations": _json(record.calibrations),
    }
    _insert(database, "night", night)
    for slide, planned in record.planned.items():
        columns = _json(record.samples.get(slide, {}))
        _insert(database, "samples", {"slide": slide, "planned": planned, "columns": columns})


def _store_field(database: sqlite3.Connection, seq: int, record: FieldSecured) -> None:
    c, z, y, x = record.shape_czyx
    field = {
        "state": "recorded",
        "sample": record.sample,
        "attempts": record.attempts,
        "x_um": record.x_um,
        "y_um": record.y_um,
        "first_z_um": record.first_z_um,
        "step_um": record.step_um,
        "polarizations": _json(record.polarizations),
        "shape_czyx": _json(record.shape_czyx),
        "exposed_utc": record.exposed_utc,
        "exposed_monotonic_s": record.exposed_monotonic_s,
        "seconds": _json(record.seconds),
        "focus_z_um": record.focus.z_um,
        "focus_at_edge": record.focus.at_edge,
        "focus_contrast": record.focus.contrast,
        "raw_bytes": c * z * y * x * 2,
        "device": record.device or None,
        "analysed_seq": seq if record.analysed else None,
        "sources": _json(record.sources),
        "reason": record.reason or None,
        "fault": record.fault,
    }
    _store_attempt(database, seq, record, field | {"reason_code": None, "who": None})
    _store_found(database, record)


def _store_skipped(database: sqlite3.Connection, seq: int, record: FieldSkipped) -> None:
    _store_attempt(database, seq, record, {"state": "skipped", "raw_bytes": 0} | _skipped(record))


def _store_attempt(
    database: sqlite3.Connection, seq: int, record: FieldSecured | FieldSkipped, columns: Mapping[str, object]
) -> None:
    """Store an attempt, and what became of its field where it is the one that counts from now on."""
    place: dict[str, object] = {"slide": record.slide, "field": record.field}
    made: dict[str, object] = {
        "seq": seq,
        "attempt": record.attempt,
        "purpose": record.purpose,
        "state": columns["state"],
    }
    _insert(database, "attempts", place | made)
    query = "SELECT seq, state = 'recorded' FROM fields WHERE slide = ? AND field = ?"
    before = database.execute(query, tuple(place.values())).fetchone()
    if before is None:
        _insert(database, "fields", {**place, "seq": seq, "attempt": record.attempt, **columns})
        return
    if supersedes(isinstance(record, FieldSecured), bool(before[1])):
        database.execute("DELETE FROM objects WHERE slide = ? AND field = ?", tuple(place.values()))
        _update(database, "fields", before[0], {"seq": seq, "attempt": record.attempt, **columns})


def _make_room(database: sqlite3.Connection, seq: int) -> None:
    """Give what was found after the night another number, where a night that is open again wants its own."""
    row = database.execute("SELECT kind, body FROM records WHERE seq = ?", (seq,)).fetchone()
    if row is None or row[0] != "analysed":
        return
    (last,) = database.execute("SELECT max(seq) FROM records").fetchone()
    database.execute("INSERT INTO records VALUES (?, ?, ?)", (last + 1, *row))
    database.execute("UPDATE fields SET analysed_seq = ? WHERE analysed_seq = ?", (last + 1, seq))
    database.execute("DELETE FROM records WHERE seq = ?", (seq,))


def _store_analysed(database: sqlite3.Connection, seq: int, record: FieldAnalysed) -> None:
    changed = database.execute(
        "UPDATE fields SET analysed_seq = ?, device = ?, reason = NULL, fault = NULL"
        " WHERE slide = ? AND field = ? AND attempt = ? AND state = 'recorded' AND analysed_seq IS NULL",
        (seq, record.device, record.slide, record.field, record.attempt),
    )
    if changed.rowcount != 1:
        raise sqlite3.IntegrityError(f"slide {record.slide} field {record.field} is not waiting to be analysed")
    _store_found(database, record)


def _store_found(database: sqlite3.Connection, record: FieldSecured | FieldAnalysed) -> None:
    where: dict[str, object] = {"slide": record.slide, "field": record.field}
    for file in record.files:
        _insert(database, "files", where | msgspec.structs.asdict(file) | {"attempt": attempt_of(file.name)})
    for row in record.objects:
        _insert(database, "objects", where | object_values(row))


def _insert(database: sqlite3.Connection, table: str, columns: Mapping[str, object]) -> None:
    # Table and column names are our own words, never a peer's.
    names, places = ", ".join(columns), ", ".join("?" * len(columns))
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(columns.values()))  # noqa: S608


def _update(database: sqlite3.Connection, table: str, seq: int, columns: Mapping[str, object]) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    database.execute(f"UPDATE {table} SET {names} WHERE seq = ?", (*columns.values(), seq))  # noqa: S608


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
