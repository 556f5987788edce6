"""What napari is given: objects where they lay, at their scale, with their names; nothing of what is another's."""

from __future__ import annotations

import io
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from rich.console import Console

from daemon.dataset.field_file import read_field_file
from daemon.exchange.objects import extract
from daemon.figures.choice import ObjectChoice
from daemon.labels.transfer import import_labels
from lamelle.napari_reader import get_reader
from tests.support.kept_night import make_kept_night
from tests.support.labelled_night import write_table
from tests.support.places import ROOT
from tests.support.small_dataset import NIGHT, make_dataset

MANIFEST = ROOT / "lamelle" / "napari.yaml"
FIELD = "slide-1/field-0001.ome.tif"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("napari") / "dataset"
    make_dataset(folder, slides=1, fields=2, objects=4)
    said = {"night": NIGHT, "slide": "1", "field": "1", "number": "2", "utc": "2026-11-22T00:00:00Z", "who": "AB"}
    label = write_table(folder.parent / "l.csv", [said | {"status": "validated", "taxon": "emiliania"}])
    import_labels(folder, [label], Console(file=io.StringIO()))
    return folder


def layers(path: Path | list[Path]) -> list[tuple[Any, ...]]:
    given = str(path) if isinstance(path, Path) else [str(one) for one in path]
    reader = get_reader(given)
    assert reader is not None
    return reader(given)


def test_a_field_is_its_objects_where_they_lay_with_their_names(folder: Path) -> None:
    crossed, parallel, boxes = layers(folder / FIELD)
    with read_field_file(folder / FIELD) as file:
        at, rows = file.provenance, file.objects
        crops = {row.number: file.crop(row) for row in rows}
    assert [one[2] for one in (crossed, parallel, boxes)] == ["image", "image", "shapes"]
    assert (crossed[1]["name"], parallel[1]["name"]) == ("slide 1 field 1 crossed", "slide 1 field 1 parallel")
    assert crossed[1]["scale"] == (at.step_um, at.pixel_um, at.pixel_um)
    for row, corners in zip(rows, boxes[0], strict=True):
        x0, y0, x1, y1 = row.crop_box
        left, top = (
            round((position - origin) / at.pixel_um)
            for position, origin in (
                (at.x_um + (x0 - at.shape_czyx[3] / 2) * at.pixel_um, crossed[1]["translate"][2]),
                (at.y_um + (y0 - at.shape_czyx[2] / 2) * at.pixel_um, crossed[1]["translate"][1]),
            )
        )
        for channel, layer in enumerate((crossed, parallel)):
            seen = layer[0][:, top : top + y1 - y0, left : left + x1 - x0]
            if row is rows[-1]:  # others may lie below it
                np.testing.assert_array_equal(seen, crops[row.number][channel])
        assert np.ptp(corners, axis=0) == pytest.approx(
            ((row.box[3] - row.box[1]) * at.pixel_um, (row.box[2] - row.box[0]) * at.pixel_um)
        )
    assert crossed[1]["translate"][0] == at.first_z_um
    features = boxes[1]["features"]
    classes = {row.number: row.class_name for row in rows}
    assert dict(zip(features["number"], features["name"], strict=True)) == classes | {2: "emiliania"}


def test_several_files_and_a_single_object_open_too(folder: Path, tmp_path: Path) -> None:
    assert len(layers([folder / FIELD, folder / "slide-1" / "field-0002.ome.tif"])) == 6
    extract(folder, tmp_path, ObjectChoice(), limit=1)
    (single,) = tmp_path.rglob("*.ome.tif")
    image, _, boxes = layers(single)
    with read_field_file(single) as file:
        np.testing.assert_array_equal(image[0], file.crop(file.objects[0])[0])
    assert len(boxes[0]) == 1


def test_a_dataset_is_a_map_of_its_fields_and_objects(folder: Path) -> None:
    for place in (folder, folder / "catalog.sqlite", folder.parent):
        fields, objects = layers(place)
        assert fields[1]["features"]["field"] == [1, 2]  # the third was skipped, and nothing tells where it was to be
        assert len(objects[0]) == len(objects[1]["features"]["name"]) == 4
        assert objects[1]["features"]["name"].count("emiliania") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["raw", "fused"])
def test_a_kept_field_is_shown_whole(tmp_path: Path, kept: str) -> None:
    make_kept_night(tmp_path, slides=1, part=kept)
    path = tmp_path / "slide-1" / f"field-0001-{kept}.ome.tif"
    shown = layers(path)
    with read_field_file(path) as file:
        np.testing.assert_array_equal(np.stack([layer[0] for layer in shown]), file.stack())


def test_what_is_not_lamelles_is_left_to_others(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ome.tif"
    tifffile.imwrite(other, np.zeros((2, 4, 4), np.uint16))
    damaged = tmp_path / "damaged.ome.tif"
    damaged.write_bytes((folder / FIELD).read_bytes()[:200])
    for path in (other, damaged, tmp_path, tmp_path / "missing.ome.tif", tmp_path / "picture.png"):
        assert get_reader(str(path)) is None
    assert get_reader([str(folder / FIELD), str(other)]) is None
    assert get_reader([]) is None


def test_a_field_with_nothing_in_it_shows_nothing(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=1, fields=1, objects=0)
    assert layers(tmp_path / FIELD) == [(None,)]


def test_napari_finds_the_reader_by_its_manifest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package, _, file = project["entry-points"]["napari.manifest"]["lamelle"].partition(":")
    assert ROOT / package / file == MANIFEST
    manifest = yaml.safe_load(MANIFEST.read_text("utf-8"))
    (command,) = manifest["contributions"]["commands"]
    module, _, name = command["python_name"].partition(":")
    assert getattr(import_module(module), name) is get_reader
    assert [one["command"] for one in manifest["contributions"]["readers"]] == [command["id"]]


def test_napari_itself_opens_them(folder: Path) -> None:
    npe2 = pytest.importorskip("npe2", reason="napari is not installed")
    components = pytest.importorskip("napari.components", reason="napari is not installed")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manager = npe2.PluginManager.instance()
    if manifest.name not in manager:
        manager.register(manifest)
    viewer = components.ViewerModel()
    image, _, boxes = viewer.open(str(folder / FIELD), plugin="lamelle")
    assert [str(unit) for unit in image.units] == ["micrometer"] * 3
    assert "2 emiliania" in "".join(boxes.text.values)
    assert len(viewer.open(str(folder), plugin="lamelle")) == 2
