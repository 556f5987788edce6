from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from daemon.dataset.catalog import Catalog
from daemon.dataset.held import ByteTotals, DatasetTotals, FieldTotals, SlideHeld
from daemon.dataset.objects_table import OBJECT_COLUMNS, object_values
from daemon.dataset.reader import Dataset
from daemon.protocols import delivery
from daemon.recorder.session import Reception
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.names import field_file
from daemon.records.records import MEASURED, NAMED, AnyRecord, AttemptsOrdered, FieldSecured, encode
from daemon.system.errors import Refused
from tests.support import small_night as night
from tests.support.small_disk import remount, small_disk


def record(into: Path, records: list[AnyRecord]) -> None:
    """Have a recorder take records with their files in."""
    with closing(Reception(into)) as reception:
        hello = delivery.Hello(session=1, night=night.started().night, window=1 << 20)
        reception.handle(b"p", delivery.encode(hello))
        for seq, each in enumerate(records, 1):
            answers = reception.handle(b"p", delivery.encode(delivery.RecordFollows(session=1, seq=seq), encode(each)))
            if isinstance(each, FieldSecured):
                data = night.contents(each.slide, each.field, each.files[0].size)
                chunk = delivery.ChunkFollows(session=1, seq=seq, file=0, offset=0)
                answers += reception.handle(b"p", delivery.encode(chunk, data))
            assert delivery.Ack(session=1, seq=seq) in answers


def field(slide: int, number: int, size: int = 1000, objects: int = 2) -> FieldSecured:
    data = night.contents(slide, number, size)
    return night.secured(slide, number, (night.entry(field_file(slide, number), data),), objects)


def whole_night() -> list[AnyRecord]:
    return [
        night.started(),
        *(field(1, number) for number in (1, 2, 3)),
        night.slide_closed(1, 3),
        night.event(),
        field(2, 1, objects=0),
        night.skipped(2, 2),
        field(2, 3, size=500, objects=0),
        night.slide_closed(2, 2, 1),
        night.night_closed(5, 1),
    ]


def test_a_whole_night_is_counted(tmp_path: Path) -> None:
    record(tmp_path, whole_night())
    with Dataset.open(tmp_path) as dataset:
        assert dataset.totals() == DatasetTotals(
            slides=2,
            fields=FieldTotals(planned=6, recorded=5, skipped=1),
            not_analysed=0,
            gaps=0,
            duplicates=0,
            contradictions=0,
            faults=(),
            objects=6,
            seen_again=0,
            below_threshold=0,
            bytes=ByteTotals(raw=5 * 2 * 9 * 64 * 64 * 2, recorded=4500),
            complete=True,
        )
        assert dataset.slides() == [
            SlideHeld(1, {"sample": "core-1", "depth_cm": "10"}, planned=3, recorded=3, skipped=0, closed=True),
            SlideHeld(2, {"sample": "core-2", "depth_cm": "20"}, planned=3, recorded=2, skipped=1, closed=True),
        ]
        assert dataset.fields(2) == [field(2, 1, objects=0), night.skipped(2, 2), field(2, 3, size=500, objects=0)]
        assert dataset.events() == [night.event()]
        assert dataset.night() == night.started()
        assert dataset.verify() == []


def test_the_dataset_is_found_in_its_run_folder_and_missed_elsewhere(tmp_path: Path) -> None:
    record(tmp_path / "dataset", whole_night())
    with Dataset.open(tmp_path) as dataset:
        assert dataset.folder == tmp_path / "dataset"
    with pytest.raises(Refused, match="holds no dataset"):
        Dataset.open(tmp_path / "nowhere")


def test_a_night_under_way_has_no_gaps_but_is_not_complete(tmp_path: Path) -> None:
    record(tmp_path, whole_night()[:4])
    with Dataset.open(tmp_path) as dataset:
        summary = dataset.totals()
        assert (summary.gaps, summary.complete, summary.fields.recorded) == (0, False, 3)
    assert not (tmp_path / "slide-1/objects.parquet").exists()


