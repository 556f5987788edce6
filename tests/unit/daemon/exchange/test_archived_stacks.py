"""From an archive of plane files to CVAT, and back to its stacks."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
import yaml
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.dataset.catalog import Catalog
from daemon.exchange.annotations import propose
from daemon.exchange.kept_stacks import find_known_stacks
from daemon.records.records import AnyRecord, FieldSecured, NightClosed, NightStarted, SlideClosed, SourceFile, encode
from daemon.system.durable_files import sha256_of
from daemon.system.errors import Refused
from drivers.recorded.images import opened
from inference.annotations.stacks import find_stacks, read_stack
from inference.errors import AnnotationError
from inference.settings import DetectorSettings
from tests.support.kept_night import FRAME_PX, PLANES, WORDS, make_kept_night
from tests.support.ome_zarr_files import image

CLASSES = DetectorSettings().classes
NAMES = ["slide-1/field-0001-f8037589.jpg", "slide-2/field-0001-f8037589.jpg"]
"""What the fields are called in CVAT; the last word is the CRC-32 of the dataset's name."""


class Detected(NamedTuple):
    images: Path
    found: Path
    fields: list[FieldSecured]


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    """An archive of two fields in plane files, and the dataset of what is truly in them."""
    folder = tmp_path_factory.mktemp("archive")
    fields = make_kept_night(folder / "found", night="archive-1", images=folder / "images")
    return Detected(folder / "images", folder / "found", fields)


def validated(zipped: Path) -> bytes:
    with zipfile.ZipFile(zipped) as archive:
        return archive.read("annotations.xml").replace(b"_NV", b"")


def lamelle(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_fields_of_plane_files_are_drawn_for_cvat(detected: Detected, tmp_path: Path) -> None:
    told = lamelle("propose", detected.found, "--into", tmp_path / "task.zip", "--images", detected.images)
    boxes = sum(len(field.objects) for field in detected.fields)
    assert told.splitlines() == [f"{boxes} boxes on 2 pictures in {tmp_path / 'task.zip'}"]
    with zipfile.ZipFile(tmp_path / "task.zip") as archive:
        assert {name for name in archive.namelist() if name.startswith("images/")} == {f"images/{n}" for n in NAMES}
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(f"images/{n}"))).convert("L"), float) for n in NAMES]
    assert [one.attrib["name"] for one in ET.fromstring(validated(tmp_path / "task.zip")).iter("image")] == NAMES
    for grey, field in zip(pictures, detected.fields, strict=True):
        assert grey.shape == (FRAME_PX, FRAME_PX)
        for x0, y0, x1, y1 in (row.box for row in field.objects):
            assert np.ptp(grey[y0:y1, x0:x1]) > 40


def test_judged_by_what_comes_back_a_detector_is_as_good_as_by_lamelles_own_coco(
    detected: Detected, tmp_path: Path
) -> None:
    places = ("--stacks", detected.found, "--images", detected.images)
    for name in ("task.zip", "own.json"):
        propose(detected.found, tmp_path / name, 0.5, detected.images)
    (tmp_path / "back.xml").write_bytes(validated(tmp_path / "task.zip"))
    (tmp_path / "own.json").write_text((tmp_path / "own.json").read_text("utf-8").replace("_NV", ""), "utf-8")
    figures = [json.loads(lamelle("evaluate", tmp_path / name, *places)) for name in ("own.json", "back.xml")]
    assert 0.5 < figures[0]["ap"] < 1
    assert figures[0]["fields"] == 2
    assert figures[1]["ap"] == pytest.approx(figures[0]["ap"], abs=5e-4)
    found = find_stacks([tmp_path / "back.xml"], CLASSES, stacks=find_known_stacks([detected.found], [detected.images]))
    assert found.problems == ()
    for number, one in enumerate(found.stacks, start=1):
        np.testing.assert_array_equal(read_stack(one), written(detected.images, number))
        assert one.picture.source == f"seed {0xF8037589} slide {number}"


