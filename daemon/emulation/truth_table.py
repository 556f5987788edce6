"""The table of what truly lies in exported emulated fields, junk included: Parquet, and CSV without the outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from daemon.system.durable_files import replacing
from drivers.virtual_slide.truth import Box, TrueObject

PARQUET_FILE, CSV_FILE = "truth.parquet", "truth.csv"

_CORNERS, _ENDS = ("x0", "y0", "x1", "y1"), ("low", "high")
_POINTS = pa.list_(pa.list_(pa.float32()))
_PLAIN = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
_PLACE = {
    "image": pa.string(), "stack": pa.string(), "slide": pa.int64(), "field": pa.int64(),
    "annotation": pa.int64(), "to_be_found": pa.bool_(), "plane": pa.float64(), "display_plane": pa.float64(),
}  # fmt: skip


def _columns() -> dict[str, pa.DataType]:
    columns = dict(_PLACE)
    for name, hint in get_type_hints(TrueObject).items():
        if hint in _PLAIN:
            columns[name] = _PLAIN[hint]
        elif hint in (Box, tuple[float, float]):
            ends = _CORNERS if hint == Box else _ENDS
            columns |= {f"{name}_{end}": pa.float64() for end in ends}
        else:
            columns[name] = _POINTS
    return columns


def row(one: TrueObject, place: Mapping[str, Any]) -> dict[str, Any]:
    """One object's row: every field of it.

    Parameters
    ----------
    place
        where it was seen: the columns before its own.
    """
    cells = dict(place)
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, tuple):
            ends = _CORNERS if len(value) == len(_CORNERS) else _ENDS
            cells |= {f"{field.name}_{end}": number for end, number in zip(ends, value, strict=True)}
        else:
            cells[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
    return cells


def write(into: Path, rows: Sequence[Mapping[str, Any]], settings: str) -> None:
    """Write both files of a folder.

    Parameters
    ----------
    settings
        of the emulation, as JSON; kept in the Parquet file's metadata.
    """
    schema = pa.schema(_columns().items(), metadata={"emulation": settings})
    table = pa.Table.from_pylist(list(rows), schema=schema)
    with replacing(into / PARQUET_FILE) as stream:
        pq.write_table(table, stream, compression="zstd")
    with replacing(into / CSV_FILE) as stream:
        pyarrow.csv.write_csv(table.select([f.name for f in schema if f.type != _POINTS]), stream)
