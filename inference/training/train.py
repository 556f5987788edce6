"""Training of the detector on annotated stacks, fused views and single planes alike."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.detection import FasterRCNN

from inference.annotations.stacks import NOT_JUDGED, AnnotatedStack, Views, prepare
from inference.errors import AnnotationError
from inference.network import network
from inference.network.device import DeviceName, pick_device
from inference.network.weights_file import classes_of, find_weights
from inference.settings import Architecture, FocusSettings
from inference.training.checkpoint import History, restore, to_bytes
from inference.training.mistakes import find_mistakes
from inference.views.channels import Scale

Place = tuple[Views, NDArray[np.float32]]
"""A field, and a box x0, y0, x1, y1 there in px of its views."""

FUSED_SHARE = 0.6
DEFOCUSED_SHARE, MOST_BLUR_PX = 0.2, 1.0
NOISY_SHARE, MOST_NOISE = 0.3, (0.15, 0.03, 0.06)
"""Standard deviation in units of each channel; two to three times what a good exposure has there."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
FREE_STATISTICS = 0.5
"""Share of the steps in which the normalisation follows the crops, with fresh weights."""
AVERAGED_SHARE = 0.02
"""Share of the steps over which the weights that are judged and kept are a running mean."""
CHECKPOINT_S = 300.0
SLIVER_PX = 8
"""What a crop cuts to less than this has not to be found."""
NARROWEST_PX = 1


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes
    ----------
    steps
        of the optimiser.
    batch
        crops a step.
    crop_px
        side of a crop, px of the views; no object larger than it is ever seen whole.
    around
        share of the crops that are laid around an object of a class drawn evenly, so that rare ones are learnt.
    mistaken
        share of the crops that are laid around what the weights to go on from wrongly took for an object; all others
        lie anywhere.
    rate
        greatest learning rate of a one-cycle schedule.
    depth_um
        an object is to be found in a plane this far from its own at most.
    held_out
        share of the sources (slides) that only serve to judge, where nobody says what does.
    judgements
        how often the weights are judged on what is held out, evenly spread; the best ones are kept.
    patience
        after so many judgements without a better one training stops.
    fit_anchors
        fit the boxes of reference to those annotated; weights to go on from keep their own.
    start
        weights to go on from, instead of fresh ones: a detector's safetensors, of which all but the last layer is kept
        where it is for other classes; or what torchvision publishes for COCO, as `coco` or as a .pth file.
    """

    architecture: Architecture = "slim"
    classes: tuple[str, ...] = ("coccolith", "diatom", "silicoflagellate", "radiolarian", "spicule")
    steps: int = 3000
    batch: int = 2
    crop_px: int = 448
    rate: float = 1e-3
    around: float = 0.5
    mistaken: float = 0.25
    depth_um: float = 0.8
    held_out: float = 0.15
    judgements: int = 10
    patience: int = 6
    seed: int = 1
    threads: int = 2
    fit_anchors: bool = False
    start: Path | Literal["coco"] | None = None

    def goes_on(self) -> Path | None:
        """Weights of a detector that this training begins with, if there are any."""
        return self.start if isinstance(self.start, Path) and self.start.suffix not in network.PUBLISHED else None

    def judged_at(self) -> frozenset[int]:
        """Return the steps after which the weights are judged; the last one is among them."""
        return frozenset(round(self.steps * (k + 1) / self.judgements) for k in range(self.judgements)) - {0}


@dataclass(frozen=True)
class Progress:
    """How far a stage of the work is; `loss` only where there is one."""

    stage: str
    done: int
    total: int
    per_second: float
    seconds_left: float
    loss: float | None

    @staticmethod
    def reporter(stage: str, report: Report, before: int = 0) -> ShowProgress:
        """Turn counts of a stage that begins now into progress with rate and time left; so many were done before."""
        start = monotonic()

        def show_progress(done: int, total: int, loss: float | None = None) -> None:
            rate = (done - before) / max(monotonic() - start, 1e-6)
            report(Progress(stage, done, total, rate, (total - done) / max(rate, 1e-6), loss))

        return show_progress


Report = Callable[[Progress], None]


class ShowProgress(Protocol):
    """Takes how many of how many are done."""

    def __call__(self, done: int, total: int, loss: float | None = None) -> None:
        """Report a count."""


class Judge(Protocol):
    """Judges weights (safetensors) on what is held out: AP@0.50, None if there is nothing to judge by."""

    def __call__(self, weights: bytes) -> float | None:
        """Judge."""


class Keeper(Protocol):
    """Keeps what a training has reached, so that an interruption costs minutes."""

    def checkpoint(self, content: bytes) -> None:
        """Keep what training needs to go on, instead of what was kept before."""

    def weights(self, content: bytes) -> None:
        """Keep weights that are better than those kept before."""

    def judged(self, history: History) -> None:
        """Take note of a judgement, the last of the history."""


def train(
    items: Sequence[AnnotatedStack],
    settings: TrainingSettings,
    focus: FocusSettings,
    report: Report,
    judge: Judge,
    keeper: Keeper,
    checkpoint: bytes | None = None,
) -> History:
    """Train on annotated stacks; the keeper has the best of the weights that were judged.

    The same seed and number of threads give the same tensors, interrupted or not; safetensors may order the keys of its
    header differently.

    Parameters
    ----------
    judge
        asked `settings.judgements` times.
    checkpoint
        to go on from.

    Raises
    ------
    AnnotationError
        A stack cannot be read, or nothing is annotated.
    WeightsRefused
        The weights to start from are of another architecture, the checkpoint is of another training.
    """
    if not any(item.annotations for item in items):
        raise AnnotationError("nothing is annotated; training needs at least one object")
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    device = pick_device("auto")
    model = _network(settings, items, focus).to(device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=1e-4)
    identity = _identity(items, settings)
    # Single steps sway the weights; what is kept is their running mean (Polyak 1992, SIAM J. Control Optim. 30, 838).
    decay = 1 - 1 / (AVERAGED_SHARE * settings.steps + 1)
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    mean = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
    history = restore(checkpoint, model, mean, optimiser, identity) if checkpoint else History()
    kept_at = monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        preparing = Progress.reporter("channels", report)
        fields = prepare(items, settings.classes, focus, settings.depth_um, Path(cache), preparing)
        places: list[Place] = []
        if (known := settings.goes_on()) is not None:
            start = _known(known, settings).to(device)
            places = find_mistakes(start, device, fields, Progress.reporter("mistakes", report))
        show_progress = Progress.reporter("training", report, history.step)
        for images, targets in batches(fields, places, settings, history.step):
            history.step += 1
            _freeze_statistics(model, history.step, settings)
            torch.manual_seed(settings.seed * settings.steps + history.step)
            for group in optimiser.param_groups:
                group["lr"] = rate_at(history.step, settings)
            on_device = [{name: values.to(device) for name, values in target.items()} for target in targets]
            with torch.autocast(device, torch.bfloat16, enabled=_has_bfloat16(device)):
                losses = model([image.to(device) for image in images], on_device)
            loss = torch.stack(list(losses.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            mean.update_parameters(model)
            show_progress(history.step, settings.steps, history.add_loss(loss.item()))
            judged = history.step in settings.judged_at()
            if judged:
                weights = network.to_bytes(mean.module, settings.architecture, settings.classes)
                if history.add_judgement(judge(weights)):
                    keeper.weights(weights)
                keeper.judged(history)
            if judged or monotonic() - kept_at > CHECKPOINT_S:
                keeper.checkpoint(to_bytes(model, mean, optimiser, history, identity))
                kept_at = monotonic()
            if history.judgements_since_best() >= settings.patience:
                break
        del fields, places
    return history


def _has_bfloat16(device: DeviceName) -> bool:
    """Whether mixed precision pays: 16 bit with the range of 32, which needs no scaling of losses."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # older torch does not tell
        return False
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def _freeze_statistics(model: FasterRCNN, step: int, settings: TrainingSettings) -> None:
    """Normalise as at work, not by the crops of a step: from half of the steps on, and with weights to go on from."""
    if settings.goes_on() is not None or step > settings.steps * FREE_STATISTICS:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def rate_at(step: int, settings: TrainingSettings) -> float:
    """Learning rate of a step, from 1: up and down again as half cosines (one cycle, Smith 2018, arXiv 1803.09820)."""
    done = (step - 1) / max(settings.steps - 1, 1)
    if done < WARM_UP:
        start = settings.rate / 25
        return start + (settings.rate - start) * (1 - math.cos(math.pi * done / WARM_UP)) / 2
    return settings.rate * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def _identity(items: Sequence[AnnotatedStack], settings: TrainingSettings) -> str:
    """Digest of all that decides what a training comes to."""
    digest = hashlib.sha256(repr(settings).encode())
    for item in items:
        digest.update(repr((item.picture, item.annotations, item.class_names)).encode())
    if isinstance(settings.start, Path):
        digest.update(find_weights(settings.start).sha256.encode())
    return digest.hexdigest()


