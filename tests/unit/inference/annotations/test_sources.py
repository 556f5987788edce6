"""Annotations as CVAT writes them, and wherever they lie."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.annotations import cvat
from inference.annotations.coco import AnnotatedImage, Annotation, AnnotationFile, Category, LoadedAnnotations, to_json
from inference.annotations.sources import open_source
from inference.annotations.stacks import find_stacks, read_stack
from inference.errors import AnnotationError
from tests.support.places import SHARED_DATA

DATA = SHARED_DATA / "cvat-xml"

PERSON = "<owner><username>Jane Doe</username><email>jane@example.org</email></owner>"
LABELS = "<labels><label><name>diatom</name></label><label><name>coccolith</name></label></labels>"


def export(images: str, meta: str = f"<task><id>3</id>{PERSON}{LABELS}</task>") -> bytes:
    return f"<?xml version='1.0'?><annotations><version>1.1</version><meta>{meta}</meta>{images}</annotations>".encode()


def image(shapes: str = "", name: str = "a.png", number: int = 0) -> str:
    return f'<image id="{number}" name="{name}" width="40" height="30">{shapes}</image>'


def box(x0: float, y0: float, x1: float, y1: float, label: str = "diatom", more: str = "", inside: str = "") -> str:
    return (
        f'<box label="{label}" occluded="1" source="manual" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" z_order="0" '
        f"{more}>{inside}</box>"
    )


@pytest.mark.parametrize("meta", ["task", "job", "project"])
def test_exports_of_a_task_a_job_and_a_project_are_read(meta: str) -> None:
    around = f"<{meta}>{PERSON}{LABELS}</{meta}>"
    if meta == "project":
        around = f"<project>{LABELS}<tasks><task>{PERSON}{LABELS}</task></tasks></project>"
    two = image(box(1, 2, 11, 22) + box(3, 4, 5, 6, "coccolith")) + image(name="empty.png", number=7)
    loaded = cvat.read(export(two, around), "annotations.xml")
    assert loaded.problems == ()
    assert [c.name for c in loaded.dataset.categories] == ["diatom", "coccolith"]
    assert [(p.file_name, p.width, p.height) for p in loaded.dataset.images] == [
        ("a.png", 40, 30),
        ("empty.png", 40, 30),
    ]
    assert [(a.bbox, a.category_id, a.image_id) for a in loaded.dataset.annotations] == [
        ((1, 2, 10, 20), 1, 1),
        ((3, 4, 2, 2), 2, 1),
    ]
    assert "Doe" not in repr(loaded)
    assert "example" not in repr(loaded)


def test_one_image_with_one_label_that_no_meta_names_is_read() -> None:
    loaded = cvat.read(export(image(box(1, 2, 11, 22, "grain")), ""), "annotations.xml")
    assert [c.name for c in loaded.dataset.categories] == ["grain"]
    assert len(loaded.dataset.annotations) == 1


@pytest.mark.parametrize(
    ("shape", "kept", "said"),
    [
        (box(10, 5, 10, 9), None, "has no area"),
        (box(10, 5, 60, 9), (10, 5, 30, 4), "lies in part outside"),
        (box(50, 5, 60, 9), None, "lies outside"),
        ('<polygon label="diatom" points="1,2;3,4;6,5"/>', None, "is not a box"),
        ('<mask label="diatom" rle="1,2" left="0" top="0" width="1" height="2"/>', None, "is not a box"),
    ],
)
def test_shapes_that_cannot_be_taken_are_told_by_file_and_place(
    shape: str, kept: tuple[float, ...] | None, said: str
) -> None:
    loaded = cvat.read(export(image(box(1, 2, 11, 22) + shape)), "task_3.xml")
    assert [a.bbox for a in loaded.dataset.annotations[1:]] == ([kept] if kept else [])
    (problem,) = loaded.problems
    assert problem.startswith("task_3.xml: ")
    assert "2 of 'a.png'" in problem
    assert said in problem


@given(st.floats(-360, 360), st.floats(1, 6), st.floats(1, 6))
def test_a_turned_box_is_taken_by_the_box_around_it(degrees: float, width: float, height: float) -> None:
    turned = box(20 - width, 15 - height, 20 + width, 15 + height, more=f'rotation="{degrees!r}"')
    x, y, w, h = cvat.read(export(image(turned)), "a.xml").dataset.annotations[0].bbox
    turn = math.radians(degrees)
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]])
    corners = corners @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) + (20, 15)
    assert [x, y, x + w, y + h] == pytest.approx([*corners.min(axis=0), *corners.max(axis=0)])


def test_attributes_come_back_as_they_were_written() -> None:
    written = AnnotationFile(
        images=(AnnotatedImage(id=1, file_name="a.png", width=40, height=30),),
        categories=(Category(id=1, name="diatom"),),
        annotations=(
            Annotation(id=1, image_id=1, category_id=1, bbox=(1, 2, 10, 20), area=200, attributes={"touching": True}),
            Annotation(id=2, image_id=1, category_id=1, bbox=(2, 2, 10, 20), area=200, iscrowd=1,
                       attributes={"touching": False, "kind": "nitzschia"}),
        ),
    )  # fmt: skip
    assert cvat.read(cvat.to_xml(written, "manual"), "a.xml") == LoadedAnnotations(dataset=written)


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (b"no xml", "is not an export of CVAT"),
        (export(""), "holds no image"),
        (export('<image id="0" name="a.png" width="40"/>'), "is not an export of CVAT"),
        (export(image('<box label="diatom" xtl="1"/>')), "box 1 of 'a.png' cannot be read"),
        (export(image(box(1, 2, 11, 22).replace('"1"', '"one"', 1).replace('xtl="1"', 'xtl="one"'))), "cannot be read"),
    ],
)
def test_what_is_no_export_is_refused_in_one_sentence(xml: bytes, said: str) -> None:
    with pytest.raises(AnnotationError, match=said) as refusal:
        cvat.read(xml, "annotations.xml")
    assert "\n" not in str(refusal.value)


def test_entities_that_grow_without_end_are_refused() -> None:
    grow = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "ha">{grow}]><annotations>&e11;</annotations>'
    with pytest.raises(AnnotationError, match="is not an export"):
        cvat.read(bomb.encode(), "annotations.xml")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
def test_a_published_export_is_read() -> None:
    source = open_source(DATA / "train.xml")
    (only,) = source.loaded.dataset.annotations
    assert only.bbox == (0, 2, 4, 2)
    assert only.attributes == {"touching": True, "a1": True, "a2": "v3", "a3": "0003", "a4": "2.4"}
    assert len(source.loaded.problems) == 3
    stacks = find_stacks([DATA / "train.xml"], ("cell",), one_class=True).stacks
    assert [read_stack(stack).shape for stack in stacks] == [(1, 1, 8, 8), (1, 1, 10, 10)]


def picture(value: int, dtype: type = np.uint8) -> bytes:
    return bytes(cv2.imencode(".png", np.full((30, 40), value, dtype))[1].tobytes())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "images/", "images/Train/"])
def test_pictures_are_found_in_folders_and_zips_where_cvat_puts_them(tmp_path: Path, packed: bool, below: str) -> None:
    files = {"annotations.xml": export(image(box(1, 2, 11, 22))), f"{below}a.png": picture(40_000, np.uint16)}
    if packed:
        with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            path = tmp_path / "task" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    (stack,) = find_stacks([tmp_path / ("task.zip" if packed else "task")], ("diatom", "coccolith")).stacks
    assert (read_stack(stack) == 40_000).all()


def test_coco_as_cvat_names_it_is_found(tmp_path: Path) -> None:
    image = AnnotatedImage(id=1, file_name="a.png", width=40, height=30)
    dataset = AnnotationFile(images=(image,), annotations=(), categories=(Category(id=1, name="x"),))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_default.json").write_bytes(to_json(dataset))
    assert open_source(tmp_path).loaded.dataset == dataset


@pytest.mark.parametrize(
    ("name", "content"), [("a.zip", b"no zip"), ("a.zip", None), ("a.xml", None), ("b.json", None)]
)
def test_places_without_annotations_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError, match=r"does not exist|do not exist|cannot be read"):
        open_source(tmp_path / name)


def test_boxes_that_nobody_validated_neither_train_nor_judge(tmp_path: Path) -> None:
    boxes = [("diatom", 1), ("diatom_NV", 2), ("coccolith_NV", 3)]
    categories = [{"id": k, "name": name} for name, k in boxes]
    annotations = [{"id": k, "image_id": 1, "category_id": k, "bbox": [2, 2, 8, 8], "area": 64} for _, k in boxes]
    images = [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    found = find_stacks([tmp_path], ("coccolith", "diatom"))
    (stack,) = found.stacks
    assert [(stack.class_names[a.category_id], a.iscrowd) for a in stack.annotations] == [
        ("diatom", 0),
        ("diatom", 1),
        ("coccolith", 1),
    ]
    assert [p for p in found.problems if "2 boxes are not validated" in p]