def test_what_is_missing_on_the_way_is_told(detected: Detected, tmp_path: Path) -> None:
    told = lamelle("propose", detected.found, "--into", tmp_path / "boxes.xml").splitlines()
    assert told[1:] == [
        "2 of these are stacks of an archive, not drawn; name the archive's folder with --images to draw pictures"
    ]
    assert not (tmp_path / "images").exists()
    with pytest.raises(AnnotationError, match=r"found' keeps no stack; name the folder .* with --images"):
        find_known_stacks([detected.found])
    with pytest.raises(AnnotationError, match="name that dataset with --stacks"):
        find_known_stacks([], [detected.images])
    with pytest.raises(AnnotationError, match=r"holds no 'core 1/f3_LR_z-1\.50\.tif' as it was"):
        find_known_stacks([detected.found], [tmp_path])
    propose(detected.found, tmp_path / "own.json", 0.5, detected.images)
    with pytest.raises(AnnotationError, match=r"z-1\.50\.tif and 13 more' is annotated but does not exist"):
        read_stack(find_stacks([tmp_path / "own.json"], CLASSES).stacks[0])


def test_a_plane_that_was_changed_is_refused(detected: Detected, tmp_path: Path) -> None:
    propose(detected.found, tmp_path / "boxes.xml", 0.5)
    known = find_known_stacks([detected.found], [tmp_path, detected.images])
    one, other = find_stacks([tmp_path / "boxes.xml"], CLASSES, stacks=known).stacks
    changed = detected.images / "core 2" / "f3_LL_z0.50.tif"
    before = changed.read_bytes()
    changed.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(AnnotationError, match=r"core 2/f3_LR_z-1\.50\.tif and 13 more' is not as it was"):
            read_stack(other)
        with pytest.raises(AnnotationError, match="is not as it was"):
            propose(detected.found, tmp_path / "task.zip", 0.5, detected.images)
    finally:
        changed.write_bytes(before)
    assert not list(tmp_path.glob("task*"))
    assert read_stack(one).shape == read_stack(other).shape == (2, PLANES, FRAME_PX, FRAME_PX)


def the_same_found_by(
    folder: Path, detected: Detected, configuration: dict[str, Any], fields: Sequence[FieldSecured]
) -> Path:
    """Write the dataset once more, as found in another way."""
    shutil.copytree(detected.found, folder, ignore=shutil.ignore_patterns("catalog.sqlite"))
    records: list[AnyRecord] = [
        NightStarted(
            utc=1.7e9, night="archive-1", configuration=yaml.safe_dump(configuration, sort_keys=False),
            samples={field.slide: {"sample": "core"} for field in fields},
            planned={field.slide: 1 for field in fields}, versions={}, weights_sha256="ab" * 32,
        ),
        *fields,
        *(SlideClosed(utc=2.0, slide=one.slide, sample="core", recorded=1, skipped=0) for one in fields),
        NightClosed(utc=3.0, recorded=len(fields), skipped=0),
    ]  # fmt: skip
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


def written(images: Path, number: int) -> NDArray[np.uint16]:
    """The stack of a field as its plane files hold it: crossed, parallel."""
    where = images / f"core {number}"
    planes = [[tifffile.imread(where / f"f3_{word}_z{z - 1.5:.2f}.tif") for z in range(PLANES)] for word in WORDS]
    return np.array(planes)


def as_zarr(images: Path, detected: Detected) -> list[FieldSecured]:
    """Write the stacks as OME-Zarr, old and new; give the fields as they are read from these."""
    fields = []
    for field, version in zip(detected.fields, ("0.4", "0.5"), strict=True):
        folder = images / f"core {field.slide}" / "1.ome.zarr"
        image(folder, version, written(detected.images, field.slide), chunk_px=(FRAME_PX, FRAME_PX))
        with opened(folder) as (held,):
            hashes = {file.relative_to(images).as_posix(): sha256_of(file) for file in held.files}
        sources = tuple(SourceFile(name=name, sha256=sha256) for name, sha256 in hashes.items())
        fields.append(replace(field, sources=sources))
    return fields


@pytest.fixture(name="zarr")
def _zarr() -> Iterator[Any]:
    zarr = pytest.importorskip("zarr", reason="comes with lamelle[formats]")
    yield zarr
    zarr.core.sync.cleanup_resources()


