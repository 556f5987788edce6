import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from inference.annotations.coco import (
    AnnotatedImage,
    Annotation,
    AnnotationFile,
    Category,
    LoadedAnnotations,
    StackInfo,
    to_json,
)
from inference.annotations.coco_reading import read
from inference.annotations.splits import draw, members
from inference.annotations.stacks import AnnotatedStack, find_stacks, read_stack
from inference.errors import AnnotationError
from tests.support.places import SHARED_DATA

DATA = SHARED_DATA
RBC = DATA / "rbc-coco"

needs_rbc = pytest.mark.skipif(not RBC.is_dir(), reason=f"{RBC} is not there")

name = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
length = st.floats(0.5, 20)


@st.composite
def datasets(draw: st.DrawFn) -> AnnotationFile:
    names = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    first = draw(st.sampled_from([0, 1]))
    images = tuple(
        AnnotatedImage(
            id=first + k,
            file_name=f"slide-1/{k}.ome.tif",
            width=64,
            height=48,
            stack=draw(
                st.none()
                | st.builds(
                    StackInfo,
                    slide=st.integers(1, 8),
                    field=st.integers(1, 999),
                    seed=st.integers(0, 99),
                    planes=st.integers(1, 15),
                    step_um=length,
                    pixel_um=length,
                    polarizations=st.sampled_from([("parallel",), ("crossed", "parallel")]),
                )
            ),
        )
        for k in range(draw(st.integers(1, 3)))
    )
    annotations = tuple(
        Annotation(
            id=first + k,
            image_id=draw(st.sampled_from([image.id for image in images])),
            category_id=first + draw(st.integers(0, len(names) - 1)),
            bbox=draw(st.tuples(length, length, length, length)),
            area=draw(length),
            iscrowd=draw(st.sampled_from([0, 1])),
            segmentation=draw(st.lists(st.tuples(*[length] * 6), max_size=2).map(tuple)),
            attributes={"touching": draw(st.booleans()), "plane": draw(length)},
        )
        for k in range(draw(st.integers(0, 5)))
    )
    categories = tuple(Category(id=first + k, name=n) for k, n in enumerate(names))
    return AnnotationFile(images=images, annotations=annotations, categories=categories)


@given(datasets())
def test_a_dataset_comes_back_as_written(dataset: AnnotationFile) -> None:
    assert read(to_json(dataset), "coco.json") == LoadedAnnotations(dataset=dataset)


@needs_rbc
def test_published_annotations_are_read_without_their_dummy_root() -> None:
    path = RBC / "valid" / "_annotations.coco.json"
    raw = json.loads(path.read_text())
    loaded = read(path.read_bytes(), "valid")
    dataset = loaded.dataset
    assert [c.name for c in dataset.categories] == ["rbc", "wbc"]
    assert len(dataset.images) == 20
    assert len(dataset.annotations) == sum(a["bbox"][2] > 0 and a["bbox"][3] > 0 for a in raw["annotations"])


@needs_rbc
def test_published_images_become_stacks_of_one_plane_and_are_split_by_source() -> None:
    stacks = find_stacks([RBC / "train", RBC / "valid"], ("rbc", "wbc")).stacks
    assert len(stacks) == 230
    assert read_stack(stacks[0]).shape == (1, 1, 416, 416)
    learning, judging, _ = draw(stacks, members(stacks, lambda *_: None), 0.2, seed=1)
    assert len(learning) + len(judging) == 230
    sources = [{s.picture.file_name.split("_png.rf.")[0] for s in part} for part in (learning, judging)]
    assert sources[1]
    assert not sources[0] & sources[1]


def tiny(**changes: object) -> bytes:
    content: dict[str, object] = {
        "images": [{"id": 0, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12}],
        "categories": [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "cell"}],
    }
    return json.dumps(content | changes).encode()


