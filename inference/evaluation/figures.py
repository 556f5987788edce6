"""How good a detector is on annotated stacks: pycocotools' figures, and what a person asks beside them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from time import process_time
from typing import Any

import msgspec
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inference.analyser import Analyser
from inference.annotations.coco import Annotation
from inference.annotations.stacks import AnnotatedStack, read_stack
from inference.objects.objects import FoundObject
from inference.settings import WORTH_EXPORTING, CropSettings, DetectorSettings, FocusSettings

LOWEST_SCORE = 0.01
MOST_DETECTIONS = (10, 30, 300)
"""As the laboratory judges: of a field, so many best ones count."""
SIZES = ("all", "small", "medium", "large")
"""Of objects, in px of the image: medium from 32 x 32, large from 96 x 96."""
BOOTSTRAPS = 200
INTERVAL = (2.5, 97.5)
_PLACES = 10_000
"""More than a field has detections."""


class DetectorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a detector does on some fields.

    Average precisions are pycocotools', over recall and classes; `table` has its figures by the laboratory's names. The
    `intervals` of 95 % are those of other slides (or images, where there are no slides) of the same kind: these are
    drawn again, with replacement, and judged anew; None if there are fewer than three. Precision and recall are those
    at `threshold` and an overlap of 0.5 with the right class. `curve` is the interpolated precision at recalls of 0,
    0.01 to 1 and that overlap, its mean over classes. `plane_error` is the median distance, in planes, between best
    plane and truth.
    `junk_share` is how much of all that lies there is known to be junk, `touching_share` how many objects touch.
    None where there is nothing to judge by.
    """

    mode: str
    fields: int
    objects: int
    ap50: float | None
    ap75: float | None
    ap: float | None
    table: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    ap50_of_class: dict[str, float | None]
    threshold: float
    precision: float
    recall: float
    recall_touching: float
    curve: tuple[float, ...]
    touching_share: float
    junk_share: float
    plane_error: float | None
    cpu_seconds_per_field: float

    def recall_at(self, precision: float) -> float:
        """Greatest recall at which the precision is at least so great."""
        return max((k / 100 for k, value in enumerate(self.curve) if value >= precision), default=0.0)


