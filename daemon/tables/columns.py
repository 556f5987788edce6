"""The data dictionary: every column of every table, its unit, its type and what it means.

A column without an entry here cannot be written (`described`), so that the dictionary holds whatever a table does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from daemon.tables.object_columns import OBJECTS

TEXT, WHOLE, NUMBER, TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TIME = pa.timestamp("us", "+00:00")  # a zone by name would need a data base of them, which Windows has not
SHEET = "sample_"
"""Begins the names of the columns of the sample sheet."""
UNITS = {
    "per_mm2": "1/mm2", "mm2": "mm2", "um": "um", "um2": "um2", "um3": "um3", "pg": "pg", "deg": "deg", "px": "px",
    "s": "s", "dn": "DN",
}  # fmt: skip
"""Endings of names, and the units that they tell."""


class TableName(StrEnum):
    """The tables; their files are named after them."""

    FIELDS = "fields"
    SAMPLES = "samples"
    COUNTS = "counts"
    OBJECTS = "objects"


Meanings = Mapping[str, tuple[pa.DataType, str]]
_NIGHT, _SLIDE, _SAMPLE = (
    (TEXT, "name of the night"),
    (WHOLE, "mini-slide, by its position"),
    (TEXT, "sample on the mini-slide"),
)
_COUNTED = "objects that count: at or above the threshold, in the tile of their own field, which counts"

FIELDS: Meanings = {
    "night": _NIGHT,
    "slide": _SLIDE,
    "sample": _SAMPLE,
    "field": (WHOLE, "number of the field on its mini-slide"),
    "state": (TEXT, "recorded, not analysed (objects were not looked for yet), skipped, or open (not taken yet)"),
    "counted": (TRUTH, "whether its objects and its area count"),
    "flags": (
        pa.list_(TEXT),
        "what is wrong with its light, focus or place, by rules that look at light alone",
    ),
    "reason": (TEXT, "why it was skipped, could not be analysed or is not counted, or what a person said of it"),
    "area_mm2": (NUMBER, "area of its own tile; empty where nothing tells it, or objects were not looked for"),
    "objects": (WHOLE, _COUNTED),
    "x_um": (NUMBER, "stage position of the frame's centre; of a field that was not recorded, where it was planned"),
    "y_um": (NUMBER, "likewise"),
    "focus_z_um": (NUMBER, "stage height of its sharpest plane; empty where nothing was in focus"),
    "backgrounds_dn": (pa.list_(NUMBER), "median intensity of each polarization, in the order of the channels"),
    "exposed_utc": (TIME, "when its first frame was exposed; empty of images of an archive"),
    "move_s": (NUMBER, "how long the stage moved to it"),
    "expose_s": (NUMBER, "how long its stack took"),
    "searched": (TRUTH, "whether its focus was searched for first"),
    "attempt": (
        WHOLE,
        "attempt that this row is of, the one that counts; 2 of a field taken again once",
    ),
    "exposures": (WHOLE, "how often it was exposed in that attempt until its frames were good"),
    "utc": (TIME, "when its record was written"),
}
SAMPLES: Meanings = {
    "night": _NIGHT,
    "slide": _SLIDE,
    "sample": _SAMPLE,
    "planned": (WHOLE, "fields of the plan"),
    "recorded": (WHOLE, "fields that were recorded"),
    "skipped": (WHOLE, "fields that were skipped"),
    "not_analysed": (WHOLE, "recorded fields in which objects were not looked for yet"),
    "closed": (TRUTH, "whether every planned field is recorded or skipped"),
    "objects": (WHOLE, _COUNTED),
    "low": (NUMBER, "lower bound of the 95 % interval of objects (Poisson); empty where nothing was searched"),
    "high": (NUMBER, "its upper bound"),
    "area_mm2": (NUMBER, "area that was searched and counts: the tiles of its counted fields; empty of an archive"),
    "objects_per_mm2": (NUMBER, "objects by area"),
    "low_per_mm2": (NUMBER, "lower bound of its 95 % interval"),
    "high_per_mm2": (NUMBER, "upper bound of its 95 % interval"),
    "excluded_fields": (WHOLE, "fields in which objects were looked for, and that are not counted"),
    "excluded_objects": (WHOLE, "objects that would count if these fields did"),
    "excluded_share": (NUMBER, "share of these among the fields in which objects were looked for"),
    "all_per_mm2": (NUMBER, "objects by area, with the fields that are not counted"),
    "started_utc": (TIME, "when the night began"),
    "instrument": (TEXT, "name of the instrument; empty of an archive"),
    "pixel_um": (NUMBER, "size of a pixel on the sample"),
    "threshold": (NUMBER, "lowest score that counts"),
    "calibrations": (pa.list_(TEXT), "calibration records that the night used"),
    "weights_sha256": (TEXT, "hash of the detector's weights"),
    "named_by": (TEXT, "hash of the classifier that gave names in the night; empty where none did"),
    "measured": (WHOLE, "number of the measurement that sizes and masses are of (lamelle measure); 0: the night's own"),
    "named": (WHOLE, "number of the naming that taxa are of (lamelle classify); 0: the night's own"),
    "lamelle": (TEXT, "version of lamelle that recorded the night"),
    "configuration_sha256": (TEXT, "hash of the night's configuration"),
}
COUNTS: Meanings = {
    "night": _NIGHT,
    "slide": _SLIDE,
    "sample": _SAMPLE,
    "kind": (TEXT, "what this row counts: all objects, those of a class of the detector, or those of a taxon"),
    "name": (TEXT, "what people call the class or the taxon; unsure and not named are two bins; empty of all"),
    "taxon": (TEXT, "identifier of the taxon; empty of classes, of all, and of what is not named"),
    "objects": (WHOLE, f"{_COUNTED}; 0 where none was found"),
    "low": SAMPLES["low"],
    "high": SAMPLES["high"],
    "area_mm2": SAMPLES["area_mm2"],
    "objects_per_mm2": SAMPLES["objects_per_mm2"],
    "low_per_mm2": SAMPLES["low_per_mm2"],
    "high_per_mm2": SAMPLES["high_per_mm2"],
    "excluded_share": SAMPLES["excluded_share"],
    "all_objects": (WHOLE, "objects with those of the fields that are not counted"),
    "all_per_mm2": SAMPLES["all_per_mm2"],
    "all_low_per_mm2": (NUMBER, "lower bound of its 95 % interval"),
    "all_high_per_mm2": (NUMBER, "upper bound of its 95 % interval"),
    "length_um": (NUMBER, "median length of those that are usable for size, weighted for what frames cut"),
    "mass_pg": (NUMBER, "median mass of those that are usable for mass, weighted likewise"),
}
TYPED: Mapping[TableName, Meanings] = {
    TableName.FIELDS: FIELDS,
    TableName.SAMPLES: SAMPLES,
    TableName.COUNTS: COUNTS,
}
"""Tables whose types are said here; those of objects are the catalog's."""
_TYPES = {TEXT: "text", WHOLE: "whole number", NUMBER: "number", TRUTH: "yes or no", TIME: "time (UTC)"}