def _network(settings: TrainingSettings, items: Sequence[AnnotatedStack], focus: FocusSettings) -> FasterRCNN:
    if (known := settings.goes_on()) is not None:
        start = _known(known, settings)
        same = classes_of(known, settings.classes) == settings.classes
        return start if same else network.with_new_head(start, settings.architecture, settings.classes)
    anchors = None
    if settings.fit_anchors:
        sides = [
            np.array(annotation.bbox[2:]) / Scale.of(item.pixel_um, focus.sigma_um).binning
            for item in items
            for annotation in item.annotations
        ]
        anchors = network.ANCHORS[settings.architecture].fitted(np.array(sides))
    if settings.start is None:
        return network.build(settings.architecture, settings.classes, anchors)
    file = find_weights(settings.start).path if isinstance(settings.start, Path) else None
    return network.from_coco(settings.architecture, settings.classes, file, anchors)


def _known(weights: Path, settings: TrainingSettings) -> FasterRCNN:
    """Network of some weights, for the classes that they were trained for."""
    return network.load(find_weights(weights), settings.architecture, classes_of(weights, settings.classes))


def batches(
    fields: Sequence[Views], mistakes: Sequence[Place], settings: TrainingSettings, done: int = 0
) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Draw the crops of every step after those done: images, and boxes x0, y0, x1, y1 in px and labels in each.

    A step's crops do not depend on the steps before it.
    """
    of_class = [
        [(field, number) for field in fields for number in np.flatnonzero(field.labels[0] == label).tolist()]
        for label in range(1, len(settings.classes) + 1)
    ]
    known = [of_one for of_one in of_class if of_one]
    for step in range(done + 1, settings.steps + 1):
        random = np.random.default_rng([settings.seed, step])
        drawn = [_draw(fields, known, mistakes, settings, random) for _ in range(settings.batch)]
        yield [image for image, _ in drawn], [target for _, target in drawn]


def _draw(
    fields: Sequence[Views],
    of_class: Sequence[Sequence[tuple[Views, int]]],
    mistakes: Sequence[Place],
    settings: TrainingSettings,
    random: np.random.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw a random crop of a fused view or of a random plane, turned, mirrored, varied.

    What has not to be found keeps its box with a label of its own: neither a class nor background is learnt from it.
    """
    around: NDArray[np.float32] | None = None
    number: int | None = None
    kind = random.uniform()
    if kind < settings.around:
        one_class = of_class[int(random.integers(len(of_class)))]
        field, number = one_class[int(random.integers(len(one_class)))]
        around = field.boxes[number]
    elif mistakes and kind < settings.around + settings.mistaken:
        field, around = mistakes[int(random.integers(len(mistakes)))]
    else:
        field = fields[int(random.integers(len(fields)))]
    view = _draw_view(field, number, random)
    height, width = field.images.shape[2:]
    side = min(settings.crop_px, height, width)
    top, left = corner(around, (height, width), side, random)
    image = np.asarray(field.images[view, :, top : top + side, left : left + side], np.float32)
    boxes, labels = _clip(field.boxes, field.labels[view], left, top, side)
    if random.uniform() < 0.5:
        image, boxes = (
            image[:, :, ::-1],
            np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], 1),
        )
    if random.uniform() < 0.5:
        image, boxes = image[:, ::-1], np.stack([boxes[:, 0], side - boxes[:, 3], boxes[:, 2], side - boxes[:, 1]], 1)
    if random.uniform() < 0.5:
        image, boxes = image.transpose(0, 2, 1), boxes[:, [1, 0, 3, 2]]
    target = {"boxes": torch.from_numpy(np.ascontiguousarray(boxes)), "labels": torch.from_numpy(labels)}
    return torch.from_numpy(np.ascontiguousarray(_vary(image, random))), target


