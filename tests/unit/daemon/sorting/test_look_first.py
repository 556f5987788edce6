"""What is unlike the library, rare, unsure or unnamed comes first, in turn; what a person has labelled does not."""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.counts.unlike import unlike
from daemon.dataset.catalog import Catalog
from daemon.dataset.features import write_later_features
from daemon.dataset.labels import Label, LabelStatus, label_store, label_table
from daemon.dataset.later_tables import Given, TableOrigin, objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import content_of
from daemon.records.records import FieldSecured
from daemon.report.gather import gather
from daemon.report.report import report
from daemon.report.verdict import verdict_of
from daemon.report.words import unlike as unlike_told
from daemon.reprocessing.classify import classify_again
from daemon.sorting.look_first import FEW, Why, find_first, find_recorded, in_order
from daemon.system.errors import Refused
from daemon.verdict.facts import UnlikeSlide
from inference.classification.head import Head
from inference.classification.reference import LibraryReference, reference_of
from inference.settings import ClassifierSettings
from tests.support.labelled_night import NIGHT, make_night, redo

ENCODER, WIDTH, EACH = "e" * 64, 8, 40
QUIET = Console(file=io.StringIO())


def table(rows: list[tuple[str | None, float | None, str | None]]) -> pa.Table:
    names = {"taxon": pa.string(), "taxon_probability": pa.float64(), "said_by": pa.string()}
    return pa.table({name: pa.array([row[k] for row in rows], kind) for k, (name, kind) in enumerate(names.items())})


def test_kinds_take_turns_and_each_object_stands_once() -> None:
    common: list[tuple[str | None, float | None, str | None]] = [("common", 0.9, None)] * FEW
    rows = [*common, ("rare", 0.9, None), ("rare", 0.4, None), ("rarest", 0.9, None), ("unsure", 0.3, None)]
    rows += [("unsure", 0.2, None), (None, None, None), ("unsure", 0.1, "AB"), ("unsure", 0.25, None)]
    times = np.full(len(rows), np.nan)
    times[[0, 1, 2, FEW + 2]] = 1.5, 2.5, 0.9, 1.1
    order, waiting = in_order(table(rows), times)
    expected = [
        (1, Why.UNLIKE), (FEW + 2, Why.RARE), (FEW + 4, Why.UNSURE), (FEW + 5, Why.NOT_NAMED),
        (0, Why.UNLIKE), (FEW + 1, Why.RARE), (FEW + 7, Why.UNSURE), (FEW, Why.RARE), (FEW + 3, Why.UNSURE),
    ]  # fmt: skip
    assert [tuple(one) for one in order] == expected
    assert waiting == {Why.UNLIKE: 3, Why.RARE: 3, Why.UNSURE: 3, Why.NOT_NAMED: 1}


def test_nothing_to_look_at_is_no_error() -> None:
    order, waiting = in_order(table([("common", 0.9, None)] * FEW), np.full(FEW, np.nan))
    assert (order, set(waiting.values())) == ([], {0})
    assert in_order(table([]), np.zeros(0))[0] == []


def known() -> LibraryReference:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), EACH)
    vectors = random.normal(0, 1, (len(groups), WIDTH)) + random.normal(0, 0.1, (10, WIDTH))[groups]
    folds = [groups % 5 == fold for fold in range(5)]
    taxa = np.zeros(len(vectors), np.intp)
    return reference_of(vectors.astype(np.float16), taxa, [str(group) for group in groups], folds)


def head(reference: LibraryReference | None) -> Head:
    return Head(
        taxa=("first", "second"),
        parents={},
        not_known={},
        encoder_sha256=ENCODER,
        weights=np.eye(WIDTH, 2, dtype=np.float32),
        bias=np.zeros(2, np.float32),
        temperature=1.0,
        share=np.full(2, 0.5, np.float32),
        threshold=0.0,
        reference=reference,
    )


def named_night(
    folder: Path, reference: LibraryReference | None, moved: float = 0.0, night: str = NIGHT, wild: Collection[int] = ()
) -> Path:
    """Make a night of two fields of 40 objects without pixels, named again; its second object is far off.

    Of those that are wild, by their place, the features are infinite.
    """
    make_night(folder, fields=2, objects=EACH, night=night)
    random = np.random.default_rng(5)
    with Dataset.open(folder) as dataset:
        rows = [
            (one.field, row.number) for one in dataset.fields() if isinstance(one, FieldSecured) for row in one.objects
        ]
    made = {
        (f"slide-1/field-{field:04d}.ome.tif", number): (random.normal(moved, 1, WIDTH) + 20 * (k == 1)).astype(
            np.float16
        )
        for k, (field, number) in enumerate(rows)
    }
    write_later_features(folder, 1, 1, ENCODER, made)
    path = folder.parent / f"{folder.name}.safetensors"
    path.write_bytes(head(reference).to_bytes())
    classify_again(folder, ClassifierSettings(weights=path), QUIET)
    made |= {place: vector + np.float16(np.inf) for k, (place, vector) in enumerate(made.items()) if k in wild}
    write_later_features(folder, 1, 1, ENCODER, made)
    return folder


