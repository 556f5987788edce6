"""Training of the detector on annotated stacks, fused views and single planes alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference import network
from inference.annotations import Picture
from inference.errors import AnnotationError
from inference.network import Architecture
from inference.samples import Entry, Sample, prepare
from inference.settings import FocusSettings

FUSED_SHARE = 0.5
SLIVER_PX = 8


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes
    ----------
    steps : of the optimiser. batch : crops a step. crop_px : their side, px of the views.
    rate : greatest learning rate of a one-cycle schedule.
    depth_um : an object counts as visible in a plane this far from its own at most.
    held_out : share of the sources (slides) that only serve to judge.
    """

    architecture: Architecture = "slim"
    classes: tuple[str, ...] = ("coccolith", "diatom", "silicoflagellate")
    steps: int = 3000
    batch: int = 6
    crop_px: int = 320
    rate: float = 1e-3
    depth_um: float = 0.8
    held_out: float = 0.15
    seed: int = 1
    threads: int = 2


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    stage: str
    done: int
    total: int
    per_second: float
    seconds_left: float
    loss: float


Report = Callable[[Progress], None]


class _Clock:
    """Turns counts into progress with rate and time left."""

    def __init__(self, stage: str, report: Report) -> None:
        self._stage, self._report, self._start = stage, report, monotonic()

    def tell(self, done: int, total: int, loss: float = float("nan")) -> None:
        """Report a count."""
        rate = done / max(monotonic() - self._start, 1e-6)
        self._report(Progress(self._stage, done, total, rate, (total - done) / max(rate, 1e-6), loss))


def split(items: Sequence[Entry], held_out: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Split entries into those to train on and those to judge by, whole sources (slides) at a time.

    Raises
    ------
    AnnotationError
        There are fewer than two sources, so nothing can be held out.
    """
    sources = sorted({_source(e.path, e.picture) for e in items})
    if len(sources) < 2:
        raise AnnotationError(f"{len(sources)} slide is annotated, but one must be held out; annotate two or more")
    count = min(max(1, round(held_out * len(sources))), len(sources) - 1)
    chosen = np.random.default_rng(seed).choice(len(sources), count, replace=False)
    judging = {sources[k] for k in chosen}
    return (
        [e for e in items if _source(e.path, e.picture) not in judging],
        [e for e in items if _source(e.path, e.picture) in judging],
    )


def _source(path: Path, picture: Picture) -> str:
    return picture.source if picture.stack is not None else f"{path.parent.parent.name}/{picture.source}"


def train(items: Sequence[Entry], settings: TrainingSettings, focus: FocusSettings, report: Report) -> bytes:
    """Train on entries; safetensors of the weights, fp16.

    The same seed and number of threads give the same weights.

    Raises
    ------
    AnnotationError
        A stack cannot be read, or nothing is annotated.
    """
    if not any(e.annotations for e in items):
        raise AnnotationError("nothing is annotated; training needs at least one object")
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    device = network.pick_device("auto")
    model = (
        network.build(settings.architecture, settings.classes).to(device).to(memory_format=torch.channels_last).train()
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps, pct_start=0.1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        preparing = _Clock("channels", report)
        samples = prepare(items, settings.classes, focus, settings.depth_um, Path(cache), preparing.tell)
        training = _Clock("training", report)
        smoothed = float("nan")
        for step, (images, targets) in enumerate(_batches(samples, settings), start=1):
            losses = model([i.to(device) for i in images], [{k: v.to(device) for k, v in t.items()} for t in targets])
            loss = torch.stack(list(losses.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            smoothed = loss.item() if step == 1 else 0.98 * smoothed + 0.02 * loss.item()
            training.tell(step, settings.steps, smoothed)
        del samples
    return network.to_bytes(model, settings.architecture, settings.classes)


def _batches(
    samples: Sequence[Sample], settings: TrainingSettings
) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    random = np.random.default_rng(settings.seed)
    for _ in range(settings.steps):
        drawn = [_draw(samples[int(random.integers(len(samples)))], settings, random) for _ in range(settings.batch)]
        yield [image for image, _ in drawn], [target for _, target in drawn]


def _draw(sample: Sample, settings: TrainingSettings, random: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw a random crop of the fused view or of a random plane, turned, mirrored, brighter or darker."""
    view = 0 if random.uniform() < FUSED_SHARE else int(random.integers(1, len(sample.views)))
    height, width = sample.views.shape[2:]
    side = min(settings.crop_px, height, width)
    top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
    image = np.asarray(sample.views[view, :, top : top + side, left : left + side], np.float32)
    boxes, visible = _clip(sample.boxes, left, top, side)
    keep = visible & sample.in_focus[view]
    boxes, labels = boxes[keep], sample.labels[keep]
    if random.uniform() < 0.5:
        image, boxes = (
            image[:, :, ::-1],
            np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1),
        )
    if random.uniform() < 0.5:
        image, boxes = image[:, ::-1], np.stack([boxes[:, 0], side - boxes[:, 3], boxes[:, 2], side - boxes[:, 1]], 1)
    if random.uniform() < 0.5:
        image, boxes = image.transpose(0, 2, 1), boxes[:, [1, 0, 3, 2]]
    contrast = random.uniform(0.8, 1.25, (3, 1, 1)).astype(np.float32)
    brightness = random.normal(0, 0.03, (3, 1, 1)).astype(np.float32)
    target = {"boxes": torch.from_numpy(np.ascontiguousarray(boxes)), "labels": torch.from_numpy(labels)}
    return torch.from_numpy(np.ascontiguousarray(image * contrast + brightness)), target


def _clip(boxes: NDArray[np.float32], left: int, top: int, side: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes in px of a crop, clipped to it, and which of them still show enough of their object."""
    moved = boxes - np.array([left, top, left, top], np.float32)
    clipped = np.clip(moved, 0, side)
    sizes = clipped[:, 2:] - clipped[:, :2]
    return clipped, sizes.min(axis=1, initial=np.inf) >= SLIVER_PX
