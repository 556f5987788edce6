"""Annotations as CVAT writes them, and wherever they lie."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from inference.annotations import coco_reading, cvat
from inference.annotations.coco import AnnotatedImage, Annotation, AnnotationFile, Category, LoadedAnnotations, to_json
from inference.annotations.sources import open_sources
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


@pytest.mark.parametrize(("largest", "told"), [(1, "in the first pixel"), (100, "in the first 100 px")])
def test_boxes_of_cvat_that_are_shares_of_the_picture_are_refused(largest: float, told: str) -> None:
    corners = [(0.05, 0.2, 0.3, 0.5), (0.6, 0.7, 0.95, 0.99), (0.4, 0.1, 0.5, 0.25), (0.1, 0.8, 0.15, 0.9)]
    shapes = "".join(box(largest * x0, largest * y0, largest * x1, largest * y1) for x0, y0, x1, y1 in corners)
    large = image(shapes).replace('width="40" height="30"', 'width="2048" height="1536"')
    with pytest.raises(AnnotationError, match=rf"'annotations\.xml' lie {told} .*; write them in px"):
        cvat.read(export(large), "annotations.xml")


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


def test_shapes_of_a_group_are_told() -> None:
    """Parts of one object, where people outline what something lies across."""
    shapes = "".join(box(k, 2, k + 2, 9, more=f'group_id="{group}"') for k, group in enumerate((2, 2, 0)))
    loaded = cvat.read(export(image(shapes)), "a.xml")
    assert loaded.problems == ("a.xml: 2 shapes are of a group; each is taken for an object of its own",)
    assert len(loaded.dataset.annotations) == 3


def test_what_keeps_a_file_from_being_used_is_told() -> None:
    unnamed = '<image id="0" width="40" height="30"/>'
    with pytest.raises(AnnotationError, match=r"holds no image that can be used \(a\.xml: image 1 has no file's name"):
        cvat.read(export(unnamed), "a.xml")
    content = json.dumps({"images": [{"id": 1, "file_name": 7, "width": 9, "height": 9}], "annotations": []})
    with pytest.raises(
        AnnotationError, match=r"no image that can be used \(a\.json: image 1 has no file's name \(7\); l"
    ):
        coco_reading.read(content.encode(), "a.json")


def test_tracks_of_a_video_beside_images_are_told() -> None:
    track = '<track id="{0}" label="diatom"><box frame="0" xtl="1" ytl="2" xbr="3" ybr="4" outside="0"/></track>'
    one, two = image(box(1, 2, 11, 22)) + track.format(0), image() + track.format(0) + track.format(1)
    told = "of no image here; left out; export it as 'CVAT for images 1.1'"
    assert cvat.read(export(one), "a.xml").problems == (f"a.xml: 1 track of a video is {told}",)
    assert cvat.read(export(two), "a.xml").problems == (f"a.xml: 2 tracks of a video are {told}",)
    assert len(cvat.read(export(one), "a.xml").dataset.annotations) == 1
    with pytest.raises(AnnotationError, match="holds no image that can be used; export the task again as 'CVAT for im"):
        cvat.read(export(track.format(0)), "a.xml")


@pytest.mark.parametrize(
    ("shape", "kept", "said"),
    [
        (box(10, 5, 10, 9), None, "has no area"),
        (box(20, 5, 10, 9, more='rotation="45"'), None, "has no area"),
        (box(10, 5, 60, 9), (10, 5, 30, 4), "lies in part outside"),
        (box(50, 5, 60, 9), None, "lies outside"),
        (box(1, 2, 3, 4, label=""), None, "has no label"),
        (box(float("nan"), 2, 3, 4), None, "has no number xtl ('nan')"),
        ('<box label="diatom" xtl="1"/>', None, "has no number ytl (None)"),
        (box(1, 2, 3, 4).replace('xbr="3"', 'xbr="three"'), None, "has no number xbr ('three')"),
        (box(1, 2, 3, 4, more='rotation="half"'), None, "has no number rotation"),
        ('<polygon label="diatom" points="1,2;3;6,5"/>', None, "not pairs of numbers"),
        ('<polygon label="diatom"/>', None, "not pairs of numbers"),
        ('<polygon label="diatom" points="50,2;53,2;53,5"/>', None, "lies outside"),
        ('<ellipse label="diatom" cx="1" cy="1" rx="3"/>', None, "has no number ry"),
        ('<mask label="diatom" rle="1,2" left="0" top="0" width="1" height="2"/>', None, "mask that cannot"),
        ('<mask label="diatom" rle="1" left="0" top="0" width="1" height="2"/>', None, "mask that cannot"),
        ('<mask label="diatom" rle="2" left="0" top="0" width="1" height="2"/>', None, "has no area"),
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


def test_what_bounds_an_area_is_taken_by_its_box_and_what_bounds_none_is_told() -> None:
    front = {"xtl1": 5, "ytl1": 6, "xbl1": 5, "ybl1": 9, "xtr1": 8, "ytr1": 6, "xbr1": 8, "ybr1": 9}
    back = {"xtl2": 7, "ytl2": 5, "xbl2": 7, "ybl2": 8, "xtr2": 10, "ytr2": 5, "xbr2": 10, "ybr2": 8}
    corners = [f'{corner}="{at}"' for corner, at in (front | back).items()]
    shapes = [
        ('<polygon label="diatom" occluded="1" points="1,2;3,4;6,5"/>', (1, 2, 5, 3)),
        ('<polygon label="diatom" points="1.5,2;3,4.25;6,5;2,9"/>', (1.5, 2, 4.5, 7)),
        ('<polyline label="diatom" points="1,2;3,4;6,5;1,2"/>', (1, 2, 5, 3)),
        ('<ellipse label="diatom" cx="20" cy="15" rx="8" ry="2"/>', (12, 13, 16, 4)),
        ('<ellipse label="diatom" cx="20" cy="15" rx="8" ry="2" rotation="90.0"/>', (18, 7, 4, 16)),
        # Of 3 x 4 pixels the middle one of the second row and the first two of the third.
        ('<mask label="diatom" rle="4, 1, 1, 2, 4" left="10" top="20" width="3" height="4"/>', (10, 21, 2, 2)),
        (f'<cuboid label="diatom" {" ".join(corners)}/>', (5, 5, 5, 4)),
    ]
    none = [
        '<polyline label="diatom" points="1,2;3,4;6,5"/>',
        '<points label="diatom" points="1,2"/>',
        '<skeleton label="diatom"><points label="tip" points="1,2"/></skeleton>',
        '<tag label="diatom" source="manual"/>',
    ]
    xml = export(image("".join([shape for shape, _ in shapes] + none)) + image(none[1], "b.png"))
    loaded = cvat.read(xml, "a.xml")
    for annotation, (_, expected) in zip(loaded.dataset.annotations, shapes, strict=True):
        assert annotation.bbox == pytest.approx(expected)
        assert annotation.area == pytest.approx(expected[2] * expected[3])
    assert loaded.dataset.annotations[0].attributes["touching"] is True
    assert loaded.problems == (
        "a.xml: 2 polygons, 1 line, 2 ellipses, 1 mask and 1 cuboid taken by the box around each",
        "a.xml: 1 line, 2 sets of points, 1 skeleton and 1 tag of a whole image without an area; left out",
    )


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


def test_what_is_a_crowd_may_be_said_as_cvat_and_as_people_write_it() -> None:
    said = {"true": 1, "True": 1, "1": 1, "yes": 1, "false": 0, "": 0, "0": 0, "no": 0}
    shapes = [box(1, 2, 11, 22, inside=f'<attribute name="is_crowd">{word}</attribute>') for word in said]
    loaded = cvat.read(export(image("".join(shapes))), "a.xml")
    assert [a.iscrowd for a in loaded.dataset.annotations] == list(said.values())
    assert all("is_crowd" not in a.attributes for a in loaded.dataset.annotations)


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (b"no xml", "is not an export of CVAT"),
        (export("").replace(b"?>", b" encoding='none'?>", 1), "is not an export of CVAT"),
        (export("&nbsp;"), "is not an export of CVAT"),
        (export(""), "holds no image"),
        (export('<track id="0" label="diatom"><box frame="0"/></track>'), "export the task again as 'CVAT for images"),
        (export('<image id="0" name="a.png" width="40"/>'), "holds no image"),
        (export(image() + image()), "names the picture 'a.png' 2 times"),
        (export(image() + image(name="x/../../a.png")), r"names 'x/\.\./\.\./a\.png', which leads out"),
        (export(image() + image(name="C:\\a.png")), "leads out of its folder"),
        (export(image().replace(" id=", ' subset="../.." id=')), r"names '\.\./\.\.', which leads out"),
    ],
)
def test_what_is_no_export_is_refused_in_one_sentence(xml: bytes, said: str) -> None:
    with pytest.raises(AnnotationError, match=said) as refusal:
        cvat.read(xml, "annotations.xml")
    assert "\n" not in str(refusal.value)


def test_an_image_that_cannot_be_is_left_out_with_its_shapes() -> None:
    odd = image(box(1, 2, 11, 22), "b.png").replace('width="40"', 'width="many"')
    loaded = cvat.read(export(odd + image(box(1, 2, 11, 22))), "a.xml")
    assert [(p.file_name, len(loaded.dataset.by_picture()[p.id])) for p in loaded.dataset.images] == [("a.png", 1)]
    assert loaded.problems == ("a.xml: image 1 (b.png) has no size ('many' x '30'); left out",)


GROWING = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 12))


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        (f'<!ENTITY e0 "ha">{GROWING}', "e0"),
        ('<!ENTITY secret SYSTEM "file:///etc/passwd">', "secret"),
        ('<!ENTITY % more SYSTEM "http://localhost:9/more.dtd">%more;', "more"),
    ],
)
def test_entities_are_refused_by_name(declared: str, named: str) -> None:
    xml = f'<?xml version="1.0"?><!DOCTYPE a [{declared}]><annotations>{image("&" + named + ";")}</annotations>'
    with pytest.raises(AnnotationError, match=f"declares the XML entity '{named}'"):
        cvat.read(xml.encode(), "annotations.xml")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there")
def test_a_published_export_is_read() -> None:
    (source,) = open_sources(DATA / "train.xml")
    (only,) = source.loaded.dataset.annotations
    assert only.bbox == (0, 2, 4, 2)
    assert only.attributes == {"touching": True, "a1": True, "a2": "v3", "a3": "0003", "a4": "2.4"}
    assert [problem.partition("train.xml: ")[2] for problem in source.loaded.problems] == [
        "1 line and 1 set of points without an area; left out",
        "polygon 1 of 'img1.jpg' has no label; left out",
    ]
    stacks = find_stacks([DATA / "train.xml"], ("cell",), one_class=True).stacks
    assert [read_stack(stack).shape for stack in stacks] == [(1, 1, 8, 8), (1, 1, 10, 10)]


def picture(value: int, dtype: type = np.uint8) -> bytes:
    return bytes(cv2.imencode(".png", np.full((30, 40), value, dtype))[1].tobytes())


Files = dict[str, bytes]


def place(tmp_path: Path, files: Files, packed: bool = False) -> Path:
    """Put files into a folder or a zip."""
    if packed:
        with zipfile.ZipFile(tmp_path / "task.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return tmp_path / "task.zip"
    for name, content in files.items():
        path = tmp_path / "task" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "task"


def seen(data: Path, *, only_annotated: bool = False) -> dict[str, int]:
    """Grey value of every picture by its place."""
    found = find_stacks([data], ("diatom", "coccolith"), only_annotated=only_annotated).stacks
    return {one.picture.place: int(read_stack(one).max()) for one in found}


def coco(*names: str, **more: object) -> bytes:
    images = [{"id": k, "file_name": name, "width": 40, "height": 30} for k, name in enumerate(names)]
    annotations = [
        {"id": k, "image_id": k, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200} for k in range(len(names))
    ]
    categories = [{"id": 1, "name": "diatom"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories} | more).encode()


both = pytest.mark.parametrize("packed", [False, True])


@both
@pytest.mark.parametrize("below", ["", "images/", "images/Train/"])
def test_pictures_are_found_in_folders_and_zips_where_cvat_puts_them(tmp_path: Path, packed: bool, below: str) -> None:
    files = {"annotations.xml": export(image(box(1, 2, 11, 22))), f"{below}a.png": picture(40_000, np.uint16)}
    assert seen(place(tmp_path, files, packed)) == {"a.png": 40_000}


@both
@pytest.mark.parametrize("below", ["images/", ""])
def test_the_subset_of_an_image_says_in_which_folder_it_lies(tmp_path: Path, packed: bool, below: str) -> None:
    subsets = {"Train": 10, "Validation": 20, "default": 30}
    images = "".join(image(box(1, 2, 11, 22)).replace(" id=", f' subset="{name}" id=') for name in subsets)
    files = {f"{below}{name}/a.png": picture(value) for name, value in subsets.items()}
    data = place(tmp_path, {"annotations.xml": export(images), **files}, packed)
    assert seen(data) == {"Train/a.png": 10, "Validation/a.png": 20, "a.png": 30}


@both
def test_a_name_that_may_mean_two_files_is_refused(tmp_path: Path, packed: bool) -> None:
    files = {"images/Train/a.png": picture(10), "images/Test/a.png": picture(20)}
    data = place(tmp_path, {"annotations.xml": export(image(box(1, 2, 11, 22))), **files}, packed)
    with pytest.raises(AnnotationError, match=r"'a\.png' may be .*Test.* or .*Train.*, and nothing says which"):
        open_sources(data)


def test_a_file_that_two_exports_annotate_is_refused_and_copies_are_not(tmp_path: Path) -> None:
    content = {"annotations.xml": export(image(box(1, 2, 11, 22))), "images/a.png": picture(1)}
    folder, packed = place(tmp_path, content), place(tmp_path, content, packed=True)
    assert len(find_stacks([folder, packed], ("diatom",)).stacks) == 2
    later = folder / "later.xml"
    later.write_bytes(export(image(box(1, 2, 9, 9))))
    with pytest.raises(AnnotationError, match=r"a\.png' is annotated twice, in '.*task' and in '.*later\.xml'; leave"):
        find_stacks([folder, later], ("diatom",))


def test_what_is_true_of_many_is_told_before_single_boxes(tmp_path: Path) -> None:
    shapes = "".join(box(50, 5, 60, 9) for _ in range(30)) + '<polygon label="diatom_NV" points="1,2;3,4;6,5"/>'
    found = find_stacks(
        [place(tmp_path, {"annotations.xml": export(image(shapes) + image(name="b.png"))})], ("diatom",)
    )
    assert [problem.partition(": ")[2] for problem in found.problems[:3]] == [
        "1 box is not validated, as its label ends in _NV; nothing is learnt or judged by it",
        "1 of 2 pictures has no box and is taken as empty; --only-annotated leaves them out",
        "1 polygon taken by the box around each",
    ]
    assert len(found.problems) == 33


def test_two_pictures_that_can_only_be_one_file_are_refused(tmp_path: Path) -> None:
    images = "".join(image().replace(" id=", f' subset="{name}" id=') for name in ("Train", "Test"))
    data = place(tmp_path, {"annotations.xml": export(images), "images/a.png": picture(1)})
    with pytest.raises(AnnotationError, match=r"is annotated twice, as 'Train/a\.png' and as 'Test/a\.png'"):
        open_sources(data)


@both
@pytest.mark.parametrize("below", ["images/train/", "images/", "train/", ""])
def test_cocos_own_layout_is_read_as_a_whole_and_by_subset(
    tmp_path: Path, packed: bool, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "annotations/instances_train.json": coco("a.png"),
        "annotations/instances_val.json": coco("b.png"),
        "annotations/captions_val.json": b"{}",
        f"{below}a.png": picture(10),
        f"{below.replace('train', 'val')}b.png": picture(20),
    }
    data = place(tmp_path, files, packed)
    assert seen(data) == {"train/a.png": 10, "val/b.png": 20}
    assert [source.name for source in open_sources(data)] == [f"{data.name}/train", f"{data.name}/val"]
    if not packed:
        assert seen(data / "annotations" / "instances_val.json") == {"val/b.png": 20}
        monkeypatch.chdir(data / "annotations")
        assert seen(Path("instances_val.json")) == {"val/b.png": 20}


@both
@pytest.mark.parametrize(
    ("annotations", "pictures"), [("annotations/instances.json", "images"), ("labels.json", "data")]
)
def test_pictures_are_found_where_supervisely_and_fiftyone_put_them(
    tmp_path: Path, packed: bool, annotations: str, pictures: str
) -> None:
    data = place(tmp_path, {annotations: coco("a.png"), f"{pictures}/a.png": picture(7)}, packed)
    assert seen(data) == {"a.png": 7}
    if not packed:
        assert seen(data / annotations) == {"a.png": 7}


def test_a_name_may_say_its_subset_once_more(tmp_path: Path) -> None:
    files = {"annotations/instances_train.json": coco("images/train/a.png"), "images/train/a.png": picture(7)}
    assert list(seen(place(tmp_path, files)).values()) == [7]
    files = {"annotations/instances_train.json": coco("train/a.png"), "images/train/a.png": picture(7)}
    assert list(seen(place(tmp_path / "other", files)).values()) == [7]


def test_a_picture_that_is_missing_from_its_subset_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    files = {"annotations/instances_train.json": coco("a.png"), "images/train/b.png": picture(1), "a.png": picture(2)}
    (stack,) = find_stacks([place(tmp_path, files)], ("diatom",)).stacks
    with pytest.raises(AnnotationError, match=r"train/a\.png' is annotated but does not exist"):
        read_stack(stack)


@both
def test_subsets_in_folders_of_their_own_are_read_as_roboflow_lays_them_out(tmp_path: Path, packed: bool) -> None:
    files = {"README.roboflow.txt": b"", "__MACOSX/train/_annotations.coco.json": b"no json"}
    for value, name in enumerate(("train", "valid", "test"), start=1):
        files |= {f"{name}/_annotations.coco.json": coco("a.png"), f"{name}/a.png": picture(value)}
    assert seen(place(tmp_path, files, packed)) == {"test/a.png": 3, "train/a.png": 1, "valid/a.png": 2}


@both
@pytest.mark.parametrize("name", ["task 3/annotations.xml", "task 3/export.xml", "export.xml"])
def test_a_folder_around_an_export_and_a_name_of_ones_own_do_not_matter(
    tmp_path: Path, packed: bool, name: str
) -> None:
    beside = name.rpartition("/")[0] + "/images/a.png"
    files = {name: export(image(box(1, 2, 11, 22))), beside.lstrip("/"): picture(7), "__MACOSX/x": b""}
    data = place(tmp_path, files, packed)
    assert seen(data) == {"a.png": 7}


@both
def test_of_several_files_of_unknown_names_none_is_taken(tmp_path: Path, packed: bool) -> None:
    data = place(tmp_path, {"one.xml": export(image()), "other.json": coco("a.png"), "sub/x.txt": b""}, packed)
    with pytest.raises(AnnotationError, match=r"holds no coco\.json, .* or name their file"):
        open_sources(data)


@both
@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("frame_000001.PNG", "frame_000001"),
        ("Zu\u0308rich.png", "Z\u00fcrich.png"),
        ("A.PNG", "a.png"),
        ("sub/a.png", "sub\\a.png"),
    ],
)
def test_names_differ_as_systems_let_them_differ(tmp_path: Path, packed: bool, written: str, named: str) -> None:
    files = {"annotations.xml": export(image(box(1, 2, 11, 22), named)), f"images/{written}": picture(7)}
    assert list(seen(place(tmp_path, files, packed)).values()) == [7]


def test_frames_of_one_name_in_two_formats_are_refused(tmp_path: Path) -> None:
    files = {f"images/frame_000001{suffix}": picture(7) for suffix in (".png", ".jpg")}
    data = place(tmp_path, {"annotations.xml": export(image(name="frame_000001")), **files})
    with pytest.raises(AnnotationError, match="'frame_000001' may be"):
        open_sources(data)


def test_what_stands_twice_is_taken_once_and_told(tmp_path: Path) -> None:
    """As after annotations were uploaded again; another class, or another plane, is another thing."""
    plane = '<attribute name="plane">{0}</attribute>'
    one, other = box(1, 2, 11, 22), box(1, 2, 11, 22, "coccolith")
    deep = [box(3, 4, 9, 9, inside=plane.format(z)) for z in (1, 5, 1.0)]
    (tmp_path / "annotations.xml").write_bytes(export(image(one + other + one + "".join(deep)) + image(one, "b.png")))
    found = find_stacks([tmp_path], ["diatom", "coccolith"])
    name = tmp_path.name
    assert f"{name}: 2 boxes are there twice, and are taken once" in found.problems
    assert [[(a.bbox[0], a.plane) for a in stack.annotations] for stack in found.stacks] == [
        [(1, None), (1, None), (3, 1), (3, 5)],
        [(1, None)],
    ]
    one_class = find_stacks([tmp_path], ["fossil"], one_class=True)
    assert f"{name}: 3 boxes are there twice, and are taken once" in one_class.problems


def test_pictures_that_no_annotations_name_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.PNG", ".hidden.png", "d.txt"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"")
    for name in ("a", "b"):
        (tmp_path / f"{name}.xml").write_bytes(export(image(box(1, 2, 11, 22), f"{name}.png")))
    both = [tmp_path / "a.xml", tmp_path / "b.xml"]
    where = str(tmp_path / "images" / "c.PNG")
    one = f"1 picture that lies there is not looked at, as in none of these annotations, such as {where!r}"
    assert find_stacks(both, ["diatom"]).problems == (one,)
    (told,) = find_stacks(both[:1], ["diatom"]).problems
    assert told.startswith("2 pictures that lie there are not looked at, as in none of these annotations, such as")
    (tmp_path / "images" / "c.PNG").unlink()
    assert find_stacks(both, ["diatom"]).problems == ()


def test_annotations_below_others_are_told(tmp_path: Path) -> None:
    for name in ("train", "valid", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "annotations.xml").write_bytes(export(image()))
    for name in ("train", "valid"):
        (tmp_path / name / "annotations.xml").write_bytes(export(image()))
    (source,) = open_sources(tmp_path)
    told = f"{tmp_path.name}: annotations in train, valid are not looked at, as annotations.xml lies above them"
    assert source.loaded.problems == (f"{told}; name these folders to take them",)


def test_pictures_without_a_box_are_told_and_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    images = "".join(image(box(1, 2, 11, 22) if k < 2 else "", f"{k}.png", k) for k in range(5))
    data = place(tmp_path, {"annotations.xml": export(images), **{f"images/{k}.png": picture(k) for k in range(5)}})
    found = find_stacks([data], ("diatom",))
    assert len(found.stacks) == 5
    assert found.problems == (
        "task: 3 of 5 pictures have no box and are taken as empty; --only-annotated leaves them out",
    )
    found = find_stacks([data], ("diatom",), only_annotated=True)
    assert [one.picture.file_name for one in found.stacks] == ["0.png", "1.png"]
    assert found.problems == ("task: 3 of 5 pictures have no box and are left out",)
    (data / "annotations.xml").write_bytes(export(image()))
    with pytest.raises(AnnotationError, match="no picture of 'task' has a box"):
        find_stacks([data], ("diatom",), only_annotated=True)


def test_labels_that_nobody_used_are_no_classes(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "diatom"}, {"id": 2, "name": "junk"}, {"id": 3, "name": "unsure_NV"}]
    for name, content in (
        ("annotations.xml", export(image(box(1, 2, 11, 22)))),
        ("coco.json", coco("a.png", categories=categories)),
    ):
        data = place(tmp_path / name, {name: content})
        assert len(find_stacks([data], ("diatom",)).stacks) == 1
        with pytest.raises(AnnotationError, match="annotates the class 'diatom', which is not among junk"):
            find_stacks([data], ("junk",))


@pytest.mark.parametrize("name", ["../a.png", "/tmp/a.png", "images/../../a.png", "..\\a.png", "C:\\a.png"])
def test_a_zip_whose_entries_lead_out_of_it_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data = place(tmp_path, {"annotations.xml": export(image()), name: b""}, packed=True)
    with pytest.raises(AnnotationError, match="leads out of its folder") as refusal:
        open_sources(data)
    assert repr(name) in str(refusal.value)


def test_a_zip_of_windows_with_its_own_slashes_is_read(tmp_path: Path) -> None:
    files = {"annotations.xml": export(image(box(1, 2, 11, 22))), "images\\": b"", "images\\a.png": picture(7)}
    assert seen(place(tmp_path, files, packed=True)) == {"a.png": 7}


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("Pra\u0308parat.png".encode(), "Pr\u00e4parat.png"),
        ("Pr\u00e4parat.png".encode(), "Pr\u00e4parat.png"),
        ("\u7845.png".encode(), "\u7845.png"),
        ("Pr\u00e4parat.png".encode("cp437"), "Pr\u00e4parat.png"),
    ],
)
def test_names_in_a_zip_that_does_not_say_how_they_are_written_are_found(
    tmp_path: Path, stored: bytes, named: str
) -> None:
    asked, placeholder = export(image(box(1, 2, 11, 22), named)), b"x" * len(stored)
    files = {"./": b"", "./annotations.xml": asked, f"./images/{placeholder.decode()}": picture(7)}
    data = place(tmp_path, files, packed=True)
    data.write_bytes(data.read_bytes().replace(placeholder, stored))
    assert seen(data) == {named: 7}


def test_a_zip_that_holds_a_name_twice_is_refused(tmp_path: Path) -> None:
    data = place(tmp_path, {"annotations.xml": export(image()), "images\\a.png": b"", "images/a.png": b""}, packed=True)
    with pytest.raises(AnnotationError, match=r"holds 'images/a\.png' twice"):
        open_sources(data)


def test_what_a_zip_unpacks_to_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = place(tmp_path, {"annotations.xml": export(image(box(1, 2, 11, 22))), "images/a.png": bytes(64 << 20)}, True)
    (stack,) = find_stacks([bomb], ("diatom",)).stacks
    with pytest.raises(AnnotationError, match=r"images/a\.png' holds more than the 17 MB"):
        read_stack(stack)
    monkeypatch.setattr("inference.annotations.sources.LARGEST_FILE", 100)
    with pytest.raises(AnnotationError, match=r"annotations\.xml' holds more than"):
        open_sources(bomb)


def test_a_damaged_entry_of_a_zip_is_refused_by_name(tmp_path: Path) -> None:
    data = place(tmp_path, {"annotations.xml": export(image(box(1, 2, 11, 22))), "images/a.png": picture(7)}, True)
    content = bytearray(data.read_bytes())
    at = content.index(b"images/a.png") + len("images/a.png")
    content[at : at + 8] = b"\xff" * 8
    data.write_bytes(content)
    (stack,) = find_stacks([data], ("diatom",)).stacks
    with pytest.raises(AnnotationError, match=r"images/a\.png' cannot be read"):
        read_stack(stack)


def test_a_picture_of_several_pages_is_refused_where_the_annotations_know_one(tmp_path: Path) -> None:
    data = place(tmp_path, {"coco.json": coco("a.tif")})
    planes = np.zeros((9, 30, 40), np.uint8)
    with tifffile.TiffWriter(data / "several.tif", ome=True) as file:
        for plane in planes:
            file.write(plane)
    # As ImageJ writes what is large: one page, and planes behind it that only its description knows.
    text = "ImageJ=1.54f\nimages=9\nslices=9\n"
    tifffile.imwrite(data / "one_page.tif", planes[0], description=text, metadata=None)
    with (data / "one_page.tif").open("ab") as stream:
        stream.write(bytes(planes[1:].nbytes))
    tifffile.imwrite(data / "imagej.tif", planes, imagej=True)
    tifffile.imwrite(data / "plain.tif", planes, photometric="minisblack")
    for name in ("several.tif", "one_page.tif", "imagej.tif", "plain.tif"):
        (data / name).replace(data / "a.tif")
        with pytest.raises(AnnotationError, match=r"a\.tif' has 9 pages, the annotations know 1"):
            seen(data)
    content = bytearray((data / "a.tif").read_bytes())
    content[content.index(b'"shape": [9, ') + 11] = 0xFF
    (data / "a.tif").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"a\.tif' cannot be read: it is damaged"):
        seen(data)
    for colours, planar in ((planes[:3], "separate"), (np.moveaxis(planes[:3], 0, -1), "contig")):
        tifffile.imwrite(data / "a.tif", colours + 5, photometric="rgb", planarconfig=planar)
        assert seen(data) == {"a.tif": 5}
    with tifffile.TiffWriter(data / "a.tif") as file:
        file.write(planes[0] + 5, subifds=1)
        file.write(planes[0, ::2, ::2], subfiletype=1)
    assert seen(data) == {"a.tif": 5}


def test_coco_as_cvat_names_it_is_found(tmp_path: Path) -> None:
    image = AnnotatedImage(id=1, file_name="a.png", width=40, height=30)
    dataset = AnnotationFile(images=(image,), annotations=(), categories=(Category(id=1, name="x"),))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_default.json").write_bytes(to_json(dataset))
    (source,) = open_sources(tmp_path)
    assert source.loaded.dataset == dataset
    assert source.pictures == ((tmp_path / "a.png", image),)


@pytest.mark.parametrize(
    ("name", "content"), [("a.zip", b"no zip"), ("a.zip", None), ("a.xml", None), ("b.json", None)]
)
def test_places_without_annotations_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AnnotationError, match=r"does not exist|do not exist|cannot be read"):
        open_sources(tmp_path / name)


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