def test_the_farthest_object_comes_first_until_a_person_has_labelled_it(tmp_path: Path) -> None:
    folder = named_night(tmp_path / "night", known())
    first = find_first([folder], 5, QUIET)
    with Dataset.open(folder) as dataset:
        second = objects_table(dataset)[0]["number"].to_pylist()[1]
        assert (first.objects[0].name.field, first.objects[0].name.number) == (1, second)
        assert first.why[0] is Why.UNLIKE
        assert first.times[0] > 1
        (field, *_) = dataset.fields(1)
        assert isinstance(field, FieldSecured)
        said = Label(
            night=NIGHT, slide=1, field=1, attempt=1, number=second, content=content_of(field.files[0].sha256, second),
            utc=datetime(2026, 11, 22, tzinfo=UTC), status=LabelStatus.VALIDATED, taxon="first",
        )  # fmt: skip
        label_store(dataset).add(label_table([said]))
    assert first.objects[0].name not in [one.name for one in find_first([folder], 5, QUIET).objects]


def test_several_nights_are_one_list_and_an_earlier_head_is_told(tmp_path: Path) -> None:
    named_night(tmp_path / "nights" / "a", known())
    named_night(tmp_path / "nights" / "b", known(), night="another")
    older = named_night(tmp_path / "nights" / "c", None, night="older")
    first = find_first([tmp_path / "nights"], 500, QUIET)
    assert {one.name.night for one in first.objects if one.name.number == 1} >= {NIGHT, "another"}
    assert first.waiting[Why.UNLIKE] == sum(why is Why.UNLIKE for why in first.why)
    assert list(first.notes) == [f"{older}: nothing tells what the library of its classifier looked like"]
    with pytest.raises(Refused, match="holds no dataset of a night"):
        find_first([tmp_path / "nowhere"], 5, QUIET)


