"""COCO as other programs write it: around boxes that are known, any mix of their oddities."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from inference.annotations.coco import AnnotationFile
from inference.annotations.coco_reading import read
from inference.errors import AnnotationError

WIDTH, HEIGHT = 64, 48
SIZE = {"size": [HEIGHT, WIDTH]}
Oddity = Callable[[dict[str, Any]], object]

HARMLESS: dict[str, Oddity] = {
    "no area": lambda a: a.pop("area"),
    "no outline": lambda a: a.pop("segmentation"),
    "no crowd": lambda a: a.pop("iscrowd"),
    "null everywhere": lambda a: a.update(area=None, segmentation=None, iscrowd=None, attributes=None),
    "false": lambda a: a.update(iscrowd=False),
    "0.0": lambda a: a.update(iscrowd=0.0),
    "text": lambda a: a.update(bbox=[str(value) for value in a["bbox"]], area=str(a["area"])),
    "float ids": lambda a: a.update(image_id=float(a["image_id"]), category_id=float(a["category_id"])),
    "text ids": lambda a: a.update(image_id=str(a["image_id"]), category_id=f" {a['category_id']}.0"),
    "an id of text": lambda a: a.update(id=f"shape-{a['id']}"),
    "area is no number": lambda a: a.update(area=float("nan")),
    "an outline that is none": lambda a: a.update(segmentation={"counts": {}, "size": "large"}),
    "keys of its own": lambda a: a.update(score=[1, {"x": None}], attributes={"a": None, "b": [1], "c": 7, "d": "e"}),
    "polygon and no box": lambda a: a.update(bbox=None, segmentation=[polygon(a["bbox"])]),
    "a flat polygon and an empty box": lambda a: a.update(bbox=[], segmentation=polygon(a["bbox"])),
    "mask and no box": lambda a: a.update(segmentation=runs(a.pop("bbox"))),
    "packed mask and no box": lambda a: a.update(segmentation=packed(a.pop("bbox"))),
}
ODD: dict[str, Oddity] = {
    "three numbers": lambda a: a.update(bbox=a["bbox"][:3]),
    "no number": lambda a: a.update(bbox=[float("nan"), *a["bbox"][1:]]),
    "without end": lambda a: a.update(bbox=[float("inf"), *a["bbox"][1:]]),
    "beyond floats": lambda a: a.update(bbox=[10**400, *a["bbox"][1:]]),
    "a word": lambda a: a.update(bbox="somewhere"),
    "null in a box": lambda a: a.update(bbox=[None, *a["bbox"][1:]]),
    "no area": lambda a: a.update(bbox=[*a["bbox"][:3], 0]),
    "no category": lambda a: a.update(category_id=None),
    "another category": lambda a: a.update(category_id=77),
    "no picture": lambda a: a.pop("image_id"),
    "another picture": lambda a: a.update(image_id="77"),
    "neither box nor outline": lambda a: a.update(bbox=None, segmentation=[]),
    "an outline of two points": lambda a: a.update(bbox=None, segmentation=[[1, 2, 3, 4]]),
    "too many pixels": lambda a: a.update(bbox=None, segmentation=SIZE | {"counts": [1, WIDTH * HEIGHT]}),
    "too few pixels": lambda a: a.update(bbox=None, segmentation=SIZE | {"counts": [1, 9]}),
    "rows and columns changed": lambda a: a.update(segmentation=runs(a.pop("bbox")) | {"size": [WIDTH, HEIGHT]}),
    "torn runs": lambda a: a.update(bbox=None, segmentation=SIZE | {"counts": "o"}),
    "runs without end": lambda a: a.update(bbox=None, segmentation=SIZE | {"counts": "o" * 1000}),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")


def polygon(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def pixels(box: list[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    x, y, w, h = box
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    drawn[y : y + h, x : x + w] = 1
    return drawn


def packed(box: list[int]) -> dict[str, Any]:
    encoded = mask.encode(pixels(box))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def runs(box: list[int]) -> dict[str, Any]:
    flat = pixels(box).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=flat[-1])).tolist()
    ends = [0, *edges, len(flat)]
    return {"size": [HEIGHT, WIDTH], "counts": [end - start for start, end in pairwise(ends)]}


boxes = st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(2, 14), st.integers(2, 18)).map(list)


@settings(max_examples=150, deadline=None)
@given(
    known=st.lists(st.tuples(st.integers(0, 2), boxes), min_size=1, max_size=6),
    first=st.sampled_from([0, 1]),
    encoding=st.sampled_from(ENCODINGS),
    data=st.data(),
)
def test_all_boxes_that_are_right_are_read_and_all_others_named(
    known: list[tuple[int, list[int]]], first: int, encoding: str, data: st.DataObject
) -> None:
    names = [f"bild-ü/{k}.png" for k in range(3)]
    written = [name.replace("/", "\\") if data.draw(st.booleans()) else f"./{name}" for name in names]
    size = data.draw(st.sampled_from([(WIDTH, HEIGHT), (float(WIDTH), str(HEIGHT))]))
    images = [
        {"id": data.draw(st.sampled_from([first + k, float(first + k), str(first + k)])), "file_name": name,
         "width": size[0], "height": size[1], "license": None, "extra": {"a": [1]}}
        for k, name in enumerate(written)
    ]  # fmt: skip
    above = data.draw(st.sampled_from([None, "none", 3, ""]))
    categories = [{"id": first, "name": "fossil", "supercategory": above}, {"id": first + 1, "name": "junk"}]
    annotations: list[dict[str, Any]] = []
    wrong: list[str] = []
    for k, (image, box) in enumerate(known):
        entry = {
            "id": 100 + k, "image_id": first + image, "category_id": first, "bbox": box, "area": box[2] * box[3],
            "iscrowd": 0, "segmentation": [], "attributes": {},
        }  # fmt: skip
        odd = data.draw(st.sampled_from([None, None, *ODD]))
        if odd is None:
            HARMLESS[data.draw(st.sampled_from([*HARMLESS]))](entry)
        else:
            ODD[odd](entry)
            wrong.append(f"annotation {100 + k} ")
        annotations.append(entry)
    content = {"info": None, "images": images, "annotations": annotations, "categories": categories}
    loaded = read(json.dumps(content, ensure_ascii=False).encode(encoding), "coco.json")
    dataset = loaded.dataset
    assert [picture.file_name for picture in dataset.images] == names
    read_back = [
        (names.index(picture.file_name), list(a.bbox), a.area, a.iscrowd)
        for picture in dataset.images
        for a in dataset.by_picture()[picture.id]
    ]
    right = [one for one, entry in zip(known, annotations, strict=True) if not any(
        f"annotation {entry['id']} " == name for name in wrong)]  # fmt: skip
    assert read_back == [(image, box, box[2] * box[3], 0) for image, box in sorted(right, key=lambda one: one[0])]
    told = [problem for problem in loaded.problems if "left out" in problem]
    assert len(told) == len(wrong)
    for problem, name in zip(told, wrong, strict=True):
        assert f": {name}" in problem
    assert len({a.id for a in dataset.annotations}) == len(dataset.annotations)


def coco(*images: dict[str, Any], **more: Any) -> bytes:
    usual = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "fossil"}]}
    return json.dumps(usual | more).encode()


def image(number: object, name: object, **more: object) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} | more


def box(number: object, image_id: object, **more: object) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": 1, "bbox": [1, 2, 3, 4]} | more


@pytest.mark.parametrize("other", [1, 1.0, "1", True])
def test_two_pictures_of_one_id_are_refused_with_both_names(other: object) -> None:
    with pytest.raises(AnnotationError, match=r"image id 1 stands twice \(a\.png and b\.png\)"):
        read(coco(image(1, "a.png"), image(other, "b.png")), "coco.json")


@pytest.mark.parametrize("other", ["images/a.png", "images\\a.png", "./images//a.png"])
def test_two_pictures_of_one_name_are_refused(other: str) -> None:
    with pytest.raises(AnnotationError, match=r"names the picture 'images/a\.png' 2 times"):
        read(coco(image(1, "images/a.png"), image(2, other)), "coco.json")


def test_two_categories_of_one_id_are_refused_unless_they_are_one() -> None:
    fossil, junk = {"id": 1, "name": "fossil"}, {"id": "1", "name": "junk"}
    assert read(coco(image(1, "a.png"), categories=[fossil, fossil]), "c").dataset.categories[0].name == "fossil"
    with pytest.raises(AnnotationError, match=r"category id 1 stands twice \(fossil and junk\)"):
        read(coco(image(1, "a.png"), categories=[fossil, junk]), "coco.json")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../a.png",
        "images/../../a.png",
        "images\\..\\..\\a.png",
        "C:\\a.png",
        "c:a.png",
        "\\\\nas\\a.png",
    ],
)
def test_names_that_lead_out_of_their_folder_are_refused_by_name(name: str) -> None:
    with pytest.raises(AnnotationError, match=re.escape(repr(name))):
        read(coco(image(1, "a.png"), image(2, name)), "coco.json")


@pytest.mark.parametrize("name", [None, "", 7, "a\0.png", "\ud800.png", "a" * 300, ".", ["a.png"]])
def test_a_picture_that_cannot_be_is_left_out_with_what_is_in_it(name: object) -> None:
    content = coco(image(1, "a.png"), image(2, name), annotations=[box(1, 1), box(2, 2)])
    loaded = read(content, "coco.json")
    assert [picture.file_name for picture in loaded.dataset.images] == ["a.png"]
    assert len(loaded.dataset.annotations) == 1
    assert [problem.partition(" of ")[0].split(" names")[0].split(" has")[0] for problem in loaded.problems] == [
        "coco.json: image 2",
        "coco.json: annotation 2",
    ]


def test_ids_of_text_are_numbered_and_those_of_annotations_that_are_not_one_each() -> None:
    content = coco(
        image("left", "a.png"), image("right", "b.png"),
        annotations=[box(5, "right"), box(5, "left"), box(None, "left")],
    )  # fmt: skip
    dataset = read(content, "coco.json").dataset
    names: dict[int, str] = {picture.id: picture.file_name for picture in dataset.images}
    assert [names[a.image_id] for a in dataset.annotations] == ["b.png", "a.png", "a.png"]
    assert [a.id for a in dataset.annotations] == [1, 2, 3]


def test_what_is_ignored_and_what_is_a_crowd_neither_has_to_be_found_nor_is_false() -> None:
    flags: list[dict[str, object]] = [{"iscrowd": flag} for flag in (1, True, 1.0, "1", "false")]
    flags += [{"ignore": flag} for flag in (1, "true", 0, None)]
    content = coco(image(1, "a.png"), annotations=[box(k, 1, **flag) for k, flag in enumerate(flags)])
    assert [a.iscrowd for a in read(content, "coco.json").dataset.annotations] == [1, 1, 1, 1, 0, 1, 1, 0, 0]


def test_boxes_around_outlines_are_counted_and_not_told_one_by_one() -> None:
    outlines = [box(k, 1, bbox=None, segmentation=[polygon([1, 2, 3, 4])]) for k in range(30)]
    loaded = read(coco(image(1, "a.png"), annotations=outlines), "coco.json")
    assert loaded.problems == ("coco.json: 30 annotations have no box and are taken by the box around their outline",)


def test_a_box_that_cvat_turned_is_taken_by_the_box_around_it() -> None:
    turns = (0, 90.0, "270", 180, 30, "much", None, True)
    boxes = [box(k, 1, bbox=[10, 20, 12, 4], attributes={"rotation": turn}) for k, turn in enumerate(turns)]
    # What is around an outline that was turned is not turned once more.
    boxes.append(box(8, 1, bbox=[10, 20, 12, 4], attributes={"rotation": 90}, segmentation=[polygon([10, 20, 12, 4])]))
    loaded = read(coco(image(1, "a.png"), annotations=boxes), "coco.json")
    upright, slanted = (14, 16, 4, 12), (16 - 6.1962, 22 - 4.7321, 2 * 6.1962, 2 * 4.7321)
    flat = (10, 20, 12, 4)
    expected = [flat, upright, upright, flat, slanted, flat, flat, flat, flat]
    for annotation, around in zip(loaded.dataset.annotations, expected, strict=True):
        assert annotation.bbox == pytest.approx(around, abs=1e-3)
    assert loaded.problems == ()


def test_masks_that_are_called_crowds_are_told() -> None:
    boxes = [box(k, 1, iscrowd=k < 2, segmentation=packed([1, 2, 3, 4])) for k in range(3)] + [box(3, 1, iscrowd=1)]
    loaded = read(coco(image(1, "a.png"), annotations=boxes), "coco.json")
    assert [a.iscrowd for a in loaded.dataset.annotations] == [1, 1, 0, 1]
    (problem,) = loaded.problems
    assert problem.startswith("coco.json: 2 masks have iscrowd 1, and nothing is learnt or judged by them; ")
    assert "export as 'CVAT for images 1.1'" in problem


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_list_that_stands_twice_is_refused(key: str) -> None:
    """As after two files were put together by hand: readers of JSON take the last one in silence."""
    content = coco(image(1, "a.png"), annotations=[box(1, 1)]).rstrip().removesuffix(b"}")
    with pytest.raises(AnnotationError, match=rf"'coco\.json' is two files in one: its list '{key}' stands twice"):
        read(content + f', "{key}": []}}'.encode(), "coco.json")
    assert len(read(content + b', "info": 1, "info": 2}', "coco.json").dataset.annotations) == 1


def test_an_outline_counts_where_its_box_was_left_at_zero() -> None:
    outline = [[5, 6, 25, 6, 25, 16, 5, 16]]
    boxes = [box(1, 1, bbox=[0, 0, 0, 0.0], segmentation=outline), box(2, 1, bbox=[0, 0, 0, 0])]
    loaded = read(coco(image(1, "a.png"), annotations=boxes), "coco.json")
    assert [a.bbox for a in loaded.dataset.annotations] == [(5, 6, 20, 10)]
    assert loaded.problems[0].startswith("coco.json: 1 annotation has no box and is taken by the box around its outl")
    assert "annotation 2 of 'a.png' has neither a box nor an outline" in loaded.problems[1]


def test_boxes_that_are_shares_of_the_picture_are_refused() -> None:
    shares = [box(1, 1, bbox=[0.1, 0.2, 0.3, 0.4]), box(2, 1, bbox=[0.5, 0.5, 0.5, 0.5])]
    with pytest.raises(AnnotationError, match=r"all boxes of 'coco\.json' lie in the first pixel .*; write them in px"):
        read(coco(image(1, "a.png"), annotations=shares), "coco.json")
    loaded = read(coco(image(1, "a.png"), annotations=[*shares, box(3, 1)]), "coco.json")
    assert len(loaded.dataset.annotations) == 3


def in_large_pictures(boxes: list[list[float]], width: int = 1024, height: int = 768) -> bytes:
    """Boxes in two pictures by turns."""
    pictures = [image(nth, f"{nth}.png", width=width, height=height) for nth in (1, 2)]
    return coco(*pictures, annotations=[box(nth + 1, 1 + nth % 2, bbox=one) for nth, one in enumerate(boxes)])


PERCENT: list[list[float]] = [
    [5.33, 23.57, 29.16, 31.26],
    [70, 60.5, 20, 33],
    [2.5, 80, 10, 12],
    [40, 1, 12, 8],
    [55, 40, 20, 20.25],
]


def test_boxes_in_percent_are_refused() -> None:
    told = (
        r"all 5 boxes of 'coco\.json' lie in the first 100 px of their pictures, as where they are in percent .*; write"
    )
    with pytest.raises(AnnotationError, match=told):
        read(in_large_pictures(PERCENT), "coco.json")
    outlines = json.loads(in_large_pictures(PERCENT))
    for one in outlines["annotations"]:
        one.update(segmentation=[polygon(one.pop("bbox"))])
    with pytest.raises(AnnotationError, match=told):
        read(json.dumps(outlines).encode(), "coco.json")
    tasks = [{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": []}]}]
    # Small pictures beside large ones say nothing, neither for px nor against it.
    small = [image(10 + nth, f"small-{nth}.png", width=128, height=128) for nth in range(9)]
    mixed = json.loads(in_large_pictures(PERCENT))
    mixed["images"] += small
    with pytest.raises(AnnotationError, match=told):
        read(json.dumps(mixed).encode(), "coco.json")
    with pytest.raises(
        AnnotationError, match=r"tasks of Label Studio, with boxes in percent\); export them .* as COCO"
    ):
        read(json.dumps(tasks).encode(), "coco.json")


@pytest.mark.parametrize("side", [110, 128, 150, 200, 249, 250, 300])
@pytest.mark.parametrize("object_px", [40, 48])
def test_crops_with_an_object_in_the_middle_are_not_taken_for_percent(side: int, object_px: int) -> None:
    drawn = random.Random(side)
    pictures = [image(nth, f"{nth}.png", width=side, height=side) for nth in range(200)]
    corners = [[side * drawn.uniform(0.4, 0.6) - object_px / 2 for _ in "xy"] for _ in pictures]
    boxes = [box(nth, nth, bbox=[*corner, object_px, object_px]) for nth, corner in enumerate(corners)]
    loaded = read(coco(*pictures, annotations=boxes), "coco.json")
    assert loaded.problems == ()
    assert [[*a.bbox[:2]] for a in loaded.dataset.annotations] == corners


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(in_large_pictures(PERCENT, 128, 96), id="small pictures"),
        pytest.param(in_large_pictures(PERCENT[:3]), id="a few in a corner"),
        pytest.param(in_large_pictures([[x / 2, y / 2, w / 2, h / 2] for x, y, w, h in PERCENT] * 3), id="small ones"),
        pytest.param(in_large_pictures([*PERCENT, [500, 20, 30, 30]]), id="one further away"),
        pytest.param(in_large_pictures([*PERCENT, [20, 20, 30, 90]]), id="one a little further"),
        pytest.param(in_large_pictures([]), id="none"),
    ],
)
def test_boxes_in_px_are_not_taken_for_percent(content: bytes) -> None:
    loaded = read(content, "coco.json")
    assert not loaded.problems
    assert len(loaded.dataset.annotations) == len(json.loads(content)["annotations"])


def test_json_in_the_code_page_of_windows_is_read_and_told() -> None:
    content = json.dumps({"images": [image(1, "Schädel.png")], "annotations": []}, ensure_ascii=False)
    loaded = read(content.encode("cp1252"), "coco.json")
    assert loaded.dataset.images[0].file_name == "Schädel.png"
    assert loaded.problems == ("coco.json: is not in UTF-8; read as of Windows (cp1252)",)


def test_the_plane_of_an_object_is_known_where_somebody_said_it() -> None:
    stack = {
        "slide": 1, "field": 1, "seed": 1, "planes": 3, "step_um": 1.0, "pixel_um": 1.0, "polarizations": ["parallel"],
    }  # fmt: skip
    said = [{"plane": 2}, {"plane": "1.5"}, {}, {"plane": "top"}, {"plane": ""}, {"plane": True}]
    annotations = [box(k, 1, attributes=attributes) for k, attributes in enumerate(said)]
    loaded = read(coco(image(1, "a.tif", stack=stack), annotations=annotations), "coco.json")
    assert [a.plane for a in loaded.dataset.annotations] == [2, 1.5, None, None, None, None]
    assert loaded.problems == ()
    with pytest.raises(AnnotationError, match=r"names '\.\./x\.tif', which leads out of its folder"):
        read(coco(image(1, "a.png", stack=stack | {"file_name": "../x.tif"})), "coco.json")
    odd = read(coco(image(1, "a.tif", stack=stack), image(2, "b.tif", stack={"slide": "?"})), "coco.json")
    assert [picture.file_name for picture in odd.dataset.images] == ["a.tif"]
    assert "'stack' that cannot be understood" in odd.problems[0]


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
                        ["id", "file_name", "bbox", "image_id", "size", "counts", "segmentation"]), inner, max_size=4),
                    max_leaves=6))  # fmt: skip
def test_whatever_stands_in_an_entry_the_others_are_read(odd: object) -> None:
    content = {
        "images": [image(1, "a.png"), image(2, "b.png", stack=None, subset=odd)],
        "annotations": [box(1, 1), odd, box(3, 1, segmentation=odd, attributes=odd, area=odd, id=odd)],
        "categories": [{"id": 1, "name": "fossil"}, {"id": 2, "name": odd}],
    }
    try:
        dataset: AnnotationFile = read(json.dumps(content).encode(), "coco.json").dataset
    except AnnotationError as refusal:
        assert "leads out of its folder" in str(refusal)  # noqa: PT017 - a subset of that name
        return
    assert [picture.file_name for picture in dataset.images][:1] == ["a.png"]
    assert len(dataset.annotations) == 2
