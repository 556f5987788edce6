from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import safetensors.numpy
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.annotations.coco import AnnotatedImage, Annotation, StackInfo
from inference.annotations.stacks import NOT_JUDGED, AnnotatedStack, Views, prepare
from inference.network import network
from inference.network.weights_file import find_weights
from inference.settings import DetectorSettings, FocusSettings
from inference.training.crops import batches as draw_batches
from inference.training.crops import corner
from inference.training.mistakes import Place, find_mistakes
from inference.training.settings import TrainingSettings

SIDE, SIZE = 96, (128, 160)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    height, width = SIZE
    x0, y0 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    return x0, y0, draw(st.floats(x0, width)), draw(st.floats(y0, height))


@given(boxes(), st.integers(0, 2**32 - 1))
def test_a_crop_around_an_object_holds_it_if_it_fits(box: tuple[float, float, float, float], seed: int) -> None:
    top, left = corner(np.array(box, np.float32), SIZE, SIDE, np.random.default_rng(seed))
    assert 0 <= top <= SIZE[0] - SIDE
    assert 0 <= left <= SIZE[1] - SIDE
    x0, y0, x1, y1 = box
    for low, high, first in ((x0, x1, left), (y0, y1, top)):
        # The edges fall between pixels: a box of nearly the crop's side may stand out by less than one of them.
        if high - low <= SIDE:
            assert first - 1 < low
            assert high < first + SIDE + 1
        else:
            assert low < first + SIDE
            assert first < high


def field(labels: list[list[int]], marker: float, tmp_path: Path) -> Views:
    """Views of which every pixel tells the field; boxes side by side, 20 px wide."""
    path = tmp_path / f"{marker}.npy"
    np.save(path, np.full((len(labels), 3, 200, 200), marker, np.float16))
    boxes = np.array([(60 * k, 90, 60 * k + 20, 110) for k in range(len(labels[0]))], np.float32)
    return Views(np.load(path, mmap_mode="r"), 1, boxes, np.array(labels, np.int64))


def batches(fields: list[Views], *mistakes: Place, **settings: object) -> list[tuple[float, list[int]]]:
    """(field's marker, labels shown) of every crop drawn."""
    usual = TrainingSettings(steps=200, batch=2, crop_px=96, classes=("a", "b"))
    drawn = draw_batches(fields, mistakes, replace(usual, **settings))  # type: ignore[arg-type]
    return [
        (float(image.median()), target["labels"].tolist())
        for images, targets in drawn
        for image, target in zip(images, targets, strict=True)
    ]


def test_rare_classes_are_drawn_as_often_as_common_ones(tmp_path: Path) -> None:
    fields = [field([[2], [2]], 8.0, tmp_path), *(field([[1, 1, 1]] * 2, 4.0 + k / 8, tmp_path) for k in range(3))]
    drawn = batches(fields, around=1.0)
    assert 140 < sum(2 in labels for _, labels in drawn) < 260
    assert all(labels for _, labels in drawn)


def test_crops_are_laid_around_mistakes_as_often_as_asked(tmp_path: Path) -> None:
    empty, other = field([[0], [0]], 4.0, tmp_path), field([[1], [1]], 8.0, tmp_path)
    drawn = batches([other], (empty, np.array([20, 20, 40, 40], np.float32)), around=0.5, mistaken=0.25)
    assert 70 < sum(marker < 6 for marker, _ in drawn) < 130
    assert not any(labels for marker, labels in drawn if marker < 6)


def test_mistakes_are_what_is_found_where_nothing_is_annotated(tmp_path: Path) -> None:
    sample = files("inference") / "weights" / "sample.safetensors"
    view = safetensors.numpy.load_file(str(sample))["views"].astype(np.float16)
    classes = DetectorSettings().classes
    model = network.load(find_weights("slim"), "slim", classes)
    with torch.no_grad():
        (found,) = model([torch.from_numpy(view[0]).float()])
    sure = found["boxes"][found["scores"] > 0.9].numpy()
    assert len(sure) >= 2
    np.save(tmp_path / "view.npy", np.concatenate([view, view]))
    images = np.load(tmp_path / "view.npy", mmap_mode="r")
    labels = np.array([[1] * (len(sure) - 2) + [NOT_JUDGED, 0]] * 2)
    annotated = Views(images, 1, sure, labels)
    mistakes = find_mistakes(model, "cpu", [annotated], lambda *_: None)
    assert all(field is annotated for field, _ in mistakes)
    boxes = [box.tolist() for _, box in mistakes]
    assert sure[-1].tolist() in boxes
    assert not [box for box in sure[:-1].tolist() if box in boxes]


def test_what_is_out_of_focus_is_background_and_what_has_not_to_be_found_is_neither(tmp_path: Path) -> None:
    """The fused view shows the second object as one not to be judged; the plane shows it out of focus."""
    shown = {tuple(labels) for _, labels in batches([field([[1, NOT_JUDGED], [1, 0]], 1.0, tmp_path)], around=1.0)}
    assert shown == {(1,), (1, NOT_JUDGED)}


def test_what_is_annotated_is_learnt_from_fused_views_and_from_planes_near_it(tmp_path: Path) -> None:
    """At 0.5 um a plane and 0.8 um of depth; the second object's own plane lies far beyond the stack's last one."""
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "stack.tif", rng.integers(900, 1100, (5, 64, 64), np.uint16))
    info = StackInfo(slide=1, field=1, seed=1, planes=5, step_um=0.5, pixel_um=0.118, polarizations=("parallel",))
    picture = AnnotatedImage(id=1, file_name="stack.tif", width=64, height=64, stack=info)
    annotations = tuple(
        Annotation(
            id=1, image_id=1, category_id=1, bbox=(8.0, 8.0, 20.0, 20.0), area=400.0, attributes={"plane": plane}
        )
        for plane in (2.0, 15.0)
    )
    stack = AnnotatedStack(tmp_path / "stack.tif", picture, annotations, {1: "a"})
    (views,) = prepare([stack], ("a", "b"), FocusSettings(), 0.8, tmp_path, lambda *_: None)
    assert views.fused == 2
    out, near, its = 0, NOT_JUDGED, 1
    assert views.labels[:, 0].tolist() == [its, its, near, its, its, its, near]
    assert views.labels[:, 1].tolist() == [its, its, out, near, near, its, its]
    del views


def test_no_class_and_no_background_is_learnt_from_what_has_not_to_be_judged() -> None:
    torch.manual_seed(0)
    heads = network.build("slim", ("a", "b")).roi_heads
    boxes = torch.tensor([[10.0, 10, 40, 40], [60, 60, 90, 90]])
    proposals = [torch.tensor([[11.0, 10, 40, 41], [61, 60, 90, 90], [100, 10, 130, 30]])]
    _, labels = heads.assign_targets_to_proposals(proposals, [boxes], [torch.tensor([2, NOT_JUDGED])])
    assert labels[0].tolist() == [2, NOT_JUDGED, 0]
    sampled_pos, sampled_neg = heads.fg_bg_sampler(labels)
    assert sampled_pos[0].tolist() == [1, 0, 0]
    assert sampled_neg[0].tolist() == [0, 0, 1]
