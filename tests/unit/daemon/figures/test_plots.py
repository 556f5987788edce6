"""Pictures of a dataset: they are there, show something, and count what they say they count."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image
from rich.console import Console

from daemon.counts.objects import load_objects
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.figures.plots import plot
from daemon.records.records import AnyRecord, FieldSecured, ObjectRow, encode
from daemon.reprocessing.measure import measure_again
from daemon.system.errors import Refused
from tests.support import small_night as night
from tests.support.emulated_night import Digest
from tests.support.small_dataset import make_dataset

PICTURES = {"lengths", "masses", "length-mass", "focus", "places", "scores", "thickness"}


def quiet() -> Console:
    return Console(file=io.StringIO())


def colours(path: Path) -> int:
    with Image.open(path) as picture:
        return len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0))


def test_every_picture_of_a_night_shows_something(undisturbed: tuple[Path, Digest], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed[0], run)
    written = plot(run, None, None, quiet())
    assert {path.stem for path in written} == PICTURES
    assert all(path.parent == run / "dataset" / "plots" for path in written)
    for path in written:
        assert colours(path) > 60, path.name
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    with Dataset.open(run) as dataset:
        assert dataset.totals().complete


@pytest.mark.slow
def test_what_was_never_measured_is_drawn_as_such(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset", slides=3)
    written = plot(tmp_path / "dataset", tmp_path / "pictures", None, quiet())
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {f"{name}.png" for name in PICTURES}
    assert len(written) == len(PICTURES)


@pytest.mark.slow
def test_a_sample_with_a_long_name_leaves_room_for_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.small_dataset.sample_of", lambda slide: f"core-{slide}" * 50)
    make_dataset(tmp_path, slides=2)
    measure_again(tmp_path, quiet())
    assert plot(tmp_path, None, None, quiet())  # a warning of matplotlib would be an error


def test_the_newest_measurement_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=2)
    for _ in range(2):
        measure_again(tmp_path, quiet())
    with Dataset.open(tmp_path) as dataset:
        newest, first, own = (load_objects(dataset, number) for number in (None, 1, 0))
        with pytest.raises(Refused, match="no measurement 3; there are: 1, 2, and 0"):
            load_objects(dataset, 3)
    assert [one.origins.measured.number for one in (newest, first, own)] == [2, 1, 0]
    assert np.isfinite(newest["length_um"]).any()
    assert not any(value is not None and np.isfinite(value) for value in own["length_um"].astype(float))


def test_whole_objects_stand_for_those_that_are_cut(tmp_path: Path) -> None:
    def row(number: int, side: int, **changes: bool) -> ObjectRow:
        made = replace(night.object_row(number), box=(100, 200, 100 + side, 200 + 2 * side), series=number)
        return replace(made, **changes)

    rows = (row(0, 40), row(1, 100), row(2, 40, touches_edge=True), row(3, 40, below_threshold=True),
            row(4, 40, in_exclusive_tile=False))  # fmt: skip
    catalog = Catalog(tmp_path)
    given = night.secured(1, 1, (night.entry("slide-1/field-0001.ome.tif", b"x"),))
    field: FieldSecured = replace(given, objects=rows, shape_czyx=(2, 9, 1000, 800))
    records: tuple[AnyRecord, ...] = (night.started(slides=1, fields=1), field)
    for seq, record in enumerate(records, start=1):
        catalog.commit(seq, encode(record))
    catalog.close()
    with Dataset.open(tmp_path) as dataset:
        objects = load_objects(dataset)
    assert objects["number"].tolist() == [0, 1, 2]
    # W H / ((W - w)(H - h)), and nothing for what is cut.
    expected = [800 * 1000 / ((800 - 40) * (1000 - 80)), 800 * 1000 / ((800 - 100) * (1000 - 200)), 0.0]
    assert objects.weights.tolist() == pytest.approx(expected)
    assert objects.names("class_name") == ["coccolith"]


def test_an_empty_night_is_not_plotted(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=1, objects=0)
    with pytest.raises(Refused, match="no objects to plot"):
        plot(tmp_path, None, None, quiet())
