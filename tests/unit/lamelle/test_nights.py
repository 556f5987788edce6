from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamelle
from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.records.names import field_file
from daemon.report.gather import gather
from daemon.report.verdict import verdict_of
from tests.support.small_dataset import NIGHT, make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights") / "one" / "dataset"
    make_dataset(folder, slides=2, fields=2)
    return folder


def test_tables_count_what_the_report_counts(dataset: Path) -> None:
    nights = lamelle.open(dataset)
    with Dataset.open(dataset) as there:
        numbers, counted = gather(there)
    samples = nights.samples().to_pylist()
    assert [(row["slide"], row["objects"], row["low"], row["high"]) for row in samples] == [
        (slide.slide, slide.total.number, slide.total.low, slide.total.high) for slide in numbers.slides
    ]
    assert [row["skipped"] for row in samples] == [1, 1]
    assert len(counted) == nights.objects().num_rows == sum(row["objects"] for row in nights.fields().to_pylist()) == 8


def test_what_does_not_count_is_told_apart(dataset: Path) -> None:
    every = lamelle.open(dataset).objects(counted=False).to_pylist()
    assert len(every) == 16
    assert {row["number"] for row in every if row["counted"]} == {1, 2}  # 3 is below the threshold, 4 another field's


def test_an_object_has_its_pixels_with_axes_and_scale(dataset: Path) -> None:
    nights = lamelle.open(dataset.parent)
    row = nights.objects().to_pylist()[-1]
    stack, fused = nights.stack(row), nights.fused(row)
    with read_field_file(dataset / field_file(row["slide"], row["field"])) as file:
        (one,) = (one for one in file.objects if one.number == row["number"])
        np.testing.assert_array_equal(stack.pixels, file.crop(one))
        np.testing.assert_array_equal(fused.pixels, file.fused(one))
    assert (stack.axes, stack.scale, stack.z_um) == ("CZYX", (1.0, 0.5, 0.059, 0.059), (-0.5, 0.0, 0.5, 1.0, 1.5))
    assert (fused.axes, fused.scale, fused.z_um) == ("CYX", (1.0, 0.059, 0.059), ())
    assert stack.polarizations == ("crossed", "parallel")
    assert stack.corner_px == (row["crop_box_x0"], row["crop_box_y0"])


def test_several_nights_are_joined(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.small_dataset.NIGHT", "another")
    make_dataset(tmp_path / "another", slides=1, fields=1)
    (tmp_path / "notes").mkdir()
    shutil.copytree(dataset, tmp_path / "copied")
    nights = lamelle.open(str(tmp_path / "*"))
    assert set(nights.folders) == {NIGHT, "another"}
    assert nights.left_out == (tmp_path / "notes",)
    assert nights.objects()["night"].value_counts().to_pylist() == [
        {"values": "another", "counts": 2},
        {"values": NIGHT, "counts": 8},
    ]
    listed = lamelle.open([dataset, tmp_path / "another", dataset.parent])
    assert listed.samples().num_rows == nights.samples().num_rows == 3
    with pytest.raises(lamelle.LamelleError, match="both hold night"):
        lamelle.open([dataset, str(tmp_path / "*")])


def test_a_dataset_is_not_written_to(dataset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(dataset, copied)
    folders = [copied, *(path for path in copied.rglob("*") if path.is_dir())]
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    for folder in folders:
        folder.chmod(0o500)
    try:
        nights = lamelle.open(copied)
        assert nights.objects().num_rows == 8
        assert nights.stack(nights.objects().to_pylist()[0]).pixels.size
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "does not exist; name a run folder"),
        ("no-*", "no run folder or dataset fits"),
        ("", "is not a dataset of lamelle"),
    ],
)
def test_what_is_no_dataset_is_told_in_one_sentence(place: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(lamelle.LamelleError, match=said) as caught:
        lamelle.open(tmp_path / place)
    assert "\n" not in str(caught.value)


def test_no_folder_at_all_is_told() -> None:
    with pytest.raises(lamelle.LamelleError, match="no folder was named"):
        lamelle.open([])


def test_an_object_that_is_not_there_is_told(dataset: Path) -> None:
    nights = lamelle.open(dataset)
    key = {"night": NIGHT, "slide": 1, "field": 1, "number": 99}
    with pytest.raises(lamelle.LamelleError, match="holds no object 99"):
        nights.stack(key)
    with pytest.raises(lamelle.LamelleError, match="does not exist; ask for a slide and field"):
        nights.stack(key | {"field": 3})
    with pytest.raises(lamelle.LamelleError, match="there is no night 'x'"):
        nights.fused(key | {"night": "x"})


def test_the_version_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", lamelle.__version__)


def test_a_table_that_counts_otherwise_than_the_records_is_told(dataset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(dataset, copied)
    with closing(sqlite3.connect(copied / "catalog.sqlite")) as database:
        database.execute("DELETE FROM objects WHERE slide = 1 AND field = 2 AND number = 1")
        database.commit()
    told = "mini-slide 1: the records count 4 objects, the catalog's table 3"
    with pytest.warns(UserWarning, match=told):
        lamelle.open(copied).samples()
    with pytest.warns(UserWarning, match=told):
        lamelle.open(copied).objects()
    with Dataset.open(copied) as there:
        verdict = verdict_of(there, None, len(there.totals().faults))
    assert not verdict.headline.startswith("Complete")
    assert verdict.needs[0].startswith("The dataset has 2 faults")


def test_a_missing_file_is_told_as_extracting_tells_it(dataset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(dataset, copied)
    (copied / field_file(1, 2)).unlink()
    with pytest.raises(lamelle.LamelleError, match="is missing though the catalog lists it; fetch it again"):
        lamelle.open(copied).stack({"night": NIGHT, "slide": 1, "field": 2, "number": 1})
    with pytest.raises(lamelle.LamelleError, match="ask for a slide and field of `fields"):
        lamelle.open(copied).stack({"night": NIGHT, "slide": 1, "field": 3, "number": 1})


def test_a_mini_slide_that_was_never_searched_bounds_nothing(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=2, fields=0)
    make_dataset(tmp_path / "searched", slides=1, fields=1, objects=0)
    assert [(row["objects"], row["low"], row["high"]) for row in lamelle.open(tmp_path).samples().to_pylist()] == [
        (0, None, None)
    ] * 2
    (searched,) = lamelle.open(tmp_path / "searched").samples().to_pylist()
    assert (searched["objects"], searched["low"], round(searched["high"], 2)) == (0, 0.0, 3.69)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"number": 0.5}, "number is 0.5; give a whole number"),
        ({"number": None}, "number is None; give a whole number"),
        ({"field": float("nan")}, "field is nan; give a whole number"),
        ({"slide": "abc"}, "slide is 'abc'; give a whole number"),
        ({"night": None}, "there is no night None here"),
    ],
)
def test_a_key_that_names_no_object_is_refused(dataset: Path, wrong: dict[str, object], said: str) -> None:
    key = {"night": NIGHT, "slide": 1, "field": 2, "number": 1} | wrong
    with pytest.raises(lamelle.LamelleError, match=re.escape(said)):
        lamelle.open(dataset).stack(key)
    with pytest.raises(lamelle.LamelleError, match="'number' is missing"):
        lamelle.open(dataset).stack({"night": NIGHT, "slide": 1, "field": 2})


@pytest.mark.parametrize("place", [3, None, b"runs", [1.5], "x" * 5000])
def test_what_names_no_folder_is_refused(place: Any) -> None:
    with pytest.raises(lamelle.LamelleError):
        lamelle.open(place)
