"""From an archive of plane files to CVAT, and back to its stacks."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.exchange.annotations import propose
from daemon.exchange.kept_stacks import find_known_stacks
from daemon.records.records import FieldSecured
from inference.annotations.stacks import find_stacks, read_stack
from inference.errors import AnnotationError
from inference.settings import DetectorSettings
from tests.support.kept_night import FRAME_PX, PLANES, make_kept_night

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
        planes = [
            [
                tifffile.imread(detected.images / f"core {number}" / f"f3_{word}_z{z - 1.5:.2f}.tif")
                for z in range(PLANES)
            ]
            for word in ("LR", "LL")
        ]
        np.testing.assert_array_equal(read_stack(one), np.array(planes))
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