@dataclass(frozen=True)
class ColumnMeaning:
    """A line of the dictionary; `unit` is empty where there is none."""

    table: TableName
    column: str
    type: str
    unit: str
    meaning: str


def schema_of(table: TableName, sheet: Mapping[str, str] | None = None) -> pa.Schema:
    """Give the columns of a table whose types are said here, with those of a sample sheet."""
    columns = [(name, kind) for name, (kind, _) in TYPED[table].items()]
    return pa.schema([*columns, *((f"{SHEET}{name}", TEXT) for name in sheet or {})])


def described(table: TableName, rows: pa.Table) -> pa.Table:
    """Put the columns of a table in the order of the dictionary, those of sample sheets last, with what they mean.

    Each column's metadata tell its `meaning`, and its `unit` where it has one.
    """
    known = list(OBJECTS if table is TableName.OBJECTS else TYPED[table])
    sheet = [name for name in rows.column_names if name not in known]
    ordered = rows.select([*known, *sheet])
    fields = []
    for field in ordered.schema:
        told = {"meaning": _meaning(table, field.name)}
        unit = _unit(field.name)
        fields.append(field.with_metadata(told | ({"unit": unit} if unit else {})))
    return ordered.cast(pa.schema(fields))


def dictionary(table: TableName, rows: pa.Table) -> list[ColumnMeaning]:
    """Say what the columns of a table mean.

    Parameters
    ----------
    rows
        as `described` gives them.
    """
    return [
        ColumnMeaning(table, field.name, _words(field.type), _unit(field.name), _meaning(table, field.name))
        for field in rows.schema
    ]


def _meaning(table: TableName, name: str) -> str:
    if table is TableName.OBJECTS:
        if name in OBJECTS:
            return OBJECTS[name]
    elif name in TYPED[table]:
        return TYPED[table][name][1]
    assert name.startswith(SHEET), f"column {name} of {table} is not in the dictionary"
    return f"column {name.removeprefix(SHEET)} of the sample sheet"


def _unit(name: str) -> str:
    if name.startswith(SHEET):
        return ""
    if name.startswith(("box_", "crop_box_")):
        return UNITS["px"]
    return next((unit for ending, unit in UNITS.items() if name.endswith(f"_{ending}")), "")


def _words(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "list" if pa.types.is_struct(kind.value_type) else f"list of {_TYPES[kind.value_type]}s"
    return _TYPES[kind]
