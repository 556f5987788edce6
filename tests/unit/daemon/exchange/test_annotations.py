"""From a night to CVAT, and back from CVAT to the stacks of the night."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from daemon.analysis.field_output import FUSED
from daemon.cli.app import app
from daemon.exchange.annotations import LABELS_FILE, propose
from daemon.exchange.kept_stacks import find_known_stacks
from daemon.records.records import FieldSecured
from daemon.system.errors import Refused
from daemon.training import train as learn
from inference.annotations.stacks import AnnotatedStack, find_stacks, own_planes, read_stack
from inference.errors import AnnotationError
from inference.settings import DetectorSettings, FocusSettings
from inference.views.channels import Planes, Scale
from tests.support.kept_night import FRAME_PX, make_kept_night

CLASSES = DetectorSettings().classes


class Night(NamedTuple):
    folder: Path
    fields: list[FieldSecured]
    xml: bytes
    coco: dict[str, Any]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night of two fields, and its objects as a person has validated all of them."""
    folder = tmp_path_factory.mktemp("cvat") / "monday"
    fields = make_kept_night(folder)
    for name in ("boxes.xml", "boxes.json"):
        proposed = propose(folder, folder.parent / name, 0.5)
        assert proposed == (2, sum(len(field.objects) for field in fields), 2, 0, 0, 0)
    xml = (folder.parent / "boxes.xml").read_bytes().replace(b"_NV", b"")
    return Night(folder, fields, xml, json.loads((folder.parent / "boxes.json").read_text().replace("_NV", "")))


def returned(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def plain(name: str) -> str:
    """Name of a picture without what tells nights apart."""
    return re.sub(r"-[0-9a-f]{8}\.jpg$", ".jpg", name)


def renamed(xml: bytes, rename: Callable[[str], str]) -> bytes:
    root = ET.fromstring(xml)
    for image in root.iter("image"):
        image.set("name", rename(image.attrib["name"]))
    return ET.tostring(root)


def ap(stacks: Sequence[AnnotatedStack]) -> float:
    detector = DetectorSettings(runtime="torch", threads=1)
    found = learn.evaluate(stacks, detector, FocusSettings(), lambda _: None).evaluation.figures.ap
    assert found is not None
    return found


def test_what_cvat_gets_shows_the_fields_in_8_bit_with_the_pixels_of_the_boxes(night: Night, tmp_path: Path) -> None:
    assert propose(night.folder, tmp_path / "task.zip", 0.5).drawn == 2
    with zipfile.ZipFile(tmp_path / "task.zip") as archive:
        root = ET.fromstring(archive.read("annotations.xml"))
        labels = json.loads(archive.read(LABELS_FILE))
        pictures = {name: archive.read(name) for name in archive.namelist() if name.startswith("images/")}
    names = [image.attrib["name"] for image in root.iter("image")]
    assert [plain(name) for name in names] == ["slide-1/field-0001.jpg", "slide-2/field-0001.jpg"]
    assert pictures.keys() == {f"images/{name}" for name in names}
    for field, content in zip(night.fields, pictures.values(), strict=True):
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (FRAME_PX, FRAME_PX))
            grey = np.asarray(image.convert("L"), float)
        assert 90 < np.median(grey) < 190
        for row in field.objects:
            x0, y0, x1, y1 = row.box
            assert np.ptp(grey[y0:y1, x0:x1]) > 40
    written = {label["name"]: {one["name"] for one in label["attributes"]} for label in labels}
    assert written.keys() == {f"{name}{end}" for name in ("coccolith", "diatom") for end in ("_NV", "")}
    assert set(map(frozenset, written.values())) == {frozenset({"is_crowd", "score", "plane"})}


def test_judged_by_what_comes_back_from_cvat_a_detector_is_as_good_as_by_lamelles_own_coco(
    night: Night, tmp_path: Path
) -> None:
    own_file = night.folder / "coco.json"
    own_file.write_text(json.dumps(night.coco), encoding="utf-8")
    own = find_stacks([own_file], CLASSES).stacks
    own_file.unlink()
    back = returned(tmp_path, {"annotations.xml": night.xml})
    stacks = find_stacks([back], CLASSES, stacks=find_known_stacks([night.folder])).stacks
    assert 0.5 < ap(own) < 1
    assert ap(stacks) == pytest.approx(ap(own), abs=5e-4)
    for one, other in zip(stacks, own, strict=True):
        assert one.picture.source == other.picture.source
        np.testing.assert_array_equal(read_stack(one), read_stack(other))
        # What the proposal said of planes went through CVAT.
        assert [a.plane for a in one.annotations] == [a.plane for a in other.annotations] != []


