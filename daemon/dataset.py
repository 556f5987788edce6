"""A dataset as its readers see it, and the table of objects of each closed slide."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from daemon.durable import make_folder, replacing
from daemon.layout import OBJECTS_TABLE, slide_folder

_FLAGS = ("below_threshold", "best_plane_at_edge", "touches_edge", "in_exclusive_tile")

_OBJECTS = """
    SELECT night.night, fields.sample, objects.*, fields.x_um AS field_x_um, fields.y_um AS field_y_um,
           fields.first_z_um AS field_first_z_um, fields.step_um AS field_step_um,
           fields.polarizations AS field_polarizations, fields.shape_czyx AS field_shape_czyx,
           fields.exposed_utc AS field_exposed_utc, fields.focus_z_um AS field_focus_z_um, night.weights_sha256,
           (SELECT name FROM files WHERE files.slide = objects.slide AND files.field = objects.field
            ORDER BY name LIMIT 1) AS file
    FROM objects JOIN fields USING (slide, field), night
    WHERE objects.slide = ? ORDER BY objects.field, objects.number
"""


def read_objects(database: sqlite3.Connection, slide: int) -> pa.Table:
    """Objects of a slide with their field's provenance and the columns of their sample (`sample_*`)."""
    cursor = database.execute(_OBJECTS, (slide,))
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    (given,) = database.execute("SELECT columns FROM samples WHERE slide = ?", (slide,)).fetchone()
    arrays = {name: pa.array(values) for name, values in columns.items()}
    for name in _FLAGS:
        arrays[name] = arrays[name].cast(pa.bool_())
    for name, value in msgspec.json.decode(given, type=dict[str, str]).items():
        arrays[f"sample_{name}"] = pa.array([value] * len(rows), pa.string())
    return pa.table(arrays)


def write_objects_table(into: Path, database: sqlite3.Connection, slide: int) -> None:
    """Write `slide-N/objects.parquet`, whole or not at all."""
    folder = into / slide_folder(slide)
    make_folder(folder)
    with replacing(folder / OBJECTS_TABLE) as stream:
        pq.write_table(read_objects(database, slide), stream)
