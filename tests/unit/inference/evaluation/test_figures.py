import contextlib
import io
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inference.annotations.coco import AnnotatedImage, Annotation
from inference.annotations.stacks import AnnotatedStack
from inference.evaluation.breakdown import Breakdown
from inference.evaluation.figures import Evaluation, StackFindings, compare, of_one_class
from inference.objects.objects import FoundObject
from inference.settings import DetectorSettings

CLASSES = ("coccolith", "diatom")


def thing(x: float, class_name: str, score: float) -> FoundObject:
    nothing = np.zeros((1, 1, 1, 1), np.uint16)
    return FoundObject(
        box=(int(x), 0, int(x) + 10, 10),
        crop_box=(0, 0, 1, 1),
        class_name=class_name,
        score=score,
        below_threshold=False,
        best_plane=0.0,
        best_plane_at_edge=False,
        sharpness=np.ones(1, np.float32),
        touches_edge=False,
        crop=nothing,
        fused=nothing[0],
    )


def annotation(number: int, x: float, category: int, iscrowd: int = 0) -> Annotation:
    return Annotation(id=number, image_id=1, category_id=category, bbox=(x, 0, 10, 10), area=100, iscrowd=iscrowd)


def evaluate(annotations: list[Annotation], objects: list[FoundObject], one_class: bool = False) -> Evaluation:
    picture = AnnotatedImage(id=1, file_name="field.tif", width=500, height=500)
    items = [AnnotatedStack(Path("field.tif"), picture, tuple(annotations), dict(enumerate(CLASSES, start=1)))]
    found = [StackFindings(tuple(objects), 0.0)]
    settings = DetectorSettings(classes=("fossil",) if one_class else CLASSES)
    if one_class:
        return compare(*of_one_class(items, found, "fossil"), settings)
    return compare(items, found, settings)


def test_figures_of_a_case_worked_out_by_hand() -> None:
    """Four coccoliths; by falling score: found, false, found, found.

    Precisions 1, 1/2, 2/3, 3/4 at recalls of a quarter, a quarter, a half, three quarters; made never to rise: 1 up to
    0.25, 3/4 up to 0.75, 0 beyond.
    """
    truth = [annotation(k, 50 * k, 1) for k in range(1, 5)]
    objects = [thing(50, "coccolith", 0.9), thing(400, "coccolith", 0.8), thing(100, "coccolith", 0.7)]
    figures = evaluate(truth, [*objects, thing(150, "coccolith", 0.6)]).figures
    assert figures.curve == pytest.approx([1.0] * 26 + [0.75] * 50 + [0.0] * 25)
    assert figures.ap50 == pytest.approx((26 + 50 * 0.75) / 101)
    assert (figures.precision, figures.recall) == (0.75, 0.75)
    assert figures.recall_at(0.72) == 0.75
    assert figures.recall_at(0.8) == 0.25


def test_what_is_taken_for_another_class_is_found_when_only_finding_counts() -> None:
    truth, objects = (
        [annotation(1, 50, 1), annotation(2, 100, 2)],
        [thing(50, "diatom", 0.9), thing(100, "diatom", 0.8)],
    )
    assert evaluate(truth, objects).figures.recall == 0.5
    together = evaluate(truth, objects, one_class=True).figures
    assert (together.recall, together.precision) == (1.0, 1.0)
    assert together.ap50_of_class == {"fossil": pytest.approx(1.0)}


def test_what_has_not_to_be_found_is_neither_missed_nor_false() -> None:
    truth = [annotation(1, 50, 1), annotation(2, 100, 1, iscrowd=1), annotation(3, 150, 1, iscrowd=1)]
    figures = evaluate(truth, [thing(50, "coccolith", 0.9), thing(100, "coccolith", 0.95)]).figures
    assert (figures.objects, figures.precision, figures.recall) == (1, 1.0, 1.0)
    assert figures.ap50 == pytest.approx(1.0)