def test_the_commands_propose_and_evaluate_know_the_stacks(night: Night, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["propose", str(night.folder), "--into", str(tmp_path / "boxes.xml")])
    assert done.exit_code == 0, done.output
    assert "boxes on 2 pictures in" in done.stdout
    assert len(list((tmp_path / "images").rglob("*.jpg"))) == 2
    back = returned(tmp_path, {"annotations.xml": night.xml.replace(b"slide-1/", b"holiday/")})
    done = CliRunner().invoke(app, ["evaluate", str(back), "--stacks", str(night.folder)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fields"] == 1
    assert "is of no stack of --stacks; left out" in done.stderr


def test_what_nobody_has_validated_is_not_trained_on(night: Night, tmp_path: Path) -> None:
    propose(night.folder, tmp_path / "boxes.xml", 0.5)
    classes = [word for name in CLASSES for word in ("--class", name)]
    weights = tmp_path / "w.safetensors"
    done = CliRunner().invoke(
        app, ["train", str(tmp_path / "boxes.xml"), "--stacks", str(night.folder), "--into", str(weights), *classes]
    )
    assert isinstance(done.exception, AnnotationError)
    assert re.match(r"nothing is annotated in what trains but \d+ boxes that nobody has validated", str(done.exception))
    assert not weights.exists()
    for other in ("a.jpg", "images"):
        done = CliRunner().invoke(
            app, ["train", str(tmp_path / "boxes.xml"), "--into", str(tmp_path / other), *classes]
        )
        assert isinstance(done.exception, Refused)
        assert f"{other}' is not a file that ends in .safetensors; name one that does" in str(done.exception)


def as_coco(night: Night, place: str, rename: Callable[[str], str]) -> dict[str, bytes]:
    """What CVAT makes of it as COCO 1.0: it knows no stacks."""
    images = [
        {key: image[key] for key in ("id", "width", "height")} | {"file_name": rename(image["file_name"])}
        for image in night.coco["images"]
    ]
    return {place: json.dumps(night.coco | {"images": images}).encode()}


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"images/{name}",
        lambda name: name.replace("/", "_"),
        lambda name: name.replace(".jpg", ".png"),
        lambda name: name.removesuffix(".jpg"),
        lambda name: name.replace("/", "\\").upper(),
        plain,
        lambda name: plain(name).replace(".jpg", "-raw.ome.tif"),
        lambda name: f"{plain(name).replace('/', '-')}_jpg.rf.0123456789abcdef.jpg",
        lambda name: f"{plain(name).replace('/', '-').replace('.jpg', '')}-ome-tif_jpg.rf.0123456789abcdef.jpg",
        lambda name: f"monday/{name}",
    ],
)
def test_pictures_find_their_stacks_by_name(night: Night, tmp_path: Path, rename: Callable[[str], str]) -> None:
    known = find_known_stacks([night.folder])
    flat = as_coco(night, "annotations/instances_default.json", lambda name: rename(name).replace("/", "_"))
    exports = [
        {"annotations.xml": renamed(night.xml, rename)},
        {"annotations.xml": renamed(night.xml, rename).replace(b"<image ", b'<image subset="Train" ')},
        as_coco(night, "annotations/instances_Train.json", rename),
        flat | {"images/default/slide-1_field-0001.jpg": b"not looked at"},
    ]
    expected = [[row.box for row in field.objects] for field in night.fields]
    for export in exports:
        found = find_stacks([returned(tmp_path, export)], CLASSES, stacks=known)
        assert found.problems == ()
        assert [one.path.name for one in found.stacks] == ["field-0001-raw.ome.tif"] * 2
        assert [one.picture.stack.slide for one in found.stacks if one.picture.stack] == [1, 2]
        assert [
            [(x, y, x + w, y + h) for x, y, w, h in (a.bbox for a in one.annotations)] for one in found.stacks
        ] == expected


