"""Tables say what the report says, whole, the same each time, and what each of their columns means."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import runpy
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from rich.console import Console
from typer.testing import CliRunner

import lamelle
from benchmarks.columns import PAGE, tables
from benchmarks.rooms import between
from daemon.cli.app import app
from daemon.config.loading import freeze
from daemon.config.taxonomy import Taxon
from daemon.counts.excluding import FieldsMeant, say_of_fields
from daemon.dataset.catalog import Catalog
from daemon.dataset.later_tables import OF_AN_OBJECT, Given, MeasuredWith, NamedWith, write_later_table
from daemon.dataset.reader import Dataset
from daemon.labels.transfer import import_labels
from daemon.records.names import field_file
from daemon.records.records import NAMED, AnyRecord, NightStarted, encode
from daemon.report.gather import gather
from daemon.system.errors import Refused
from daemon.tables.columns import TableName
from daemon.tables.written import DICTIONARY, write_tables
from tests.support import small_night
from tests.support.configuration_files import night as configured
from tests.support.labelled_night import write_table
from tests.support.places import ROOT
from tests.support.small_dataset import make_dataset

NIGHT = "2026-11-21 A"
TAXONOMY = msgspec.json.encode(
    (Taxon("emiliania", "Emiliania huxleyi", "species"), Taxon("gephyrocapsa", "Gephyrocapsa", "genus"))
).decode()
FILES = sorted([DICTIONARY, *(f"{name}{end}" for name in TableName for end in (".csv", ".parquet"))])


def started(folder: Path, night: str, depth: str = "10") -> NightStarted:
    folder.mkdir(parents=True, exist_ok=True)
    config = configured(folder, {"detector.classes": ["coccolith", "diatom", "spicule"]})
    return replace(
        small_night.started(night, slides=4, fields=2),
        configuration=freeze(config),
        samples={slide: {"sample": f"core-{slide}", "=depth": depth} for slide in range(1, 5)},
        taxonomy=TAXONOMY,
        named_by="ab" * 32,
        calibrations=("pixel-2026-11-20",),
    )


def make_night(folder: Path, night: str = NIGHT, taxon: str = "emiliania") -> Path:
    """Write a night of four mini-slides: objects of two classes, nothing found, all skipped, not taken yet."""
    records: list[AnyRecord] = [started(folder.parent, night)]
    for field in (1, 2):
        rows = tuple(
            replace(
                small_night.object_row(number, score=0.9 if number else 0.3),
                class_name="diatom" if number == 1 else "coccolith",
                taxon=taxon if number < 3 else "unsure",
                taxon_probability=0.8,
                length_um=float("nan"),
            )
            for number in range(4 + field)
        )
        file = small_night.entry(field_file(1, field), f"{night} {field}".encode())
        records.append(replace(small_night.secured(1, field, (file,)), objects=rows))
    records += [small_night.secured(2, field, (), objects=0) for field in (1, 2)]
    records += [small_night.skipped(3, field) for field in (1, 2)]
    folder.mkdir()
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


def write(places: Sequence[Path], into: Path, beside: Path | None = None) -> dict[TableName, pa.Table]:
    written = write_tables(places, into, Console(file=io.StringIO()), beside)
    there = {name: pq.read_table(into / f"{name}.parquet") for name in TableName}
    assert {name: table.num_rows for name, table in there.items()} == written.rows
    return there


def rows_of(table: pa.Table, **those: Any) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in those.items())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_night(tmp_path_factory.mktemp("tables") / "dataset")


@pytest.fixture(scope="module")
def into(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("into") / "made" / "tables"
    write([folder], into)
    return into


@pytest.fixture(scope="module")
def written(into: Path) -> dict[TableName, pa.Table]:
    return {name: pq.read_table(into / f"{name}.parquet") for name in TableName}


def test_tables_say_what_the_report_says(folder: Path, written: dict[TableName, pa.Table]) -> None:
    with Dataset.open(folder) as dataset:
        numbers, _ = gather(dataset)
    for slide in numbers.slides:
        (row,) = rows_of(written[TableName.SAMPLES], slide=slide.slide)
        assert (row["objects"], row["low"], row["high"]) == (slide.total.number, slide.total.low, slide.total.high)
        per_mm2 = slide.total.per_mm2 or (None, None, None)
        assert (row["objects_per_mm2"], row["low_per_mm2"], row["high_per_mm2"]) == per_mm2
        for kind, there in (("class", slide.kinds), ("taxon", slide.taxa)):
            counts = rows_of(written[TableName.COUNTS], slide=slide.slide, kind=kind)
            assert [(one["name"], one["objects"]) for one in counts] == [(one.name, one.count.number) for one in there]
        fields = rows_of(written[TableName.FIELDS], slide=slide.slide)
        assert sum(one["area_mm2"] for one in fields if one["counted"]) == pytest.approx(slide.area_mm2)
        assert sum(one["objects"] for one in fields) == slide.total.number


def test_what_is_not_there_has_a_row(written: dict[TableName, pa.Table]) -> None:
    def of(slide: int, kind: str) -> dict[str | None, tuple[Any, ...]]:
        found = rows_of(written[TableName.COUNTS], slide=slide, kind=kind)
        return {one["name"]: (one["objects"], one["low"], one["high"]) for one in found}

    assert of(1, "all")[None][0] == 9
    assert {name: one[0] for name, one in of(1, "class").items()} == {"coccolith": 7, "diatom": 2, "spicule": 0}
    assert {name: one[0] for name, one in of(1, "taxon").items()} == {
        "Emiliania huxleyi": 4, "unsure": 5, "not named": 0,
    }  # fmt: skip
    # Searched and empty: at most -ln(0.025) with 95 %. Skipped, or not taken yet: nothing is known.
    assert of(2, "class")["diatom"] == (0, 0.0, pytest.approx(3.6889, abs=1e-4))
    assert of(3, "class")["diatom"] == of(4, "taxon")["Emiliania huxleyi"] == (0, None, None)
    states = [(one["slide"], one["state"]) for one in written[TableName.FIELDS].to_pylist()]
    # Which fields are still to be taken the plan of the configuration tells; it has more than this night planned.
    assert [one for one in states if one[0] < 4] == [
        (slide, state) for slide, state in ((1, "recorded"), (2, "recorded"), (3, "skipped")) for _ in range(2)
    ]
    (skipped, _) = rows_of(written[TableName.FIELDS], state="skipped")
    assert (skipped["counted"], skipped["reason"]) == (False, "stage stuck: it did not arrive")


def test_objects_have_what_a_reader_must_know(written: dict[TableName, pa.Table]) -> None:
    objects = written[TableName.OBJECTS]
    assert objects.num_rows == 11
    assert len(rows_of(objects, counted=True)) == 9
    first = objects.to_pylist()[1]
    area = rows_of(written[TableName.SAMPLES], slide=1)[0]["area_mm2"]
    assert (first["area_mm2"], first["instrument"], first["calibrations"]) == (area, "emulated", ["pixel-2026-11-20"])
    assert (first["taxon"], first["taxon_name"], first["attempt"]) == ("emiliania", "Emiliania huxleyi", 1)
    assert first["field_exposed_utc"] == datetime.fromtimestamp(1_700_000_001, UTC)
    assert first["sample_=depth"] == "10"


def test_every_column_is_in_the_dictionary_and_says_its_meaning(into: Path) -> None:
    with (into / DICTIONARY).open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == ["table", "column", "type", "unit", "meaning"]
    for name in TableName:
        schema = pq.read_schema(into / f"{name}.parquet")
        own = [line for line in lines if line["table"] == name]
        assert [line["column"] for line in own] == schema.names
        with (into / f"{name}.csv").open(encoding="utf-8-sig", newline="") as stream:
            assert next(csv.reader(stream)) == schema.names
        for line, field in zip(own, schema, strict=True):
            told = {key.decode(): value.decode() for key, value in field.metadata.items() if key != b"PARQUET:field_id"}
            assert told == {key: line[key] for key in ("unit", "meaning") if line[key]}
            assert line["meaning"]
    units = {(line["table"], line["column"]): (line["type"], line["unit"]) for line in lines}
    assert units["samples", "low_per_mm2"] == ("number", "1/mm2")
    assert units["samples", "area_mm2"] == ("number", "mm2")
    assert units["objects", "mass_pg"] == ("number", "pg")
    assert units["objects", "box_x0"] == ("whole number", "px")
    assert units["objects", "label_utc"] == units["fields", "exposed_utc"] == ("time (UTC)", "")
    assert units["objects", "counted"] == ("yes or no", "")
    assert units["fields", "move_s"] == ("number", "s")


def test_the_page_has_the_dictionary(into: Path) -> None:
    page = PAGE.read_text("utf-8")
    made = dict(tables(into / DICTIONARY))
    assert set(made) == set(TableName)
    for name, table in made.items():
        assert between(page, name) == table, "make it anew: python -m benchmarks.columns FOLDER"


def test_a_spreadsheet_reads_the_csv_and_computes_nothing(into: Path, tmp_path: Path) -> None:
    raw = (into / "objects.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfnight,sample,")
    with (into / "objects.csv").open(encoding="utf-8-sig", newline="") as stream:
        first = next(csv.DictReader(stream))
    assert (first["counted"], first["length_um"], first["label_taxon"]) == ("no", "", "")
    assert first["field_polarizations"] == '["crossed", "parallel"]'
    assert first["field_exposed_utc"] == "2023-11-14T22:13:21.000000Z"
    hostile = make_night(tmp_path / "dataset", night="=HYPERLINK(1)")
    write([hostile], tmp_path / "out")
    for name in TableName:
        for line in (tmp_path / "out" / f"{name}.csv").read_text("utf-8-sig").splitlines()[1:]:
            assert line.startswith("'=HYPERLINK(1),")


def test_the_same_datasets_give_the_same_bytes_whatever_their_order(folder: Path, tmp_path: Path) -> None:
    other = make_night(tmp_path / "other" / "dataset", night="B", taxon="gephyrocapsa")
    write([folder, other], tmp_path / "one")
    write([other, folder], tmp_path / "two")
    write([other], tmp_path / "two")
    write([other, folder], tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    counts = pq.read_table(tmp_path / "one" / "counts.parquet")
    # What another night found has a row in this one, whose taxonomy knows it, and whose objects were named.
    taxa = [(one["taxon"], one["objects"]) for one in rows_of(counts, night="B", slide=1, kind="taxon")]
    assert len(taxa) == 4
    assert dict(taxa) == {"gephyrocapsa": 4, "unsure": 5, None: 0, "emiliania": 0}


def test_what_was_said_later_is_in_the_tables(tmp_path: Path) -> None:
    folder = make_night(tmp_path / "dataset")
    said = {"night": NIGHT, "slide": "1", "field": "1", "number": "1", "utc": "2026-11-22T00:00:00Z"}
    label = write_table(tmp_path / "l.csv", [said | {"status": "validated", "taxon": "gephyrocapsa", "who": "AB"}])
    import_labels(folder, [label], Console(file=io.StringIO()), beside=tmp_path / "beside")
    with Dataset.open(folder) as dataset:
        own = dataset.objects(1)
    length = own.schema.get_field_index("length_um")
    of_one = own.set_column(length, "length_um", pa.array([7.0] * len(own))).filter(pa.compute.equal(own["field"], 1))
    measured = MeasuredWith(number=1, utc=1.0, versions={}, formulas={}, calibrations=("pixel-2026-12-01",))
    write_later_table(folder, Given.MEASURED, 1, of_one, measured)
    names = own.select([*OF_AN_OBJECT, *NAMED])
    taxon = names.schema.get_field_index("taxon")
    names = names.set_column(taxon, "taxon", pa.array(["gephyrocapsa"] * len(own)))
    named = NamedWith(number=1, utc=1.0, versions={}, named_by="cd" * 32, encoder="", taxonomy=TAXONOMY)
    write_later_table(folder, Given.NAMED, 1, names, named)

    there = write([folder], tmp_path / "out", tmp_path / "beside")
    objects = there[TableName.OBJECTS]
    assert {(one["field"], one["length_um"], *one["calibrations"]) for one in objects.to_pylist()} == {
        (1, 7.0, "pixel-2026-12-01"), (2, None, "pixel-2026-11-20"),
    }  # fmt: skip
    assert set(objects["taxon_name"].to_pylist()) == {"Gephyrocapsa"}
    assert [(one["number"], one["label_taxon_name"]) for one in rows_of(objects, label_who="AB")] == [
        (1, "Gephyrocapsa")
    ]
    (sample, *_) = there[TableName.SAMPLES].to_pylist()
    assert (sample["measured"], sample["named"]) == (1, 1)
    done = CliRunner().invoke(app, ["tables", str(folder), "--into", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "measurement 1 does not cover 1 field (mini-slide 1: 2)" in done.output


def test_what_cannot_be_read_is_named_and_the_rest_written(folder: Path, tmp_path: Path) -> None:
    broken = make_night(tmp_path / "nights" / "broken" / "dataset", night="B")
    (broken / "catalog.sqlite").write_bytes(b"nothing of the kind" * 100)
    make_night(tmp_path / "nights" / "whole" / "dataset", night="C")
    done = CliRunner().invoke(app, ["tables", str(tmp_path / "nights"), str(folder), "--into", str(tmp_path / "out")])
    assert done.exit_code == 3, done.output
    assert re.search(r"left out: .*broken", done.output)
    assert " 8 samples, " in done.output.splitlines()[-1]
    parts = tmp_path / "nights" / "whole" / "dataset" / "added"
    parts.mkdir()
    (parts / "labels-20261130T145500Z-1.parquet").write_bytes(b"cut")
    done = CliRunner().invoke(app, ["tables", str(parts.parent), "--into", str(tmp_path / "out")])
    assert done.exit_code == 3
    assert "labels-20261130T145500Z-1.parquet" in done.output


def test_nothing_is_written_over_by_half_or_into_a_dataset(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="lies inside the dataset"):
        write([folder], folder / "tables")
    with pytest.raises(Refused, match="is a file; name a folder"):
        write([folder], folder / "catalog.sqlite")
    with pytest.raises(Refused, match="holds no dataset of a night"):
        write([tmp_path], tmp_path / "out")
    into = tmp_path / "out"
    write([folder], into)
    before = {name: (into / name).read_bytes() for name in FILES}
    (into / "samples.parquet.part").mkdir()  # the place where a later file would be written
    other = make_night(tmp_path / "other" / "dataset", night="B")
    with pytest.raises(Refused, match="cannot be written"):
        write([other], into)
    assert {name: (into / name).read_bytes() for name in FILES} == before
    assert sorted(path.name for path in into.iterdir() if path.is_file()) == FILES


def test_an_archive_of_which_nothing_tells_the_scale_has_no_areas(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset")
    there = write([tmp_path / "dataset"], tmp_path / "out")
    assert set(there[TableName.COUNTS]["objects_per_mm2"].to_pylist()) == {None}
    assert set(there[TableName.OBJECTS]["area_mm2"].to_pylist()) == {None}
    assert sum(one["objects"] for one in rows_of(there[TableName.COUNTS], kind="class")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("excluded", ["", "1-2", "2"])
def test_densities_in_five_lines_are_those_of_the_report(
    excluded: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    shutil.copytree(folder, tmp_path / "dataset")
    if excluded:
        say_of_fields(tmp_path / "dataset", FieldsMeant(1, excluded, True, "no oil"))
    write([tmp_path / "dataset"], tmp_path / "tables")
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "dataset.md").read_text("utf-8").partition("## Densities in five lines")[2]
    quick, with_all, by_hand = re.findall(r"(?s)```python\n(.*?)```", section.partition("\n## ")[0])
    assert len(quick.split("\n\n")[1].strip().splitlines()) <= 5
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(quick + with_all, first)
        exec(by_hand, second)
    with Dataset.open(tmp_path / "dataset") as dataset:
        numbers, _ = gather(dataset)
    assert list(second["density"].index) == [(NIGHT, slide.slide, slide.sample) for slide in numbers.slides]
    seen = 0
    for slide in numbers.slides:
        for kind in slide.kinds:
            key = (NIGHT, slide.slide, slide.sample)
            row = first["densities"].loc[(*key, kind.name)]
            assert row["objects"] == kind.count.number
            every = first["classes"].loc[(*key, kind.name)]
            assert (every["all_objects"], every["excluded_share"]) == (kind.with_excluded.number, slide.excluded_share)
            if kind.with_excluded.per_mm2 is not None:
                densities = [every[f"all_{name}per_mm2"] for name in ("", "low_", "high_")]
                assert densities == pytest.approx(kind.with_excluded.per_mm2)
            if kind.count.per_mm2 is None:
                assert slide.recorded == slide.excluded_fields
                assert row.isna().sum() == 3
                assert all(second[name].loc[key].isna().all() for name in ("density", "low", "high"))
                continue
            assert tuple(row)[1:] == pytest.approx(kind.count.per_mm2)
            if kind.name in second["found"].columns:
                seen += 1
                own = tuple(float(second[name].loc[key, kind.name]) for name in ("density", "low", "high"))
                assert own == pytest.approx(kind.count.per_mm2)
    # Two classes that were found, two mini-slides that were searched; nothing else counts where mini-slide 1 does not.
    assert seen == (0 if excluded == "1-2" else 4)


def test_the_example_prints_densities_with_and_without_what_is_not_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    shutil.copytree(folder, tmp_path / "dataset")
    say_of_fields(tmp_path / "dataset", FieldsMeant(1, "all", True, "no oil"))
    write([tmp_path / "dataset"], tmp_path / "tables")
    example = str(ROOT / "examples" / "densities.py")
    monkeypatch.setattr(sys, "argv", [example, str(tmp_path / "tables")])
    runpy.run_path(example, run_name="__main__")
    printed = {(row["slide"], row["name"]): row for row in csv.DictReader(io.StringIO(capfd.readouterr().out))}
    with Dataset.open(tmp_path / "dataset") as dataset:
        numbers, _ = gather(dataset)
    assert len(printed) == sum(len(slide.kinds) for slide in numbers.slides)
    for slide in numbers.slides:
        for kind in slide.kinds:
            row = printed[str(slide.slide), kind.name]
            assert (int(row["objects"]), int(row["all_objects"])) == (kind.count.number, kind.with_excluded.number)
            for prefix, count in (("objects_", kind.count), ("all_", kind.with_excluded)):
                value = row[f"{prefix}per_mm2"]
                assert (float(value) if value else None) == (count.per_mm2 and pytest.approx(count.per_mm2[0]))
    assert printed["1", "diatom"]["excluded_share"] == "1.0"


def test_scripts_have_the_same_tables(folder: Path, written: dict[TableName, pa.Table]) -> None:
    nights = lamelle.open(folder)
    assert nights.counts().equals(written[TableName.COUNTS])
    assert nights.samples().equals(written[TableName.SAMPLES])
    fields = nights.fields().to_pylist()
    assert [one["objects"] for one in fields] == written[TableName.FIELDS]["objects"].to_pylist()
    assert fields[0]["exposed_utc"] == 1_700_000_001.0  # seconds, as scripts have had them
