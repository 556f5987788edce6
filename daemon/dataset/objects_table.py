"""The table of objects: which columns an object's numbers become, and the Parquet file of a closed slide."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemon.dataset.queries import query, read_columns
from daemon.records.flags import FieldFlag, words_of
from daemon.records.names import OBJECTS_TABLE, slide_folder
from daemon.records.records import ObjectRow
from daemon.system.durable_files import make_folder, replacing
from daemon.system.durable_sqlite import Database

_CORNERS = ("x0", "y0", "x1", "y1")
_TYPES: dict[type, tuple[str, pa.DataType]] = {
    int: ("INTEGER NOT NULL", pa.int64()),
    bool: ("INTEGER NOT NULL", pa.bool_()),
    str: ("TEXT NOT NULL", pa.string()),
    float: ("REAL", pa.float64()),  # SQLite stores a NaN as NULL
}


_UTC = pa.timestamp("us", "+00:00")  # a zone by name would need a data base of them, which Windows has not
_SOURCE = pa.struct({"name": pa.string(), "sha256": pa.string(), "stack": pa.string()})
METADATA = b"lamelle.objects"
"""Key of a table's metadata: JSON that tells its version. Version 1, which has none, held times as seconds and lists as
JSON."""
VERSION = 2
_UNITS = frozenset({"um", "um2", "um3", "pg", "deg"})


@dataclass(frozen=True)
class Column:
    """A column: its name, where a query of the catalog finds it, its type here and there, how the catalog writes it."""

    name: str
    source: str
    sql: str
    arrow: pa.DataType
    decode: Callable[[Any], object] | None = None

    @property
    def field(self) -> pa.Field:
        """Column of a table, whose metadata tell the unit where it has one."""
        unit = self.name.rpartition("_")[2]
        if self.name.startswith(("box_", "crop_box_")):
            unit = "px"
        return pa.field(self.name, self.arrow, metadata={"unit": unit} if unit in _UNITS | {"px"} else None)

    def values(self, rows: Sequence[tuple[Any, ...]], index: int) -> pa.Array:
        """Make the column of what the catalog holds of it at a place of each row."""
        values = [row[index] for row in rows]
        kind = self.arrow
        decode = self.decode
        if pa.types.is_boolean(kind):
            decode = bool
        elif pa.types.is_timestamp(kind):
            decode = lambda seconds: round(seconds * 1e6)  # noqa: E731
        elif pa.types.is_list(kind):
            decode = msgspec.json.decode
        if decode is not None:
            values = [None if value is None else decode(value) for value in values]
        return pa.array(values, kind)


def _columns() -> tuple[Column, ...]:
    """Follow the fields of `ObjectRow`; a box becomes four columns, `box_x0` to `box_y1`."""
    columns = []
    for field in msgspec.structs.fields(ObjectRow):
        kind, names = field.type, [field.name]
        if get_origin(kind) is tuple:
            kind, names = get_args(kind)[0], [f"{field.name}_{corner}" for corner in _CORNERS]
        optional = get_origin(kind) is types.UnionType
        sql, arrow = _TYPES[get_args(kind)[0] if optional else kind]
        sql = sql.removesuffix(" NOT NULL") if optional else sql
        columns += [Column(name, f"objects.{name}", sql, arrow) for name in names]
    return tuple(columns)


OBJECT_COLUMNS = _columns()
OWN = "objects.in_exclusive_tile AND NOT objects.below_threshold"
"""`ObjectRow.counted` in the words of the catalog."""
COUNTED = f"{OWN} AND fields.excluded_by IS NULL"
"""`counted_objects` of a field, likewise."""
JOINED = "FROM objects JOIN fields USING (slide, field), night"
"""Where objects are read from, with what belongs to them."""
_COUNTED = Column("counted", COUNTED, "INTEGER NOT NULL", pa.bool_())


def _words(text: str) -> str:
    return words_of(msgspec.json.decode(text, type=tuple[FieldFlag, ...]))


EXCLUDED = Column("field_excluded", "fields.excluded_by", "TEXT", pa.string(), _words)
"""Why an object's field is not counted, null of one that is: as the night's rule has it, or as a person says."""
_PLACE = (
    Column("night", "night.night", "TEXT", pa.string()),
    Column("sample", "fields.sample", "TEXT", pa.string()),
    Column("slide", "fields.slide", "INTEGER", pa.int64()),
    Column("field", "fields.field", "INTEGER", pa.int64()),
)
_FILES = (
    "LEFT JOIN (SELECT slide, field, attempt, substr(min(printf('%05d%s', length(name), name)), 6) AS shortest"
    " FROM files WHERE name LIKE '%.ome.tif' GROUP BY slide, field, attempt) AS named USING (slide, field, attempt)"
)
"""Of a field's OME-TIFFs that of the objects has the shortest name; asked once, not for every object."""
_PROVENANCE = (
    Column("field_x_um", "fields.x_um", "REAL", pa.float64()),
    Column("field_y_um", "fields.y_um", "REAL", pa.float64()),
    Column("field_first_z_um", "fields.first_z_um", "REAL", pa.float64()),
    Column("field_step_um", "fields.step_um", "REAL", pa.float64()),
    Column("field_polarizations", "fields.polarizations", "TEXT", pa.list_(pa.string())),
    Column("field_shape_czyx", "fields.shape_czyx", "TEXT", pa.list_(pa.int64())),
    Column("field_exposed_utc", "fields.exposed_utc", "REAL", _UTC),
    Column("field_focus_z_um", "fields.focus_z_um", "REAL", pa.float64()),
    Column("field_file", "named.shortest", "TEXT", pa.string()),
    Column("field_sources", "fields.sources", "TEXT", pa.list_(_SOURCE)),
    Column("weights_sha256", "night.weights_sha256", "TEXT", pa.string()),
    Column("field_flags", "coalesce(fields.flags, '[]')", "TEXT", pa.list_(pa.string())),
    EXCLUDED,
)
_ALL = (*_PLACE, _COUNTED, *OBJECT_COLUMNS, *_PROVENANCE)
_TELLING = tuple(one for one in _ALL if one.name in ("field", "number", "class_name", "score", "mass_pg", "field_file"))
"""Columns that tell whether a file is of the objects that the catalog holds now."""