@dataclass(frozen=True)
class Judged:
    """A detection: of which field and object of it, how sure, and the id of the annotation that it found, if any.

    At an overlap of 0.5, of the right class.
    """

    field: int
    place: int
    score: float
    annotation: int | None


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what became of every detection but those of what has not to be found, whatever their scores."""

    figures: DetectorFigures
    detections: tuple[Judged, ...]


@dataclass(frozen=True)
class StackFindings:
    """What a detector found in one stack, and the seconds of CPU time it took."""

    objects: tuple[FoundObject, ...]
    cpu_seconds: float


def find(
    items: Sequence[AnnotatedStack],
    detector: DetectorSettings,
    focus: FocusSettings,
    report: Callable[[int, int], None],
) -> list[StackFindings]:
    """Analyse annotated stacks, keeping detections of the lowest scores too.

    Raises
    ------
    AnnotationError
        A stack cannot be read.
    WeightsRefused
        The weights do not fit the settings.
    """
    found: list[StackFindings] = []
    everything = detector.model_copy(update={"keep_above": LOWEST_SCORE})
    if detector.runtime == "auto" and len(items) < WORTH_EXPORTING:
        everything = everything.model_copy(update={"runtime": "torch"})
    analysers: dict[tuple[float, tuple[str, ...]], Analyser] = {}
    for number, item in enumerate(items, start=1):
        key = item.pixel_um, item.polarizations
        if key not in analysers:
            analysers[key] = Analyser(everything, CropSettings(), focus, *key)
        stack = read_stack(item)
        start = process_time()
        objects = analysers[key].analyse(stack).objects
        found.append(StackFindings(objects, process_time() - start))
        report(number, len(items))
    return found


def of_one_class(
    items: Sequence[AnnotatedStack], found: Sequence[StackFindings], name: str
) -> tuple[list[AnnotatedStack], list[StackFindings]]:
    """Take every class as the same one, to ask whether things are found, whatever they are taken for."""
    return (
        [replace(item, class_names=dict.fromkeys(item.class_names, name)) for item in items],
        [replace(one, objects=tuple(replace(o, class_name=name) for o in one.objects)) for one in found],
    )


def compare(items: Sequence[AnnotatedStack], found: Sequence[StackFindings], detector: DetectorSettings) -> Evaluation:
    """Compare what was found in stacks with what is annotated there."""
    truth = {
        (image, a.id): (number, a)
        for number, (image, a) in enumerate(
            ((image, a) for image, item in enumerate(items) for a in item.annotations), start=1
        )
    }
    evaluated = _run_coco(items, truth, found, detector.classes)
    judged = _judge(evaluated, {number: a.id for number, a in truth.values()})
    certain = [one for one in judged if one.score >= detector.threshold]
    pairs = {(one.field, one.annotation): one for one in certain if one.annotation is not None}
    real = {key: a for key, (_, a) in truth.items() if not a.iscrowd}
    touching = {key for key, a in real.items() if a.attributes.get("touching", False)}
    errors = [
        abs(found[one.field].objects[one.place].best_plane - plane)
        for key, one in pairs.items()
        if (plane := real[key].plane) is not None
    ]
    precision = evaluated.eval["precision"][:, :, :, 0, -1]
    per_class = {name: _mean(precision[0, :, k]) for k, name in enumerate(detector.classes)}
    junk = sum(item.picture.stack.junk for item in items if item.picture.stack is not None)
    figures = DetectorFigures(
        mode=detector.mode,
        fields=len(items),
        objects=len(real),
        ap50=_mean(precision[0]),
        ap75=_mean(precision[5]),
        ap=_mean(precision),
        table=_table(evaluated),
        intervals=_intervals(evaluated, [item.picture.source for item in items]),
        ap50_of_class=per_class,
        threshold=detector.threshold,
        precision=len(pairs) / max(len(certain), 1),
        recall=len(pairs) / max(len(real), 1),
        curve=tuple(_curve(precision[0])),
        recall_touching=len(pairs.keys() & touching) / max(len(touching), 1),
        touching_share=len(touching) / max(len(real), 1),
        junk_share=junk / max(junk + len(real), 1),
        plane_error=float(np.median(errors)) if errors else None,
        cpu_seconds_per_field=float(np.mean([one.cpu_seconds for one in found])),
    )
    return Evaluation(figures, tuple(judged))


def _run_coco(
    items: Sequence[AnnotatedStack],
    truth: dict[tuple[int, int], tuple[int, Annotation]],
    found: Sequence[StackFindings],
    classes: Sequence[str],
) -> Any:
    """Run pycocotools quietly; a detection's id leads back to its image and place."""
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
    images = [{"id": k, "width": item.picture.width, "height": item.picture.height} for k, item in enumerate(items)]
    expected = [
        {
            "id": number,
            "image_id": image,
            "category_id": 1 + list(classes).index(items[image].class_names[a.category_id]),
            "bbox": list(a.bbox),
            "area": a.area,
            "iscrowd": a.iscrowd,
        }
        for (image, _), (number, a) in truth.items()
    ]
    detected = [
        {
            "id": 1 + image * _PLACES + place,
            "image_id": image,
            "category_id": 1 + list(classes).index(o.class_name),
            "bbox": [o.box[0], o.box[1], o.box[2] - o.box[0], o.box[3] - o.box[1]],
            "area": (o.box[2] - o.box[0]) * (o.box[3] - o.box[1]),
            "iscrowd": 0,
            "score": o.score,
        }
        for image, one in enumerate(found)
        for place, o in enumerate(one.objects)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for boxes in (expected, detected):
            side = COCO()
            side.dataset = {"images": images, "annotations": boxes, "categories": categories}
            side.createIndex()
            sides.append(side)
        evaluated = COCOeval(*sides, iouType="bbox")
        evaluated.params.maxDets = list(MOST_DETECTIONS)
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated


def _judge(evaluated: Any, ids: dict[int, int]) -> list[Judged]:
    """Return of every detection whether it is right; `ids` leads from pycocotools' numbers back to annotations."""
    judged: list[Judged] = []
    everywhere = evaluated.params.areaRng[0]
    for result in evaluated.evalImgs:
        if result is None or result["aRng"] != everywhere:
            continue
        matches, ignored = result["dtMatches"][0], result["dtIgnore"][0]
        for identifier, score, match, ignore in zip(result["dtIds"], result["dtScores"], matches, ignored, strict=True):
            if not ignore:
                field, place = divmod(identifier - 1, _PLACES)
                judged.append(Judged(field, place, score, ids[int(match)] if match else None))
    return judged


def _table(evaluated: Any) -> dict[str, float | None]:
    """Figures of pycocotools' summary, by their names in the laboratory's table."""
    precision, recall = evaluated.eval["precision"], evaluated.eval["recall"]
    of_all = SIZES.index("all")
    table = {
        "AP @0.50:0.95": _mean(precision[:, :, :, of_all, -1]),
        "AP @0.50": _mean(precision[0, :, :, of_all, -1]),
        "AP @0.75": _mean(precision[5, :, :, of_all, -1]),
    }
    table |= {f"AP {size}": _mean(precision[:, :, :, SIZES.index(size), -1]) for size in ("medium", "large")}
    table |= {f"AR @{most}": _mean(recall[:, :, of_all, k]) for k, most in enumerate(MOST_DETECTIONS)}
    return table | {f"AR {size}": _mean(recall[:, :, SIZES.index(size), -1]) for size in ("medium", "large")}


def _intervals(evaluated: Any, sources: Sequence[str]) -> dict[str, tuple[float, float] | None]:
    """Percentiles of the average precisions of sources drawn with replacement."""
    names = ("AP @0.50:0.95", "AP @0.50", "AP @0.75")
    images = {source: [k for k, one in enumerate(sources) if one == source] for source in dict.fromkeys(sources)}
    if len(images) < 3:
        return dict.fromkeys(names)
    groups = list(images.values())
    random = np.random.default_rng(0)
    classes, sizes = len(evaluated.params.catIds), len(evaluated.params.areaRng)
    of_image = np.array(evaluated.evalImgs, dtype=object).reshape(classes, sizes, len(sources))
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(BOOTSTRAPS):
        chosen = [k for group in random.integers(len(groups), size=len(groups)) for k in groups[group]]
        again = copy(evaluated)
        again.params, again._paramsEval = copy(evaluated.params), copy(evaluated._paramsEval)
        again.params.imgIds = again._paramsEval.imgIds = list(range(len(chosen)))
        again.evalImgs = of_image[:, :, chosen].ravel().tolist()
        with contextlib.redirect_stdout(io.StringIO()):
            again.accumulate()
        for name, value in _table(again).items():
            if name in drawn and value is not None:
                drawn[name].append(value)
    return {
        name: (float(low), float(high)) if values else None
        for name, values in drawn.items()
        for low, high in [np.percentile(values, INTERVAL) if values else (0, 0)]
    }


def _curve(precision: Any) -> Any:
    """Mean over the classes that occur, from (recalls, classes)."""
    known = precision[:, (precision > -1).all(axis=0)]
    return known.mean(axis=1).tolist() if known.size else []


def _mean(precision: Any) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
