"""The tables of a catalog, and how an older one is made one of today."""

from __future__ import annotations

from collections.abc import Mapping

from daemon.dataset.catalog_rows import event_columns, skipped_columns, update_row
from daemon.dataset.objects_table import OBJECT_COLUMNS
from daemon.dataset.queries import read_record
from daemon.records.records import Event, FieldSkipped
from daemon.system.durable_sqlite import Database, Format

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
_ADDED_BY_6 = {"TEXT": ("taxon", "runner_up", "named_by"), "REAL": ("taxon_probability",)}
"""Columns of objects that version 6 added, by their type."""
_ADDED_BY_7 = ("flags", "excluded_by")
"""Columns of fields that version 7 added: JSON, NULL where there are none."""


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
                update_row(database, "events", seq, event_columns(event))
            case FieldSkipped() as skipped:
                update_row(database, "fields", seq, skipped_columns(skipped))


FORMAT = Format(
    name="dataset",
    application=0x4C4D4C43,
    version=7,
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
            flags TEXT, excluded_by TEXT,
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
        5: _with_columns(_ADDED_BY_6),
        6: ";".join(f"ALTER TABLE fields ADD COLUMN {name} TEXT" for name in _ADDED_BY_7),
    },
)