@pytest.mark.parametrize(
    ("box", "kept", "said"),
    [
        ([1, 2, 3, 4], (1, 2, 3, 4), None),
        ([1, 2, 8.5, 4], (1, 2, 8.5, 4), None),
        ([1, 2, 0, 4], None, "has no area"),
        ([1, 2, -3, 4], None, "has no area"),
        ([-4, 2, 8, 20], (0, 2, 4, 7), "lies in part outside"),
        ([9, 2, 3, 4], None, "lies outside"),
        ([-4, 2, 3, 4], None, "lies outside"),
    ],
)
def test_boxes_that_no_object_can_have_are_told(
    box: list[float], kept: tuple[float, ...] | None, said: str | None
) -> None:
    annotation = {"id": 17, "image_id": 0, "category_id": 1, "bbox": box, "area": 12}
    loaded = read(tiny(annotations=[annotation]), "cells.json")
    assert [a.bbox for a in loaded.dataset.annotations] == ([kept] if kept else [])
    assert len(loaded.problems) == bool(said)
    for problem in loaded.problems:
        assert problem.startswith("cells.json: annotation 17 of 'a.png' ")
        assert str(said) in problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "not COCO"),
        (b'{"images": []}', "not COCO"),
        (b"[" * 100_000, "not COCO"),
        (tiny(annotations={"1": {}}), "not COCO"),
        (tiny(images=[], annotations=[]), "hold no image"),
        (tiny(images=[{"id": 0, "file_name": "a.png", "width": None, "height": 9}]), "hold no image that can be used"),
    ],
)
def test_broken_annotations_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(AnnotationError, match=said):
        read(content, "coco.json")


def test_classes_that_were_not_asked_for_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"holds no coco\.json"):
        find_stacks([tmp_path], ("cell",))
    (tmp_path / "coco.json").write_bytes(tiny())
    with pytest.raises(AnnotationError, match="'cell'"):
        find_stacks([tmp_path], ("diatom",))
    (stack,) = find_stacks([tmp_path], ("cells", "cell")).stacks
    with pytest.raises(AnnotationError, match="does not exist"):
        read_stack(stack)


def test_what_is_learnt_from_a_picture_is_what_is_found_in_it(tmp_path: Path) -> None:
    """A picture that a camera held upright, and one whose zero is white, in a folder and in a zip."""
    shown = np.arange(40 * 48, dtype=np.uint8).reshape(40, 48)
    upright = Image.Exif()
    upright[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(np.rot90(shown)).save(tmp_path / "turned.png", exif=upright)
    tifffile.imwrite(tmp_path / "white.tif", 255 - shown, photometric="miniswhite")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as task:
        for name in ("turned.png", "white.tif"):
            task.write(tmp_path / name, name)
    for path in (tmp_path, zipfile.Path(tmp_path / "task.zip")):
        for name in ("turned.png", "white.tif"):
            picture = AnnotatedImage(id=1, file_name=name, height=40, width=48)
            assert_array_equal(read_stack(AnnotatedStack(path / name, picture, (), {}))[0, 0], shown)


@pytest.mark.parametrize(
    ("annotated", "pixels", "said"),
    [
        ((40, 40), np.zeros((40, 48), np.uint8), r"shape \(1, 1, 40, 48\), not \(1, 1, 40, 40\)"),
        ((40, 40), np.full((40, 40), np.nan, np.float32), "its pixels are float32"),
        ((1, 1), np.zeros((1, 1), np.uint8), "has 1 x 1 px; give pictures of 8 to 8192"),
        ((20_000, 20_000), np.zeros((1, 1), np.uint8), "20000 x 20000 px; .* cut into tiles"),
    ],
)
def test_pictures_that_cannot_be_looked_at_are_refused(
    tmp_path: Path, annotated: tuple[int, int], pixels: NDArray[np.generic], said: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    picture = AnnotatedImage(id=1, file_name="a.tif", height=annotated[0], width=annotated[1])
    with pytest.raises(AnnotationError, match=said):
        read_stack(AnnotatedStack(tmp_path / "a.tif", picture, (), {}))