def test_what_is_wrong_with_a_night_costs_no_other(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    whole = named_night(nights / "a", known())
    alone = find_first([whole], 500, QUIET)
    shutil.copytree(whole, nights / "deeper" / "copy")
    for name in ("begun", "damaged", "later"):
        (nights / name).mkdir()
    Catalog(nights / "begun").close()
    (nights / "damaged" / "catalog.sqlite").write_bytes(b"no catalog")
    shutil.copy(whole / "catalog.sqlite", nights / "later")
    with closing(sqlite3.connect(nights / "later" / "catalog.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    rewritten = named_night(nights / "rewritten", known(), night="rewritten")
    table = rewritten / "slide-1" / "named-002.parquet"
    pq.write_table(pq.read_table(table).replace_schema_metadata(None), table)
    first = find_first([nights], 500, QUIET)
    assert (first.objects, first.waiting) == (alone.objects, alone.waiting)
    notes = "\n".join(first.notes)
    assert len(first.notes) == 5
    assert f"left out: {nights / 'deeper' / 'copy'} holds night {NIGHT!r}, as {whole} does" in notes
    assert f"left out: {nights / 'begun'} holds no night yet" in notes
    assert f"left out: {nights / 'damaged' / 'catalog.sqlite'}" in notes
    assert "is a dataset of version 99" in notes or "of version 99" in notes
    assert f"left out: {table} cannot be read (it does not say when and with what" in notes
    with pytest.raises(Refused, match="of version 99"):
        find_first([nights / "later"], 5, QUIET)


def test_objects_of_an_attempt_that_does_not_count_any_more_are_found(tmp_path: Path) -> None:
    folder = make_night(tmp_path / "night", fields=1, objects=3)
    with Dataset.open(folder) as dataset:
        row = objects_table(dataset)[0].to_pylist()[2]
    redo(folder, 1, objects=1)
    (found,) = find_recorded([{**row, "at": 0}], [folder])
    assert found is not None
    assert (found.field.attempt, found.row.number) == (1, row["number"])
    assert find_recorded([{**row, "at": 0, "number": 99}], [folder]) == [None]


@pytest.mark.parametrize("option", ["--csv", "--page"])
def test_a_place_that_cannot_be_written_names_its_own_option(tmp_path: Path, option: str) -> None:
    folder = named_night(tmp_path / "night", known())
    (tmp_path / "file").write_text("")
    into = tmp_path / "file" / f"first.{'csv' if option == '--csv' else 'html'}"
    done = CliRunner().invoke(app, ["look-first", str(folder), option, str(into)])
    assert isinstance(done.exception, Refused)
    assert str(done.exception).endswith(f"name another file with {option}")


@pytest.mark.parametrize("far", [0, 3])
def test_the_verdict_promises_only_what_is_listed(tmp_path: Path, far: int) -> None:
    folder = make_night(tmp_path / "night")
    slide = UnlikeSlide(slide=1, times=5.0, far=far, objects=80)
    with Dataset.open(folder) as dataset:
        needs = verdict_of(dataset, None, 0, (slide,)).needs
    (told,) = (need for need in needs if need.startswith("Do not trust the names on mini-slide 1"))
    assert ("look-first" in told) is (far > 0)


def test_the_command_writes_a_table_and_a_page(tmp_path: Path) -> None:
    folder = named_night(tmp_path / "night", known(), night="=cmd()")
    words = [
        "look-first",
        str(folder),
        "--most",
        "2",
        "--csv",
        str(tmp_path / "l.csv"),
        "--page",
        str(tmp_path / "l.html"),
    ]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    with (tmp_path / "l.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["why"] == "unlike the library"
    assert all(row["object"].startswith("'=cmd()/slide-1/") for row in rows)
    text = (tmp_path / "l.html").read_text("utf-8")
    assert text.count("<figure>") == len(rows)


@pytest.mark.parametrize(("moved", "odd"), [(0.0, False), (1.0, True)])
def test_the_report_tells_a_mini_slide_that_is_unlike_the_library(tmp_path: Path, moved: float, odd: bool) -> None:
    folder = named_night(tmp_path / "night", known(), moved)
    with Dataset.open(folder) as dataset:
        (judged,) = unlike(dataset, TableOrigin(Given.NAMED, 2)).slides.values()
        numbers, _ = gather(dataset)
        needs = verdict_of(dataset, None, 0, numbers.unlike_slides).needs
    assert (judged.objects, judged.odd) == (2 * EACH, odd)
    told = "Do not trust the names on mini-slide 1, core-1: its objects differ"
    assert any(need.startswith(told) for need in needs) is odd
    assert ("unlike it" in unlike_told(numbers)) is odd
    if odd:
        page = report(folder, tmp_path / "report.html", None).page.read_text("utf-8")
        assert "Do not trust the names on mini-slide 1, core-1" in page
        assert "differ together from what the classifier" in page


def test_what_cannot_be_said_is_said_in_words(tmp_path: Path) -> None:
    folder = named_night(tmp_path / "night", None)
    with Dataset.open(folder) as dataset:
        assert "an earlier version trained the classifier" in unlike_told(gather(dataset)[0])
    few = replace_groups(known(), 3)
    other = named_night(tmp_path / "other", few)
    with Dataset.open(other) as dataset:
        assert "3 groups of 30 objects or more, and 5 are needed" in unlike_told(gather(dataset)[0])


def test_a_night_that_named_itself_tells_what_it_is_compared_with(tmp_path: Path) -> None:
    later = named_night(tmp_path / "later", known(), moved=1.0)
    own = make_night(tmp_path / "own", fields=2, objects=EACH, encoder=ENCODER, reference=known().to_text())
    with Dataset.open(own) as dataset:
        assert unlike(dataset, TableOrigin(Given.NAMED)).without == "no features of their objects are kept"
        (own / "slide-1" / "field-0001-features.parquet").write_bytes(b"PAR1")
        shutil.copy(later / "slide-1" / "features-001.parquet", own / "slide-1")
        (judged,) = unlike(dataset, TableOrigin(Given.NAMED)).slides.values()
    assert (judged.objects, judged.odd) == (2 * EACH, True)


def test_objects_whose_features_are_no_numbers_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = named_night(tmp_path / "night", known(), moved=1.0, wild={2, 5})
    with Dataset.open(folder) as dataset:
        numbers, _ = gather(dataset)
    (judged,) = numbers.unlike.slides.values()
    assert (judged.objects, judged.odd) == (2 * EACH - 2, True)
    assert "Left out: 2 objects with features that are not numbers." in unlike_told(numbers)
    assert all(np.isfinite(find_first([folder], 5, QUIET).times[:1]))


def test_damaged_features_do_not_cost_the_report(tmp_path: Path) -> None:
    folder = named_night(tmp_path / "night", known())
    (folder / "slide-1" / "features-001.parquet").write_bytes(b"PAR1")
    with Dataset.open(folder) as dataset:
        assert "features-001.parquet cannot be read" in unlike_told(gather(dataset)[0])
    assert find_first([folder], 5, QUIET).notes[0].startswith(f"{folder}: ")


def replace_groups(reference: LibraryReference, groups: int) -> LibraryReference:
    made = LibraryReference.from_text(
        reference.to_text().replace(f'"groups": {reference.groups}', f'"groups": {groups}')
    )
    assert made is not None
    return made