@pytest.mark.slow
def test_the_table_is_that_of_pycocotools_called_directly() -> None:
    """Digit for digit, on boxes scattered about random truth."""
    random = np.random.default_rng(5)
    images = [AnnotatedImage(id=k, file_name=f"{k}.tif", width=500, height=500) for k in range(6)]
    known: list[Annotation] = []
    objects: dict[int, list[FoundObject]] = {picture.id: [] for picture in images}
    for number in range(1, 241):
        side, label = int(random.choice([20, 50, 120])), int(random.integers(1, 3))
        x, y = (int(v) for v in random.integers(0, 380, 2))
        crowd = int(random.uniform() < 0.1)
        known.append(
            Annotation(
                id=number, image_id=number % 6, category_id=label, bbox=(x, y, side, side), area=side**2, iscrowd=crowd
            )
        )
        x, y = (int(v + random.normal(0, side / 10)) for v in (x, y))
        one = thing(0, CLASSES[label - 1], float(random.uniform()))
        objects[number % 6].append(replace(one, box=(x, y, x + side, y + side)))
    items = [
        AnnotatedStack(
            Path(p.file_name), p, tuple(a for a in known if a.image_id == p.id), dict(enumerate(CLASSES, start=1))
        )
        for p in images
    ]
    found = [StackFindings(tuple(of_one), 0.0) for of_one in objects.values()]
    expected = [
        {
            "id": a.id, "image_id": a.image_id, "category_id": a.category_id, "bbox": list(a.bbox), "area": a.area,
            "iscrowd": a.iscrowd,
        }
        for a in known
    ]  # fmt: skip
    detected = [
        {
            "image_id": image, "category_id": 1 + CLASSES.index(o.class_name), "score": o.score,
            "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
        }
        for image, of_one in objects.items()
        for o in of_one
    ]  # fmt: skip
    figures = compare(items, found, DetectorSettings(classes=CLASSES)).figures
    with contextlib.redirect_stdout(io.StringIO()):
        truth_side = COCO()
        truth_side.dataset = {
            "images": [{"id": p.id, "width": 500, "height": 500} for p in images],
            "annotations": expected,
            "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES, start=1)],
        }
        truth_side.createIndex()
        evaluated = COCOeval(truth_side, truth_side.loadRes(detected), "bbox")
        evaluated.params.maxDets = [10, 30, 300]
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    # pycocotools prints the first for 100 detections, which it was not asked for, and so has none.
    assert evaluated.stats[0] == -1
    names = (
        None, "AP @0.50", "AP @0.75", None, "AP medium", "AP large",
        "AR @10", "AR @30", "AR @300", None, "AR medium", "AR large",
    )  # fmt: skip
    assert {name: figures.table[name] for name in names if name} == {
        name: float(value) for name, value in zip(names, evaluated.stats, strict=True) if name
    }
    assert figures.table["AP @0.50:0.95"] == figures.ap
    for name in ("AP @0.50:0.95", "AP @0.50", "AP @0.75"):
        interval = figures.intervals[name]
        assert interval is not None
        assert interval[0] < (figures.table[name] or 0) < interval[1]
        assert interval[1] - interval[0] < 0.2


def test_one_or_two_images_have_no_interval() -> None:
    assert set(evaluate([annotation(1, 50, 1)], [thing(50, "coccolith", 0.9)]).figures.intervals.values()) == {None}


def broken_down(annotations: list[list[Annotation]], objects: list[list[FoundObject]]) -> Breakdown:
    items = [
        AnnotatedStack(
            Path(f"{k}.tif"),
            AnnotatedImage(id=k, file_name=f"{k}.tif", width=500, height=500),
            tuple(msgspec.structs.replace(a, image_id=k) for a in known),
            dict(enumerate(CLASSES, start=1)),
        )
        for k, known in enumerate(annotations)
    ]
    found = [StackFindings(tuple(of_one), 0.0) for of_one in objects]
    return Breakdown(items, found, compare(items, found, DetectorSettings(classes=CLASSES)))


def test_an_evaluation_is_taken_apart_by_class_size_and_density() -> None:
    first = [annotation(1, 0, 1), annotation(2, 50, 1), annotation(3, 100, 2), annotation(4, 150, 2, iscrowd=1)]
    large = msgspec.structs.replace(annotation(5, 200, 2), bbox=(200, 0, 100, 100), area=10_000)
    sures = [(100, 0.95), (150, 0.8), (300, 0.7)]
    broken = broken_down(
        [[*first, large], [annotation(1, 0, 1)], []],
        [
            [thing(0, "coccolith", 0.9), *(thing(x, "diatom", sure) for x, sure in sures)],
            [thing(0, "coccolith", 0.3)],
            [thing(0, "coccolith", 0.6)],
        ],
    )  # fmt: skip
    assert broken.by_class(CLASSES) == [("coccolith", 3, 2, 1 / 3, 0.5), ("diatom", 2, 2, 0.5, 0.5)]
    assert [part[1:] for part in broken.by_size()] == [(4, 4, 0.5, 0.5), (0, 0, None, None), (1, 0, 0.0, None)]
    assert broken.by_density() == [
        ("0 to 0 objects per field", 0, 1, None, 0.0),
        ("1 to 1 objects per field", 1, 0, 0.0, None),
        ("4 to 4 objects per field", 4, 3, 0.5, 2 / 3),
    ]
    alike = broken_down([[annotation(1, 0, 1)]] * 4, [[thing(0, "coccolith", 0.9)], [], [thing(50, "diatom", 0.9)], []])
    assert alike.by_density() == [("1 to 1 objects per field", 4, 2, 0.25, 0.5)]
    assert broken_down([[]], [[]]).by_density() == [("0 to 0 objects per field", 0, 0, None, None)]
    assert [(miss.field, miss.box) for miss in broken.worst_misses(2)] == [
        (0, (200, 0, 300, 100)),
        (0, (50, 0, 60, 10)),
    ]
    assert [(alarm.field, alarm.class_name, alarm.score) for alarm in broken.worst_false_alarms(9)] == [
        (0, "diatom", 0.7),
        (2, "coccolith", 0.6),
    ]
    assert [(one.low, one.detections, one.right) for one in broken.sureness()] == [
        (0.3, 1, 1.0),
        (0.6, 1, 0.0),
        (0.7, 1, 0.0),
        (0.9, 2, 1.0),
    ]
