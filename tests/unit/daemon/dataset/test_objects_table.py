"""Columns of objects that came later, as the one that says which of them count, of tables that were written before."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from daemon.counts.objects import load_objects
from daemon.dataset.later_tables import objects_table
from daemon.dataset.objects_table import METADATA, completed
from daemon.dataset.reader import Dataset
from daemon.records.counting import ObjectCounts
from daemon.records.names import OBJECTS_TABLE
from daemon.records.records import FieldSecured
from tests.support.small_dataset import make_dataset


def test_the_column_says_what_the_rows_say(tmp_path: Path) -> None:
    fields = make_dataset(tmp_path, slides=1, fields=2, objects=5)
    table = pq.read_table(tmp_path / "slide-1" / OBJECTS_TABLE)
    assert table["counted"].to_pylist() == [row.counted for field in fields for row in field.objects]
    # Of five objects of a field the third is below the threshold, and the fourth another field's.
    assert ObjectCounts.of(row for field in fields for row in field.objects) == ObjectCounts(6, 2, 2)
    assert completed(table) is table


def test_tables_that_lack_columns_are_read(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=2, fields=2, objects=5)
    for slide in (1, 2):
        table = pq.read_table(tmp_path / f"slide-{slide}" / OBJECTS_TABLE)
        older = table.drop_columns(["counted", "fault", "feret_um", "usable_for_size"])
        assert completed(older)["counted"] == table["counted"]
        assert completed(older)["fault"] == table["fault"]
        assert completed(older)["usable_for_size"].null_count == len(table)
        pq.write_table(older, tmp_path / f"slide-{slide}" / "measured-001.parquet")
    with Dataset.open(tmp_path) as dataset:
        measured, of_the_night = load_objects(dataset, 1), load_objects(dataset, 0)
        rows = [row for field in dataset.fields() if isinstance(field, FieldSecured) for row in field.objects]
    assert len(measured) == len(of_the_night) == ObjectCounts.of(rows).counted
    assert np.array_equal(measured["number"], of_the_night["number"])


def test_each_object_is_in_one_number_only(tmp_path: Path) -> None:
    (row, *_) = make_dataset(tmp_path, slides=1, fields=1, objects=1)[0].objects
    neither = replace(row, below_threshold=True, in_exclusive_tile=False)
    assert ObjectCounts.of([neither]) + ObjectCounts.of([row]) == ObjectCounts(1, 0, 1)


def test_a_table_tells_units_times_and_lists_as_what_they_are(tmp_path: Path) -> None:
    (field,) = make_dataset(tmp_path, slides=1, fields=1, objects=2)
    table = pq.read_table(tmp_path / "slide-1" / OBJECTS_TABLE)
    units = {one.name: (one.metadata or {}).get(b"unit", b"").decode() for one in table.schema}
    expected = {"box_x0": "px", "length_um": "um", "area_um2": "um2", "volume_um3": "um3", "mass_pg": "pg"}
    assert {name: units[name] for name in expected} == expected
    assert (units["orientation_deg"], units["field_step_um"], units["score"]) == ("deg", "um", "")
    row = table.to_pylist()[0]
    assert row["field_exposed_utc"] == datetime.fromtimestamp(field.exposed_utc, UTC)
    assert row["field_shape_czyx"] == list(field.shape_czyx)
    assert row["field_polarizations"] == list(field.polarizations)
    assert row["field_sources"] == []
    assert json.loads(table.schema.metadata[METADATA]) == {"version": 2}


def test_a_table_of_the_first_version_is_read(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=1, fields=1, objects=2)
    path = tmp_path / "slide-1" / OBJECTS_TABLE
    table = pq.read_table(path)
    for name in ("field_shape_czyx", "field_polarizations", "field_sources"):
        texts = pa.array([json.dumps(value) for value in table[name].to_pylist()])
        table = table.set_column(table.schema.get_field_index(name), name, texts)
    seconds = pa.array([value.timestamp() for value in table["field_exposed_utc"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("field_exposed_utc"), "field_exposed_utc", seconds)
    for name in (OBJECTS_TABLE, "measured-001.parquet"):
        pq.write_table(table.replace_schema_metadata(None), path.with_name(name))
    with Dataset.open(tmp_path) as dataset:
        assert dataset.totals().faults == ()
        again, own = objects_table(dataset, 1), objects_table(dataset, 0)
    assert again[0].equals(own[0])
    assert again[1].gaps == []


def test_a_table_is_read_without_threads_of_arrow(tmp_path: Path) -> None:
    """With them a process is aborted at its end now and then."""
    pq.write_table(pa.table({"a": [1, 2], "b": [[1], [2, 3]]}), tmp_path / "a.parquet")
    code = (
        "import sys, psutil, daemon.dataset.objects_table as tables; from pathlib import Path; "
        "before = psutil.Process().num_threads(); read = tables.read_parquet(Path(sys.argv[1])); "
        "assert read.to_pydict() == {'a': [1, 2], 'b': [[1], [2, 3]]}; print(psutil.Process().num_threads() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.parquet")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
