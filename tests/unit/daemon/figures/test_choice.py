"""Which objects are shown: by what was said of them last, in the order that was asked for."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from rich.console import Console

from daemon.config.taxonomy import Taxon
from daemon.dataset.later_tables import OF_AN_OBJECT, Given, MeasuredWith, NamedWith, write_later_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Selection
from daemon.figures.choice import ChosenObjects, ObjectChoice, ObjectOrder, choose_objects
from daemon.labels.transfer import import_labels
from daemon.records.records import NAMED
from daemon.system.errors import Refused
from tests.support.labelled_night import write_table
from tests.support.small_dataset import NIGHT, make_dataset

TAXONOMY = (
    Taxon("gephyrocapsa", "Gephyrocapsa", "genus"),
    Taxon("oceanica", "Gephyrocapsa oceanica", "species", parent="gephyrocapsa", synonyms=("G. oceanica",)),
    Taxon("calcidiscus", "Calcidiscus", "genus"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two fields of objects 0, 1 and 2 that count, measured and named later, one labelled, one discarded."""
    folder = tmp_path_factory.mktemp("choice")
    make_dataset(folder, slides=1, fields=2, objects=4)
    with Dataset.open(folder) as dataset:
        own = dataset.objects(1)
    counted = [(row["field"], row["number"]) for row in own.to_pylist()]
    lengths = [10.0 * field + number for field, number in counted]
    taxa = ["oceanica" if number == 1 else "unsure" if field == 1 else None for field, number in counted]

    def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
        at = table.schema.get_field_index(name)
        return table.set_column(at, name, pa.array(values, table.schema.field(name).type))

    measured = MeasuredWith(number=1, utc=1.0, versions={}, formulas={}, calibrations=())
    write_later_table(folder, Given.MEASURED, 1, with_column(own, "length_um", list(lengths)), measured)
    text = msgspec.json.encode(TAXONOMY).decode()
    named = NamedWith(number=1, utc=1.0, versions={}, named_by="c" * 64, encoder="", taxonomy=text)
    names = with_column(own.select([*OF_AN_OBJECT, *NAMED]), "taxon", list(taxa))
    write_later_table(folder, Given.NAMED, 1, names, named)
    said = {"night": NIGHT, "slide": "1", "field": "2", "utc": "2026-11-22T00:00:00Z", "who": "AB"}
    labels = [
        said | {"number": "1", "status": "validated", "taxon": "calcidiscus"},
        said | {"number": "2", "status": "discarded"},
        said | {"field": "1", "number": "2", "status": "predicted", "taxon": "calcidiscus"},  # no person's word
    ]
    import_labels(folder, [write_table(folder / "l.csv", labels)], Console(file=io.StringIO()))
    return folder


def found(folder: Path, choice: ObjectChoice) -> tuple[ChosenObjects, list[tuple[int, int]]]:
    with Dataset.open(folder) as dataset:
        chosen = choose_objects(dataset, choice)
    return chosen, [(one.field, one.row.number) for one in chosen.objects]


@pytest.mark.parametrize(
    ("taxon", "objects"),
    [
        ("G. OCEANICA", [(1, 1)]),  # of field 2 a person says something else
        ("gephyrocapsa", [(1, 1)]),
        ("Calcidiscus", [(2, 1)]),
        ("unsure", [(1, 2)]),
        ("not named", []),
        ("discarded", [(2, 2)]),
    ],
)
def test_a_taxon_means_those_below_it_and_what_a_person_says_stands_above_names(
    folder: Path, taxon: str, objects: list[tuple[int, int]]
) -> None:
    _, everything = found(folder, ObjectChoice())
    assert everything == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert found(folder, ObjectChoice(taxa=frozenset({taxon})))[1] == objects


def test_a_taxon_that_nobody_knows_is_refused_with_those_that_are_there(folder: Path) -> None:
    with pytest.raises(Refused, match=r"--taxon 'calcidicus' is unknown \(did you mean calcidiscus\?\); .*Calcidiscus"):
        found(folder, ObjectChoice(taxa=frozenset({"calcidicus"})))


def test_sizes_are_those_of_the_newest_measurement(folder: Path) -> None:
    assert found(folder, ObjectChoice(least_um=12.0, most_um=21.0))[1] == [(1, 2), (2, 1)]
    assert found(folder, ObjectChoice(least_um=12.5, order=ObjectOrder.SIZE))[1] == [(2, 2), (2, 1)]


def test_objects_come_in_the_order_that_was_asked_for(folder: Path) -> None:
    chosen, by_taxon = found(folder, ObjectChoice(order=ObjectOrder.TAXON))
    names = [chosen.name_of(one) for one in chosen.objects]
    assert names == ["Calcidiscus", "Gephyrocapsa oceanica", "discarded", "unsure"]
    assert by_taxon == [(2, 1), (1, 1), (2, 2), (1, 2)]
    chosen, _ = found(folder, ObjectChoice(order=ObjectOrder.SCORE))
    scores = [one.row.score for one in chosen.objects]
    assert scores == sorted(scores, reverse=True)


def test_a_selection_holds_too(folder: Path) -> None:
    assert found(folder, ObjectChoice(Selection(classes=frozenset({"diatom"}))))[1] == [(1, 1), (2, 1)]
