"""What looks like an object is found in all nights whose features are of the same encoder, with no crop at hand."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from daemon.dataset.features import write_later_features
from daemon.dataset.labels import Label, LabelStatus, label_store, label_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import content_of
from daemon.records.records import FieldSecured
from daemon.sorting.similar import SimilarObjects, find_similar, write_similar_page
from daemon.system.errors import Refused
from tests.support.labelled_night import make_night
from tests.support.small_dataset import NIGHT, make_dataset
from tests.support.small_disk import remount, small_disk

ENCODER, OTHER = "e" * 64, "f" * 64
ASKED = "1/1/1"


def give_features(
    folder: Path, vectors: Mapping[tuple[int, int], tuple[float, ...]], number: int = 1, encoder: str = ENCODER
) -> None:
    """Keep vectors by field and number, of mini-slide 1."""
    made = {
        (f"slide-1/field-{field:04d}.ome.tif", one): np.array(vector, np.float16)
        for (field, one), vector in vectors.items()
    }
    write_later_features(folder, 1, number, encoder, made)


def find(folder: Path, *places: Path, text: str = ASKED, most: int = 24) -> SimilarObjects:
    return find_similar(folder, text, places, most, Console(file=io.StringIO()))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A night with pixels; object 3 of a field is below the threshold, object 4 another tile's."""
    folder = tmp_path / "here" / "night"
    make_dataset(folder)
    give_features(folder, {(1, 1): (4, 0), (1, 2): (0, 1), (1, 3): (4, 0), (2, 1): (-1, 0), (2, 2): (3, 3)})
    return folder


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another night, without pixels."""
    folder = make_night(tmp_path / "others" / "second", fields=2, objects=2, night="second")
    give_features(folder, {(1, 1): (1, 0.1), (1, 0): (np.inf, 0), (2, 1): (0, 0)})
    return folder


def test_the_most_alike_come_first_whatever_their_length(night: Path, second: Path) -> None:
    found = find(night, second.parent)
    assert str(found.object.name) == f"{NIGHT}/slide-1/field-0001/attempt-1/001"
    names = [str(one.name) for one in found.found]
    assert names == [
        "second/slide-1/field-0001/attempt-1/001",
        f"{NIGHT}/slide-1/field-0002/attempt-1/002",
        f"{NIGHT}/slide-1/field-0001/attempt-1/002",
        f"{NIGHT}/slide-1/field-0002/attempt-1/001",
    ]
    expected = [1 / np.hypot(1, 0.1), np.sqrt(0.5), 0, -1]
    np.testing.assert_allclose(found.likeness, expected, atol=1e-3)
    # Of the first night the second mini-slide has no features, of the other one object.
    assert (found.nights, found.searched, found.without) == (2, 6, 5)
    assert find(night, second.parent, most=1).found == found.found[:1]


def test_the_whole_name_of_an_object_means_the_same(night: Path) -> None:
    short = find(night)
    assert find(night, text=str(short.object.name)) == short == find(night, text="slide-1/field-0001/attempt-1/1")


def test_nights_of_another_encoder_are_named_and_left_out(night: Path, second: Path) -> None:
    third = make_night(second.parent / "third", night="third")
    give_features(third, {(1, 1): (4, 0)}, encoder=OTHER)
    fourth = make_night(second.parent / "fourth", night="fourth")
    copy = second.parent / "deeper" / "copy"
    shutil.copytree(night, copy)
    broken = second.parent / "broken"
    broken.mkdir()
    (broken / "catalog.sqlite").write_bytes(b"no catalog")
    found = find(night, second.parent)
    assert found.nights == 2
    notes = "\n".join(found.notes)
    assert len(found.notes) == 4
    assert f"{third} keeps features of encoder {OTHER[:12]}, not {ENCODER[:12]}" in notes
    assert f"{fourth} keeps no features" in notes
    assert f"{copy} holds night {NIGHT!r}, as {night} does" in notes
    assert str(broken) in notes


def test_a_short_name_is_refused_where_several_nights_are_meant(night: Path, second: Path) -> None:
    both = second.parent
    shutil.copytree(night, both / "first")
    with pytest.raises(Refused, match=r"holds 2 nights, and '1/1/1' is an object of any of them; name one"):
        find(both)
    whole = find(both, text="second/slide-1/field-0001/attempt-1/001")
    assert whole.object.name.night == "second"
    assert whole.nights == 2
    with pytest.raises(Refused, match="holds no night 'third'"):
        find(both, text="third/slide-1/field-0001/attempt-1/001")
    # A folder that holds one night means that one.
    assert find(night.parent).object == find(night).object


def test_names_that_cannot_be_read_cost_no_likeness(night: Path, second: Path) -> None:
    before = find(night, second)
    table = pa.table({"field_file": ["x"]})
    pq.write_table(table, second / "slide-1" / "named-001.parquet")
    found = find(night, second)
    assert found.likeness == before.likeness
    assert {one.called for one in found.found if one.name.night == "second"} == {"name not readable"}
    (note,) = found.notes
    assert note.startswith(f"what objects of {second} are called is not known: ")
    assert "named-001.parquet cannot be read" in note


def test_a_damaged_table_of_another_field_costs_the_asked_one_nothing(tmp_path: Path) -> None:
    folder = make_night(tmp_path / "night", encoder=ENCODER)
    give_features(folder, {(1, 1): (1, 0), (1, 2): (1, 1)})
    (folder / "slide-1" / "field-0001-features.parquet").write_bytes(b"PAR1")
    assert len(find(folder).found) == 1


def test_the_newest_encoder_of_the_object_is_compared(night: Path) -> None:
    give_features(night, {(1, 1): (0, 1), (1, 2): (0, 2)}, number=2, encoder=OTHER)
    found = find(night)
    assert (found.encoder, len(found.found), found.likeness[0]) == (OTHER, 1, 1.0)
    # Of this object that encoder has made nothing.
    assert find(night, text="1/2/1").encoder == ENCODER


def test_a_damaged_table_of_features_costs_no_other_night(night: Path, second: Path) -> None:
    give_features(second, {(2, 2): (4, 0)}, number=2)
    (second / "slide-1" / "features-001.parquet").write_bytes(b"PAR1")
    found = find(night, second)
    assert {one.name.night for one in found.found} == {NIGHT}
    assert any("features-001.parquet cannot be read" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1/9/1", "holds no object"),
        ("1/1/9", "holds no object"),
        (f"other {NIGHT}/slide-1/field-0001/attempt-1/001", "is of another night"),
        ("first", "is not the name of an object; it must look like"),
        ("2/1/1", "keeps no features of this object"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(night: Path, text: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        find(night, text=text)


def test_a_place_without_nights_is_refused(night: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="holds no dataset of a night"):
        find(night, tmp_path / "empty")


def test_what_a_person_said_is_shown_before_what_a_classifier_says(night: Path) -> None:
    with Dataset.open(night) as dataset:
        (first, *_) = [field for field in dataset.fields(1) if isinstance(field, FieldSecured)]
        said = Label(
            night=NIGHT, slide=1, field=1, attempt=1, number=2, content=content_of(first.files[0].sha256, 2),
            utc=datetime(2026, 11, 22, tzinfo=UTC), status=LabelStatus.VALIDATED, taxon="emiliania-huxleyi", who="AB",
        )  # fmt: skip
        label_store(dataset).add(label_table([said]))
    called = {one.name.number: one.called for one in find(night).found if one.name.field == 1}
    assert called == {2: "emiliania-huxleyi (validated by AB)"}


def test_the_command_prints_a_table_without_torch(night: Path, second: Path, tmp_path: Path) -> None:
    page = tmp_path / "made" / "page.html"
    words = ["similar", str(night), ASKED, "--in", str(second.parent), "--most", "2", "--page", str(page)]
    code = f"import sys; from daemon.cli.app import app; sys.argv[1:] = {words!r}; app(standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0.995" in done.stdout
    assert "0.707" in done.stdout
    assert "compared with 6 objects of 2 nights; 5 objects have no features" in " ".join(done.stdout.split())
    assert page.is_file()


def test_a_dataset_that_nobody_may_write_is_searched(night: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        shutil.copytree(night, disk / "night")
        remount(disk, "ro")
        assert find(disk / "night").likeness == find(night).likeness


def test_a_page_shows_pictures_and_says_where_one_is_missing(night: Path, second: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_similar_page(find(night, second), page)
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg") == 4
    assert "is missing though the catalog lists it" in text
    # The name of a night may hold what a page would take for its own.
    assert "night &lt;of&gt;" in text
    assert "night <of>" not in text