def test_what_people_did_to_a_task_is_told(night: Night, tmp_path: Path) -> None:
    known = find_known_stacks([night.folder])
    root = ET.fromstring(night.xml)
    first, second = root.iter("image")
    root.remove(second)
    added = ET.SubElement(root, "image", {"id": "7", "name": "slide-9/holiday.jpg", "width": "40", "height": "30"})
    ET.SubElement(added, "box", {"label": "beach", "xtl": "1", "ytl": "2", "xbr": "11", "ybr": "9"})
    middle = next(k for k, row in enumerate(night.fields[0].objects) if not row.touches_edge)
    first[middle].set("rotation", "90")
    ET.SubElement(first, "polygon", {"label": "diatom", "points": "10,20;30,20;30,50"})
    found = find_stacks([returned(tmp_path, {"annotations.xml": ET.tostring(root)})], CLASSES, stacks=known)
    assert found.problems == (
        f"1 of 2 stacks has no picture here, such as {second.attrib['name']!r}; it is not looked at",
        "task.zip: 'slide-9/holiday.jpg' is of no stack of --stacks; left out",
        f"{tmp_path / 'task.zip' / 'annotations.xml'}: 1 polygon taken by the box around each",
    )
    (stack,) = found.stacks
    x0, y0, x1, y1 = night.fields[0].objects[middle].box
    turned = (x0 + x1 - (y1 - y0)) / 2, (y0 + y1 - (x1 - x0)) / 2, y1 - y0, x1 - x0
    assert stack.annotations[middle].bbox == pytest.approx(turned)
    assert stack.annotations[-1].bbox == (10, 20, 20, 30)
    assert stack.annotations[-1].plane is None
    first[0].set("label", "spore")
    with pytest.raises(AnnotationError, match=r"annotates the class 'spore', which is not among"):
        find_stacks([returned(tmp_path, {"annotations.xml": ET.tostring(root)})], CLASSES, stacks=known)


def test_without_the_stacks_their_views_are_told_and_nothing_is_read_in_silence(night: Night, tmp_path: Path) -> None:
    propose(night.folder, tmp_path / "boxes.xml", 0.5)
    (problem,) = find_stacks([tmp_path / "boxes.xml"], [f"{CLASSES[0]}"], one_class=True).problems[1:]
    assert problem.startswith("boxes.xml: 2 pictures are named as views of stacks, and taken for single pictures")
    alone = tmp_path / "coco.json"
    alone.write_text(json.dumps(night.coco), encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"does not exist; name the folder that it lies in"):
        read_stack(find_stacks([alone], CLASSES).stacks[0])


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (
            lambda name: f"frame_{int(name[6]):06d}",
            "no picture of 'task.zip' is of a stack of --stacks ('frame_000001'",
        ),
        (
            lambda name: f"slide-{int(name[6]) + 5}/field-0001.jpg",
            "('slide-6/field-0001.jpg', 'slide-7/field-0001.jpg')",
        ),
        (lambda name: f"{name[6]}/0001.jpg", "keep the names of the pictures that lamelle made, such as 'slide-1/fi"),
        (lambda name: f"{name[6]}/slide-1/field-0001.jpg", "twice, as '1/slide-1/field-0001.jpg' and as '2/slide-1/f"),
    ],
)
def test_names_that_lead_to_no_stack_or_twice_to_one_are_refused(
    night: Night, tmp_path: Path, rename: Callable[[str], str], said: str
) -> None:
    back = returned(tmp_path, {"annotations.xml": renamed(night.xml, rename)})
    with pytest.raises(AnnotationError) as refusal:
        find_stacks([back], CLASSES, stacks=find_known_stacks([night.folder]))
    assert said in str(refusal.value)


def test_pictures_of_one_night_are_never_taken_for_those_of_another(night: Night, tmp_path: Path) -> None:
    make_kept_night(tmp_path / "tuesday", night="another")
    both = find_known_stacks([tmp_path / "tuesday", night.folder])
    back = returned(tmp_path, {"annotations.xml": night.xml})
    found = find_stacks([back], CLASSES, stacks=both)
    assert {Path(str(one.path)).parents[1] for one in found.stacks} == {night.folder}
    with pytest.raises(AnnotationError, match=r"no picture of 'task\.zip' is of a stack of --stacks"):
        find_stacks([back], CLASSES, stacks=both[:2])
    back = returned(tmp_path, {"annotations.xml": renamed(night.xml, plain)})
    with pytest.raises(AnnotationError, match=r"may be of .*tuesday.* or .*monday.*, and nothing says which"):
        find_stacks([back], CLASSES, stacks=both)
    back = returned(tmp_path, {"annotations.xml": renamed(night.xml, lambda name: plain(name).partition("/")[2])})
    with pytest.raises(AnnotationError, match=r"names the picture 'field-0001\.jpg' 2 times"):
        find_stacks([back], CLASSES, stacks=both[2:])
    short = renamed(night.xml, lambda name: plain(name).partition("/")[2] if "slide-1" in name else name)
    back = returned(tmp_path, {"annotations.xml": short})
    with pytest.raises(AnnotationError, match=r"the picture 'field-0001\.jpg' may be of"):
        find_stacks([back], CLASSES, stacks=both[2:])


