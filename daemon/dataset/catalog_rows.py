"""What a record says, as rows of the catalog's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec

from daemon.dataset.objects_table import object_values
from daemon.records.attempts import supersedes
from daemon.records.names import attempt_of
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
)


def store(database: sqlite3.Connection, seq: int, record: AnyRecord) -> None:
    """Store what a record says, within a transaction."""
    for slide in opened_again(record):
        database.execute("UPDATE samples SET closed_utc = NULL WHERE slide = ?", (slide,))
    match record:
        case NightStarted():
            _store_night(database, record)
        case FieldSecured():
            _store_field(database, seq, record)
        case FieldSkipped():
            _store_skipped(database, seq, record)
        case AttemptsOrdered():
            database.execute("UPDATE night SET closed_utc = NULL")
        case FieldAnalysed():
            _store_analysed(database, seq, record)
        case Event():
            _insert(database, "events", {"seq": seq} | event_columns(record))
        case SlideClosed():
            database.execute("UPDATE samples SET closed_utc = ? WHERE slide = ?", (record.utc, record.slide))
        case NightClosed():
            database.execute("UPDATE night SET closed_utc = ?", (record.utc,))


def opened_again(record: AnyRecord) -> set[int]:
    """Name the mini-slides that a record opens again, if they were closed: by further attempts, ordered or made."""
    match record:
        case AttemptsOrdered():
            return {name.slide for name in record.attempts}
        case FieldSecured() | FieldSkipped() if record.attempt > 1:
            return {record.slide}
    return set()


def skipped_columns(record: FieldSkipped) -> dict[str, object]:
    """Give the columns of a field that was skipped."""
    return {
        "sample": record.sample,
        "attempts": record.attempts,
        "reason": record.reason,
        "reason_code": record.reason_code,
        "who": record.who,
        "fault": record.fault,
        "sources": _json(record.sources),
    }


def event_columns(record: Event) -> dict[str, object]:
    """Give the columns of an event; the names of files that it is about stand in its record alone."""
    return {name: value for name, value in msgspec.structs.asdict(record).items() if name != "names"}


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
        **_flag_columns(record),
    }
    _store_attempt(database, seq, record, field | {"reason_code": None, "who": None})
    _store_found(database, record)


def _flag_columns(record: FieldSecured | FieldAnalysed) -> dict[str, object]:
    return {"flags": _json_or_none(record.flags), "excluded_by": _json_or_none(record.excluded_by)}


def _store_skipped(database: sqlite3.Connection, seq: int, record: FieldSkipped) -> None:
    _store_attempt(database, seq, record, {"state": "skipped", "raw_bytes": 0} | skipped_columns(record))


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
        update_row(database, "fields", before[0], {"seq": seq, "attempt": record.attempt, **columns})


def make_room(database: sqlite3.Connection, seq: int) -> None:
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
    database.execute(
        "UPDATE fields SET flags = ?, excluded_by = ? WHERE slide = ? AND field = ?",
        (*_flag_columns(record).values(), record.slide, record.field),
    )
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


def update_row(database: sqlite3.Connection, table: str, seq: int, columns: Mapping[str, object]) -> None:
    """Change columns of the row that a record made."""
    names = ", ".join(f"{name} = ?" for name in columns)
    database.execute(f"UPDATE {table} SET {names} WHERE seq = ?", (*columns.values(), seq))  # noqa: S608


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _json_or_none(flags: tuple[str, ...]) -> str | None:
    return _json(flags) if flags else None
