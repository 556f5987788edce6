"""A measurement gives its numbers, and a naming its names, to the objects it holds, and hides no others."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import lamelle
from daemon.dataset.later_tables import (
    OF_AN_OBJECT,
    Given,
    MeasuredWith,
    NamedWith,
    later_tables,
    measured_with,
    named_with,
    objects_table,
    write_later_table,
)
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import show, summarise
from daemon.figures.plots import plot
from daemon.records.records import NAMED
from daemon.report.gather import gather
from daemon.report.sources import sources_of
from daemon.system.errors import DamagedFile, Refused
from tests.support.small_dataset import make_dataset

Change = Callable[[pa.Table], pa.Table]


def measure(folder: Path, slides: tuple[int, ...] = (1, 2), change: Change = lambda table: table) -> None:
    """Put tables beside the night's own that say 7 um of every object."""
    with Dataset.open(folder) as dataset:
        for slide in slides:
            table = dataset.objects(slide)
            index = table.schema.get_field_index("length_um")
            table = table.set_column(index, "length_um", pa.array([7.0] * len(table), pa.float64()))
            pq.write_table(change(table), folder / f"slide-{slide}" / "measured-001.parquet")


def field(number: int) -> Change:
    return lambda table: table.filter(pc.equal(table["field"], number))


def other_attempt(table: pa.Table) -> pa.Table:
    """Say that field 2 was measured on another attempt."""
    names = [name.replace("0002", "0002-attempt-2") for name in table["field_file"].to_pylist()]
    return table.set_column(table.schema.get_field_index("field_file"), "field_file", pa.array(names))


def other_box(table: pa.Table) -> pa.Table:
    lefts = [x - (field == 2) for x, field in zip(table["box_x0"].to_pylist(), table["field"].to_pylist(), strict=True)]
    return table.set_column(table.schema.get_field_index("box_x0"), "box_x0", pa.array(lefts))


@pytest.mark.parametrize("change", [field(1), lambda table: table.slice(0, len(table) - 1), other_attempt, other_box])
def test_fields_that_a_measurement_does_not_hold_keep_their_own_numbers(tmp_path: Path, change: Change) -> None:
    make_dataset(tmp_path)
    measure(tmp_path, change=change)
    with Dataset.open(tmp_path) as dataset:
        table, origins = objects_table(dataset)
        assert table.drop_columns("length_um").equals(dataset.objects().drop_columns("length_um"))
        numbers, objects = gather(dataset)
    assert (origins.measured.number, origins.measured.uncovered) == (1, ((1, 2), (2, 2)))
    lengths = zip(table["field"].to_pylist(), table["length_um"].to_pylist(), strict=True)
    assert set(lengths) == {(1, 7.0), (2, None)}
    assert [slide.total.number for slide in numbers.slides] == [4, 4]
    told = "does not cover 2 fields (mini-slide 1: 2; mini-slide 2: 2)"
    sources = sources_of(numbers, objects.origins, tmp_path)
    assert told in dict(sources.facts)["lengths and masses"]
    assert "does not say when and with what it was made" in sources.complaints[-1]
    with pytest.warns(UserWarning, match="does not cover 2 fields"):
        assert lamelle.open(tmp_path).objects(counted=False).num_rows == 16
    out = io.StringIO()
    show(summarise(tmp_path), Console(file=out, width=400))
    assert told in out.getvalue()