def test_pictures_made_smaller_are_scaled_back_and_parts_of_them_left_out(night: Night, tmp_path: Path) -> None:
    known = find_known_stacks([night.folder])
    root = ET.fromstring(night.xml)
    small, cut = root.iter("image")
    for image, size in ((small, (FRAME_PX // 2, FRAME_PX // 2)), (cut, (FRAME_PX, FRAME_PX // 2))):
        image.set("width", str(size[0]))
        image.set("height", str(size[1]))
    for box in small.iter("box"):
        for corner in ("xtl", "ytl", "xbr", "ybr"):
            box.set(corner, str(float(box.attrib[corner]) / 2))
    found = find_stacks([returned(tmp_path, {"annotations.xml": ET.tostring(root)})], CLASSES, stacks=known)
    assert "task.zip: 1 picture has another size than its stack; scaled" in found.problems
    assert any("has 384 x 192 px, its stack 384 x 384" in one for one in found.problems)
    (stack,) = found.stacks
    for annotation, row in zip(stack.annotations, night.fields[0].objects, strict=True):
        x, y, width, height = annotation.bbox
        assert (x, y, x + width, y + height) == pytest.approx(row.box)


def test_the_plane_that_nobody_said_is_the_sharpest_in_the_box(night: Night, tmp_path: Path) -> None:
    root = ET.fromstring(night.xml)
    for box in root.iter("box"):
        for attribute in box.findall("attribute[@name='plane']"):
            attribute.text = ""
    back = returned(tmp_path, {"annotations.xml": ET.tostring(root)})
    stacks = find_stacks([back], CLASSES, stacks=find_known_stacks([night.folder])).stacks
    errors = []
    for one, field in zip(stacks, night.fields, strict=True):
        assert {a.plane for a in one.annotations} == {None}
        scale = Scale.of(one.pixel_um, FocusSettings().sigma_um)
        planes = own_planes(one.annotations, Planes.of(read_stack(one), scale).sharpness(), scale)
        errors += [abs(found - row.best_plane) for found, row in zip(planes, field.objects, strict=True)]
    assert len(errors) > 10
    assert np.median(errors) < 0.5


def test_fields_that_were_kept_fused_go_to_cvat_and_back_like_raw_stacks(night: Night, tmp_path: Path) -> None:
    folder = tmp_path / "tuesday"
    fields = make_kept_night(folder, part=FUSED)
    boxes = sum(len(field.objects) for field in fields)
    assert propose(folder, tmp_path / "task.zip", 0.5) == (2, boxes, 2, 0, 0, 0)
    with zipfile.ZipFile(tmp_path / "task.zip") as archive:
        xml = archive.read("annotations.xml").replace(b"_NV", b"")
    back = returned(tmp_path, {"annotations.xml": xml})
    stacks = find_stacks([back], CLASSES, stacks=find_known_stacks([folder])).stacks
    assert [read_stack(one).shape for one in stacks] == [(2, 1, FRAME_PX, FRAME_PX)] * 2
    assert {annotation.plane for one in stacks for annotation in one.annotations} == {0.0}
    # A detector finds in it what it finds in the stacks.
    raw = find_stacks([returned(tmp_path, {"annotations.xml": night.xml})], CLASSES,
                      stacks=find_known_stacks([night.folder])).stacks  # fmt: skip
    assert ap(stacks) == pytest.approx(ap(raw), abs=0.01)


def test_what_holds_no_stack_is_refused(tmp_path: Path) -> None:
    make_kept_night(tmp_path / "night", slides=1)
    (tmp_path / "night" / "slide-1" / "field-0001-raw.ome.tif").unlink()
    with pytest.raises(AnnotationError, match=r"kept no field raw or fused; name a night that did \(retention\)"):
        find_known_stacks([tmp_path / "night"])
    (tmp_path / "coco.json").write_text('{"images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}], '
                                        '"annotations": []}', encoding="utf-8")  # fmt: skip
    with pytest.raises(AnnotationError, match="holds no stack that lamelle annotated"):
        find_known_stacks([tmp_path / "coco.json"])
    with pytest.raises(AnnotationError, match="do not exist"):
        find_known_stacks([tmp_path / "nothing"])


@pytest.mark.parametrize("name", ["task.ZIP", "boxes.XML", "boxes.Json"])
def test_the_case_of_an_ending_makes_no_other_kind_of_file(night: Night, tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(app, ["propose", str(night.folder), "--into", str(tmp_path / name)])
    assert done.exit_code == 0, done.output
    found = find_stacks([tmp_path / name], CLASSES, stacks=find_known_stacks([night.folder]))
    assert sum(len(one.annotations) for one in found.stacks) == sum(len(field.objects) for field in night.fields)