def _query(columns: Iterable[Column]) -> str:
    return (
        f"SELECT {', '.join(column.source for column in columns)} "
        f"{JOINED} {_FILES} "
        "WHERE objects.slide = ? AND objects.field = coalesce(?, objects.field) ORDER BY objects.field, objects.number"
    )


def object_values(row: ObjectRow) -> dict[str, Any]:
    """Spread an object's numbers over the columns."""
    values: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(row).items():
        if isinstance(value, tuple):
            values |= {f"{name}_{corner}": part for corner, part in zip(_CORNERS, value, strict=True)}
        else:
            values[name] = value
    return values


def read_objects(
    database: Database, slide: int, field: int | None = None, columns: Collection[str] | None = None
) -> pa.Table:
    """Read a slide's objects, with the provenance of their field and the columns of their sample (`sample_*`).

    Parameters
    ----------
    field
        only those of this field.
    columns
        only these, and none of the sample.
    """
    wanted = [column for column in _ALL if columns is None or column.name in columns]
    rows = list(query(database, _query(wanted), (slide, field)))
    fields = [column.field for column in wanted]
    arrays = [column.values(rows, index) for index, column in enumerate(wanted)]
    given = next(query(database, "SELECT columns FROM samples WHERE slide = ?", (slide,)), None)
    sample = {} if given is None or columns is not None else read_columns(database, slide, given[0])
    for name, value in sample.items():
        fields.append(pa.field(f"sample_{name}", pa.string()))
        arrays.append(pa.array([value] * len(rows), pa.string()))
    told = {METADATA: msgspec.json.encode({"version": VERSION})}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=told))


def completed(table: pa.Table) -> pa.Table:
    """Give a table of objects the columns that the version which wrote it did not have: `counted`, and empty ones."""
    if _COUNTED.name not in table.column_names:
        counted = pc.and_not(table["in_exclusive_tile"], table["below_threshold"])
        table = table.append_column(_COUNTED.name, counted)
    for column in OBJECT_COLUMNS:
        if column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(len(table), column.arrow))
    return table


def read_parquet(path: Path, *, verify: bool = False) -> pa.Table:
    """Read a table from its file, in this thread alone; `verify` holds its pages to their checksums.

    A process that ends as threads of Arrow do is aborted now and then, with all its work done (apache/arrow 34314). And
    a file that is still held would keep Windows from replacing it; `read_table` of pyarrow lets go of it later.
    """
    with path.open("rb") as stream:
        return pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=verify).read(use_threads=False)


def table_fault(of: Path, database: Database, slide: int) -> str:
    """Say what is wrong with the file of a closed slide beside the catalog's table; empty where nothing is."""
    path = of / slide_folder(slide) / OBJECTS_TABLE
    if not path.exists():
        return "is missing"
    try:
        kept = read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        return f"cannot be read ({error})"
    columns = [column for column in _TELLING if column.name in kept.column_names]
    rows = list(map(tuple, zip(*(kept[column.name].to_pylist() for column in columns), strict=True)))
    return "" if rows == list(query(database, _query(columns), (slide, None))) else "is not what the catalog holds"


def write_objects_table(into: Path, database: Database, slide: int) -> None:
    """Write `slide-N/objects.parquet`, whole or not at all."""
    folder = into / slide_folder(slide)
    make_folder(folder)
    with replacing(folder / OBJECTS_TABLE) as stream:
        pq.write_table(read_objects(database, slide), stream)


def remove_objects_table(of: Path, slide: int) -> None:
    """Remove `slide-N/objects.parquet`: what an open slide holds is told by the catalog alone."""
    (of / slide_folder(slide) / OBJECTS_TABLE).unlink(missing_ok=True)