STATES = {"crossed": 0, "parallel": 1}
REPLAYS = [
    (("crossed", "parallel"), PLANES, list(range(PLANES))),
    (("parallel", "crossed"), PLANES, list(range(PLANES))),
    (("crossed", "parallel"), 3, [0, 3, 6]),
    (("parallel",), 4, [0, 2, 4, 6]),
]


@pytest.mark.parametrize("kind", ["planes", "zarr"])
def test_what_a_night_replayed_comes_back_as_it_saw_it(
    detected: Detected, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """With other states, in another order, or fewer planes than the recording has."""
    images, fields, pattern = detected.images, detected.fields, "core {slide}/f{field}_{polarization}_z{z}.tif"
    if kind == "zarr":
        request.getfixturevalue("zarr")
        images, pattern = tmp_path / "zarr", "core {slide}/{field}.ome.zarr"
        fields = as_zarr(images, detected)
    words = {} if kind == "zarr" else {"polarizations": ["crossed=LR", "parallel=LL"]}
    replay = {"folder": str(images), "planes": pattern, **words}
    configuration = {"instrument": {"polarizations": {state: {} for state in STATES}, "replay": replay}}
    for number, (states, planes, taken) in enumerate(REPLAYS):
        shape = (len(states), planes, FRAME_PX, FRAME_PX)
        seen = [replace(field, polarizations=states, shape_czyx=shape) for field in fields]
        night = the_same_found_by(tmp_path / f"night {number}", detected, configuration, seen)
        task = tmp_path / f"{number}.zip"
        assert propose(night, task, 0.5, images).drawn == 2
        stacks = find_stacks([task], CLASSES, stacks=find_known_stacks([night], [images])).stacks
        assert len(stacks) == 2
        for slide, one in enumerate(stacks, start=1):
            assert one.polarizations == states
            truth = written(detected.images, slide)[[STATES[state] for state in states]][:, taken]
            np.testing.assert_array_equal(read_stack(one), truth)
    more = [replace(field, shape_czyx=(2, PLANES + 1, FRAME_PX, FRAME_PX)) for field in fields]
    night = the_same_found_by(tmp_path / "more", detected, configuration, more)
    with pytest.raises(AnnotationError, match=r"its stack is \(2, 7, 384, 384\) .*, of which \(2, 8, 384, 384\) were"):
        propose(night, tmp_path / "more.zip", 0.5, images)


@pytest.mark.usefixtures("zarr")
def test_ome_zarr_of_an_archive_goes_to_cvat_and_back(detected: Detected, tmp_path: Path) -> None:
    images = tmp_path / "zarr"
    told = {"polarizations": ["crossed=LR", "parallel=LL"], "archive": {}}
    found = the_same_found_by(tmp_path / "found", detected, told, as_zarr(images, detected))
    places = ("--stacks", found, "--images", images)
    lamelle("propose", found, "--into", tmp_path / "task.zip", "--images", images)
    (tmp_path / "back.xml").write_bytes(validated(tmp_path / "task.zip"))
    assert json.loads(lamelle("evaluate", tmp_path / "back.xml", *places))["fields"] == 2
    known = find_known_stacks([found], [images])
    for slide, one in enumerate(find_stacks([tmp_path / "back.xml"], CLASSES, stacks=known).stacks, start=1):
        np.testing.assert_array_equal(read_stack(one), written(detected.images, slide))
    (piece,) = (images / "core 2" / "1.ome.zarr").glob("0/c/1/6/0/0")
    piece.unlink()
    with pytest.raises(AnnotationError, match=r"1 of its 14 pieces are missing"):
        read_stack(one)


def test_no_picture_is_drawn_among_those_of_the_archive(detected: Detected) -> None:
    before = sorted(detected.images.rglob("*"))
    for into in (detected.images.parent / "boxes.json", detected.images / "core 1" / "boxes.xml"):
        with pytest.raises(Refused, match="among the images of the archive; name a file elsewhere with --into"):
            propose(detected.found, into, 0.5, detected.images)
        assert not into.exists()
    assert sorted(detected.images.rglob("*")) == before