def _draw_view(field: Views, number: int | None, random: np.random.Generator) -> int:
    """Draw a fused view or a plane, of those that show an object if one is given."""
    shown = np.ones(len(field.images), bool) if number is None else field.labels[:, number] > 0
    shown[: field.fused] &= random.uniform() < FUSED_SHARE
    if shown[: field.fused].any():
        shown[field.fused :] = False
    return int(random.choice(np.flatnonzero(shown))) if shown.any() else 0


def _vary(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast and brightness of each channel, defocus some views a little, and add noise to some."""
    contrast = random.uniform(0.8, 1.25, (3, 1, 1)).astype(np.float32)
    brightness = random.normal(0, 0.03, (3, 1, 1)).astype(np.float32)
    image = image * contrast + brightness
    if random.uniform() < DEFOCUSED_SHARE:
        blur_px = random.uniform(0.3, MOST_BLUR_PX)
        image = np.stack([cv2.GaussianBlur(channel, (0, 0), blur_px) for channel in image])
    if random.uniform() < NOISY_SHARE:
        deviation = np.float32(random.uniform()) * np.array(MOST_NOISE, np.float32).reshape(3, 1, 1)
        image = image + deviation * random.standard_normal(image.shape, np.float32)
    return image


def corner(
    around: NDArray[np.float32] | None, size: tuple[int, int], side: int, random: np.random.Generator
) -> tuple[int, int]:
    """Draw the corner (top, left) of a crop: anywhere, or so that it holds as much of a box as can be."""
    if around is None:
        return int(random.integers(size[0] - side + 1)), int(random.integers(size[1] - side + 1))
    x0, y0, x1, y1 = around
    drawn = []
    for low, high, length in ((y0, y1, size[0]), (x0, x1, size[1])):
        first, last = sorted((int(np.ceil(high)) - side, int(low)))
        drawn.append(int(np.clip(random.integers(first, last + 1), 0, length - side)))
    return drawn[0], drawn[1]


def _clip(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], left: int, top: int, side: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clip boxes to a crop, in px of it, with their labels; slivers have not to be found."""
    clipped = np.clip(boxes - np.array([left, top, left, top], np.float32), 0, side)
    narrowest = (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf)
    keep = (labels != 0) & (narrowest >= NARROWEST_PX)
    return clipped[keep], np.where(narrowest < SLIVER_PX, NOT_JUDGED, labels)[keep]
