"""A night that names its objects, in which naming fails and kills: no field is lost, and all are named later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import lamelle as scripts
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.records import NAMED, FieldSecured, ObjectRow
from daemon.report.gather import gather
from daemon.report.words import kinds
from daemon.system.errors import Exit
from tests.support.emulated_night import lamelle, living, write_configuration
from tests.support.places import CONFIGS
from tests.support.small_classifier import TAXA, write_classifier

RAISES, KILLS, FIELDS = 2, 3, 4
"""Fields of mini-slide 1: naming raises an error; the analysis dies of it."""
REHEARSED = f"naming|1/{RAISES}|raise;naming|1/{KILLS}|self"
BINS = {"unsure", None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of that night; its classifier lies beside."""
    folder = tmp_path_factory.mktemp("named")
    weights = folder / "names.safetensors"
    write_classifier(weights)
    config = write_configuration(folder, slides=1, fields=FIELDS, frame_px=256, classifier={"weights": str(weights)})
    config.write_text(f"{config.read_text('utf-8')}taxonomy: {CONFIGS / 'taxonomy.csv'}\n", "utf-8")
    done = lamelle("scan", config, "--run", folder / "run", crash=REHEARSED)
    assert done.returncode == Exit.COMPLETE, done.stdout + done.stderr
    assert not living(folder / "run")
    return folder / "run"


def fields(run: Path) -> Sequence[FieldSecured]:
    with Dataset.open(run) as dataset:
        return [field for field in dataset.fields() if isinstance(field, FieldSecured)]


def names(row: ObjectRow) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in NAMED)


def test_what_cannot_be_named_costs_no_field_and_is_told_once(run: Path) -> None:
    recorded = fields(run)
    assert [field.analysed for field in recorded] == [True] * FIELDS
    assert all(field.objects for field in recorded)
    known = write_classifier(run.parent / "again.safetensors")
    for field in recorded:
        unnamed = field.field in (RAISES, KILLS)
        assert {row.named_by for row in field.objects} == ({None} if unnamed else {known.sha256})
        assert any(file.name.endswith("-features.parquet") for file in field.files) is not unnamed
        if not unnamed:
            assert {row.taxon for row in field.objects} <= {*TAXA, "emiliania", "unsure"}
            assert all(0 < (row.taxon_probability or 0) <= 1 for row in field.objects)
    (event,) = (event for event in summarise(run).events if event.name == "not named")
    assert event.message.startswith("RuntimeError: rehearsed at 'naming'; objects without a name are counted as such")


def test_the_night_keeps_the_taxonomy_and_the_report_calls_taxa_by_their_names(run: Path) -> None:
    with Dataset.open(run) as dataset:
        started = dataset.night()
        assert started is not None
        taxonomy = Taxonomy.from_json(started.taxonomy)
        numbers, _ = gather(dataset)
    assert taxonomy is not None
    assert taxonomy.name_of("emiliania-huxleyi") == "Emiliania huxleyi"
    table = kinds(numbers.taxa, "taxon")
    assert table.head[0] == "taxon"
    assert {row[0] for row in table.rows} <= {taxonomy.name_of(one) for one in (*TAXA, "emiliania")} | {
        "unsure",
        "not named",
    }
    assert sum(int(row[1]) for row in table.rows) == numbers.total.number
    unnamed = sum(row.counted for field in fields(run) for row in field.objects if row.taxon is None)
    assert {row[0]: row[1] for row in table.rows}["not named"] == str(unnamed)


def test_all_are_named_later_and_those_that_were_are_called_the_same(run: Path) -> None:
    done = lamelle("classify", run, "--weights", run.parent / "names.safetensors")
    assert done.returncode == 0, done.stdout + done.stderr
    recorded = fields(run)
    missed = sum(len(field.objects) for field in recorded if field.field in (RAISES, KILLS))
    assert f"; the crops of {missed} objects were looked at, in " in done.stdout
    table = scripts.open(run).objects(counted=False)
    later = {(row["field"], row["number"]): row for row in table.to_pylist()}
    for field in recorded:
        for row in field.objects:
            said = later[field.field, row.number]
            assert said["taxon"] is not None
            if row.taxon is not None:
                assert tuple(said[name] for name in NAMED) == names(row)
    # Now there are features of all: the crops are not looked at any more.
    again = lamelle("classify", run, "--weights", run.parent / "names.safetensors")
    assert "looked at" not in again.stdout
    assert scripts.open(run).objects(counted=False)["taxon"] == table["taxon"]


def test_another_classifier_names_a_resumed_night_no_further(run: Path, tmp_path: Path) -> None:
    """What does not fit is told, and the night goes on."""
    weights = tmp_path / "names.safetensors"
    write_classifier(weights)
    config = write_configuration(tmp_path, slides=1, fields=2, frame_px=256, classifier={"weights": str(weights)})
    done = lamelle("scan", config, "--run", tmp_path / "run", crash="journalled|1|all")
    assert done.returncode != 0
    write_classifier(weights, seed=2)
    done = lamelle("scan", config, "--run", tmp_path / "run", "--resume")
    assert done.returncode == Exit.COMPLETE, done.stdout + done.stderr
    first, second = fields(tmp_path / "run")
    assert {row.taxon for row in first.objects} - BINS
    assert {row.taxon for row in second.objects} == {None}
    (event,) = (event for event in summarise(tmp_path / "run").events if event.name == "not named")
    assert "and the night began with" in event.message