@pytest.mark.slow
def test_a_mini_slide_without_its_table_keeps_its_objects(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    measure(tmp_path, slides=(2,))
    summary = summarise(tmp_path)
    assert summary.measured.uncovered == ((1, 1), (1, 2))
    with pytest.warns(UserWarning, match=r"mini-slide 1: 1-2"):
        assert lamelle.open(tmp_path).objects()["slide"].to_pylist() == [1] * 4 + [2] * 4
    out = io.StringIO()
    plot(tmp_path, tmp_path / "plots", None, Console(file=out, width=400))
    assert "does not cover 2 fields (mini-slide 1: 1-2)" in out.getvalue()


def test_a_measurement_of_everything_is_said_to_have_no_gap(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    measure(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(lamelle.open(tmp_path).objects()["length_um"].to_pylist()) == {7.0}
        assert set(lamelle.open(tmp_path).objects(measured=0)["length_um"].to_pylist()) == {None}
    assert (summarise(tmp_path).measured.number, summarise(tmp_path).measured.gap) == (1, "")


def test_a_damaged_measurement_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    measure(tmp_path)
    path = tmp_path / "slide-1" / "measured-001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"measured-001\.parquet cannot be read .*restore it from a copy"):
        lamelle.open(tmp_path).objects()


def lose_metadata(path: Path) -> None:
    """Write a table again as another program does, which keeps its rows."""
    rows = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_table_that_lost_what_lamelle_wrote_of_it_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    made = MeasuredWith(number=1, utc=0.0, versions={}, formulas={}, calibrations=())
    with Dataset.open(tmp_path) as dataset:
        for slide in (1, 2):
            write_later_table(tmp_path, Given.MEASURED, slide, dataset.objects(slide), made)
    name(tmp_path, 1, "emiliania")
    for given, read in ((Given.MEASURED, measured_with), (Given.NAMED, named_with)):
        (path, _) = later_tables(tmp_path, given)[1]
        assert read(path).number == 1
        lose_metadata(path)
        with pytest.raises(DamagedFile, match=rf"{given}-001\.parquet cannot be read \(it does not say when .*restore"):
            read(path)
        path.with_name("no-table").write_bytes(b"PAR1")
        with pytest.raises(DamagedFile, match="no-table cannot be read"):
            read(path.with_name("no-table"))
    # Its rows are read all the same, beside those of the other mini-slide.
    assert set(lamelle.open(tmp_path).objects(measured=0)["taxon"].to_pylist()) == {"emiliania"}


def test_a_table_whose_columns_are_of_other_types_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    name(tmp_path, 1, "emiliania")
    (path, _) = later_tables(tmp_path, Given.NAMED)[1]
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["slide"]).append_column("slide", [["one"] * len(table)]), path)
    with pytest.raises(DamagedFile, match=r"named-001\.parquet cannot be read"):
        lamelle.open(tmp_path).objects()


def name(folder: Path, number: int, taxon: str, slides: tuple[int, ...] = (1, 2)) -> None:
    """Put tables beside the night's own that say one taxon of every object."""
    made = NamedWith(number=number, utc=0.0, versions={}, named_by="ab" * 32, encoder="cd" * 32)
    with Dataset.open(folder) as dataset:
        for slide in slides:
            table = dataset.objects(slide)
            for column, value in (("taxon", taxon), ("taxon_probability", 0.5)):
                index = table.schema.get_field_index(column)
                kind = table.schema.field(column).type
                table = table.set_column(index, column, pa.array([value] * len(table), kind))
            write_later_table(folder, Given.NAMED, slide, table.select([*OF_AN_OBJECT, *NAMED]), made)


def test_the_newest_names_stand_beside_the_newest_measurement(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    measure(tmp_path)
    name(tmp_path, 1, "gephyrocapsa")
    name(tmp_path, 2, "emiliania")
    opened = lamelle.open(tmp_path)
    newest, first, own = opened.objects(), opened.objects(named=1), opened.objects(named=0)
    assert set(newest["taxon"].to_pylist()) == {"emiliania"}
    assert set(first["taxon"].to_pylist()) == {"gephyrocapsa"}
    assert set(own["taxon"].to_pylist()) == {None}
    assert set(newest["length_um"].to_pylist()) == {7.0}
    with pytest.raises(Refused, match="no naming 3; there are: 1, 2, and 0, the night's own"):
        opened.objects(named=3)


def test_names_of_a_part_are_told_as_a_part(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    name(tmp_path, 1, "emiliania", slides=(2,))
    with pytest.warns(UserWarning, match=r"naming 1 does not cover 2 fields \(mini-slide 1: 1-2\).*`lamelle classify`"):
        table = lamelle.open(tmp_path).objects()
    assert table["taxon"].to_pylist() == [None] * 4 + ["emiliania"] * 4
    out = io.StringIO()
    show(summarise(tmp_path), Console(file=out, width=400))
    assert "naming 1 does not cover" in out.getvalue()