def _sql(statement: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as database:
            database.execute(statement)
            database.commit()

    return damage


@pytest.mark.parametrize(
    ("damage", "gaps", "duplicates"),
    [
        (lambda folder: (folder / field_file(1, 2)).unlink(), 1, 0),
        (lambda folder: (folder / field_file(1, 2)).write_bytes(b"short"), 1, 0),
        (_sql("DELETE FROM records WHERE kind = 'event'"), 1, 0),
        (_sql("DELETE FROM fields WHERE slide = 2 AND field = 2"), 1, 0),
        (lambda folder: (folder / field_file(1, 2, "copy")).write_bytes(b"another"), 0, 1),
        (_sql("UPDATE records SET body = (SELECT body FROM records WHERE seq = 2) WHERE seq = 6"), 0, 1),
    ],
    ids=["file gone", "file short", "record gone", "field gone", "second file", "field twice"],
)
def test_what_is_missing_or_there_twice_is_found(
    tmp_path: Path, damage: Callable[[Path], None], gaps: int, duplicates: int
) -> None:
    record(tmp_path, whole_night())
    damage(tmp_path)
    with Dataset.open(tmp_path) as dataset:
        summary = dataset.totals()
        assert (summary.gaps, summary.duplicates, summary.complete) == (gaps, duplicates, False)


@pytest.mark.parametrize(
    ("damage", "name", "what"),
    [
        (lambda folder: (folder / field_file(1, 2)).unlink(), "slide-1/field-0002.ome.tif", "is missing"),
        (lambda folder: (folder / field_file(1, 2)).write_bytes(b"short"), "slide-1/field-0002.ome.tif", "5 bytes"),
        (_sql("DELETE FROM records WHERE kind = 'event'"), "record 6", "is missing from the catalog"),
        (_sql("DELETE FROM fields WHERE slide = 2 AND field = 2"), "mini-slide 2 field 2", "neither recorded"),
        (
            _sql("DELETE FROM objects WHERE field = 3 AND number = 1"),
            "mini-slide 1",
            "6 objects, the catalog's table 5",
        ),
        (
            _sql("UPDATE samples SET planned = 1 WHERE slide = 1"),
            "mini-slide 1",
            "3 fields were recorded or skipped, 1",
        ),
        (lambda folder: (folder / "slide-1" / "objects.parquet").unlink(), "slide-1/objects.parquet", "is missing"),
        (lambda folder: _shorten(folder / "slide-1" / "objects.parquet"), "slide-1/objects.parquet", "cannot be read"),
        (
            lambda folder: shutil.copy(folder / "slide-2" / "objects.parquet", folder / "slide-1"),
            "slide-1/objects.parquet",
            "is not what the catalog holds",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, damage: Callable[[Path], None], name: str, what: str) -> None:
    record(tmp_path, whole_night())
    damage(tmp_path)
    with Dataset.open(tmp_path) as dataset:
        totals = dataset.totals()
    assert [fault.what for fault in totals.faults if fault.name == name and what in fault.what], totals.faults
    assert not totals.complete


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize("damage", [Path.unlink, _shorten])
def test_a_recorder_that_starts_makes_damaged_tables_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    record(tmp_path, whole_night())
    path = tmp_path / "slide-1" / "objects.parquet"
    before = pq.read_table(path)
    damage(path)
    Reception(tmp_path).close()
    assert pq.read_table(path).equals(before)
    with Dataset.open(tmp_path) as dataset:
        assert dataset.totals().complete


def test_a_catalog_that_contradicts_its_records_overwrites_no_table(tmp_path: Path) -> None:
    record(tmp_path, whole_night())
    _sql("DELETE FROM objects WHERE field = 1")(tmp_path)
    before = (tmp_path / "slide-1" / "objects.parquet").read_bytes()
    Reception(tmp_path).close()
    assert (tmp_path / "slide-1" / "objects.parquet").read_bytes() == before


def test_a_bit_that_flipped_is_found_when_hashes_are_read(tmp_path: Path) -> None:
    record(tmp_path, whole_night())
    path = tmp_path / field_file(2, 1)
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with Dataset.open(tmp_path) as dataset:
        assert dataset.totals().complete is True
        assert dataset.verify() == [field_file(2, 1)]


def test_the_table_of_a_closed_slide_carries_object_field_and_sample(tmp_path: Path) -> None:
    record(tmp_path, whole_night())
    table = pq.read_table(tmp_path / "slide-1/objects.parquet")
    assert table.num_rows == 6
    row = table.to_pylist()[3]
    assert (row["night"], row["sample"], row["slide"], row["field"], row["number"]) == (
        "2026-11-21 A",
        "core-1",
        1,
        2,
        1,
    )
    assert (row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]) == (10, 20, 30, 44)
    assert (row["class_name"], row["best_plane"], row["in_exclusive_tile"]) == ("coccolith", 4.25, True)
    assert (row["field_x_um"], row["field_step_um"], row["field_file"]) == (200.0, 0.5, field_file(1, 2))
    assert (row["sample_depth_cm"], row["weights_sha256"]) == ("10", "ab" * 32)
    empty = pq.read_table(tmp_path / "slide-2/objects.parquet")
    assert empty.num_rows == 0
    assert empty.schema == table.schema
    with Dataset.open(tmp_path) as dataset:
        assert dataset.objects(1) == table
        assert dataset.objects().num_rows == 6


def test_a_closed_night_is_one_file_until_it_is_opened_again(tmp_path: Path) -> None:
    def logs() -> list[str]:
        return sorted(file.name for file in tmp_path.glob("catalog.sqlite-*"))

    record(tmp_path, whole_night()[:-1])
    assert logs() == []
    with closing(Catalog(tmp_path)) as catalog:
        catalog.commit(catalog.last_seq() + 1, encode(night.night_closed(5, 1)))
        assert logs() == []
        again = AttemptsOrdered(utc=0.0, who="anna", purpose=Purpose.REDO, attempts=(AttemptName(1, 1, 2),))
        catalog.commit(catalog.last_seq() + 1, encode(again))
        assert logs() == ["catalog.sqlite-shm", "catalog.sqlite-wal"]
    assert logs() == []


def test_a_dataset_on_read_only_media_can_be_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=12) as disk:
        record(disk / "dataset", whole_night())
        remount(disk, "ro")
        with Dataset.open(disk / "dataset") as dataset:
            assert dataset.totals().complete is True
            assert dataset.verify() == []


def coded(folder: Path) -> list[list[tuple[object, ...]]]:
    """Read what programs go by of events and skipped fields."""
    asked = ("name, who, by, fault, reason_code FROM events", "reason, reason_code, who, fault FROM fields")
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as database:
        return [database.execute(f"SELECT {columns} ORDER BY seq").fetchall() for columns in asked]


ADDED_BY_5 = ("fault", "feret_um", "arc_length_um", "outline_doubtful", "usable_for_size", "usable_for_mass")


def older(folder: Path, version: int) -> None:
    """Make of a dataset one of an earlier version."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as database:
        codes = {"fields": ("reason_code", "who", "fault"), "events": ("who", "by", "fault", "reason_code")}
        for table, columns in codes.items() if version < 4 else ():
            for column in columns:
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        if version < 5:
            for table in ("fields", "files"):
                database.execute(f"ALTER TABLE {table} DROP COLUMN attempt")
            database.execute("DROP TABLE attempts")
        measured = MEASURED if version < 3 else ADDED_BY_5 if version < 5 else ()
        for column in (*measured, *(NAMED if version < 6 else ())):
            database.execute(f"ALTER TABLE objects DROP COLUMN {column}")
        for column in ("flags", "excluded_by"):
            database.execute(f"ALTER TABLE fields DROP COLUMN {column}")
        for column in ("device", "analysed_seq", "sources") if version == 1 else ():
            database.execute(f"ALTER TABLE fields DROP COLUMN {column}")
        database.execute(f"PRAGMA user_version = {version}")
        database.commit()


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("written", [False, True])
def test_a_dataset_of_a_version_before_can_be_read_and_gone_on_with(
    tmp_path: Path, written: bool, version: int
) -> None:
    record(tmp_path, whole_night()[:-1])
    with Dataset.open(tmp_path) as dataset:
        totals, fields, objects = dataset.totals(), dataset.fields(), dataset.objects()
        codes = coded(tmp_path)
    older(tmp_path, version)
    if written:
        with closing(Catalog(tmp_path)) as catalog:
            catalog.commit(catalog.last_seq() + 1, encode(night.night_closed(5, 1)))
        totals = msgspec.structs.replace(totals, complete=True)
    with Dataset.open(tmp_path) as dataset:
        assert (dataset.totals(), dataset.fields(), dataset.objects()) == (totals, fields, objects)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as database:
        assert not written or coded(tmp_path) == codes
        assert database.execute("PRAGMA user_version").fetchone() == (7 if written else version,)


def test_every_number_of_an_object_has_a_column() -> None:
    row = night.object_row(0)
    assert list(object_values(row)) == [column.name for column in OBJECT_COLUMNS]
    assert {field.name for field in dataclasses.fields(SlideHeld)} >= {"planned", "recorded", "skipped"}


def test_a_measurement_that_failed_is_stored_as_missing(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(night.object_row(0), best_plane=float("nan"))
    given = msgspec.structs.replace(field(1, 1), objects=(broken,))
    record(tmp_path, [night.started(), given])
    with Dataset.open(tmp_path) as dataset:
        assert dataset.objects(1).column("best_plane").to_pylist() == [None]
