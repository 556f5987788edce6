"""Training of the detector on annotated stacks, fused views and single planes alike."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.detection import FasterRCNN

from inference.annotations.stacks import AnnotatedStack, prepare
from inference.errors import AnnotationError
from inference.network import network
from inference.network.device import DeviceName, pick_device
from inference.network.weights_file import classes_of, find_weights
from inference.settings import FocusSettings
from inference.training.checkpoint import History, TrainingIdentity, read_checkpoint, restore, to_bytes
from inference.training.crops import batches
from inference.training.mistakes import Place, find_mistakes
from inference.training.settings import TrainingSettings
from inference.views.channels import Scale
from inference.wording import counted

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
FREE_STATISTICS = 0.5
"""Share of the steps in which the normalisation follows the crops, with fresh weights."""
AVERAGED_SHARE = 0.02
"""Share of the steps over which the weights that are judged and kept are a running mean."""
CHECKPOINT_S = 300.0


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
    checkpoint: Path | None = None,
) -> History:
    """Train on annotated stacks; the keeper has the best of the weights that were judged.

    The same seed and number of threads give the same tensors, interrupted or not; safetensors may order the keys of its
    header differently.

    Parameters
    ----------
    judge
        asked `settings.judgements` times.
    checkpoint
        to go on from, where it is there.

    Raises
    ------
    AnnotationError
        A stack cannot be read, or nothing is annotated that may be learnt.
    WeightsRefused
        The weights to start from are of another architecture, the checkpoint is of another training.
    """
    _refuse_nothing_to_learn(items)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    cv2.setNumThreads(settings.threads)
    device = pick_device("auto")
    model = _network(settings, items, focus).to(device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=1e-4)
    identity = _identity(items, settings)
    interrupted = read_checkpoint(checkpoint, identity)
    # Single steps sway the weights; what is kept is their running mean (Polyak 1992, SIAM J. Control Optim. 30, 838).
    decay = 1 - 1 / (AVERAGED_SHARE * settings.steps + 1)
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    mean = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
    history = History() if interrupted is None else restore(interrupted, model, mean, optimiser)
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
                group["lr"] = rate_at(history.step, settings.steps, settings.rate)
            loss = _step(model, optimiser, device, images, targets)
            mean.update_parameters(model)
            show_progress(history.step, settings.steps, history.add_loss(loss))
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


def _refuse_nothing_to_learn(items: Sequence[AnnotatedStack]) -> None:
    boxes = [annotation for item in items for annotation in item.annotations]
    if all(annotation.iscrowd for annotation in boxes):
        aside = counted(
            len(boxes),
            "box that nobody has validated or that is",
            "boxes that nobody has validated or that are",
        )
        but = f" but {aside} to be ignored" if boxes else ""
        raise AnnotationError(f"nothing is annotated in what trains{but}; training needs at least one object")


def _step(
    model: FasterRCNN,
    optimiser: torch.optim.Optimizer,
    device: DeviceName,
    images: Sequence[Tensor],
    targets: Sequence[dict[str, Tensor]],
) -> float:
    """Learn from some crops; returns the loss before it."""
    on_device = [{name: values.to(device) for name, values in target.items()} for target in targets]
    with torch.autocast(device, torch.bfloat16, enabled=_has_bfloat16(device)):
        losses = model([image.to(device) for image in images], on_device)
    loss = torch.stack(list(losses.values())).sum()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimiser.step()
    return loss.item()


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


def rate_at(step: int, steps: int, greatest: float) -> float:
    """Learning rate of a step, from 1: up and down again as half cosines (one cycle, Smith 2018, arXiv 1803.09820)."""
    done = (step - 1) / max(steps - 1, 1)
    if done < WARM_UP:
        start = greatest / 25
        return start + (greatest - start) * (1 - math.cos(math.pi * done / WARM_UP)) / 2
    return greatest * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def _identity(items: Sequence[AnnotatedStack], settings: TrainingSettings) -> TrainingIdentity:
    """Say all that decides what a training comes to."""
    digest = hashlib.sha256(repr(settings).encode())
    for item in items:
        digest.update(repr((item.picture, item.annotations, item.class_names)).encode())
    if isinstance(settings.start, Path):
        digest.update(find_weights(settings.start).sha256.encode())
    sources = sorted({item.picture.source for item in items})
    pictures = f"{len(items)} of {', '.join(sources[:3])}{' and others' if sources[3:] else ''}"
    told = {name: str(value) for name, value in vars(settings).items()}
    return TrainingIdentity(digest.hexdigest(), {"pictures": pictures} | told)


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
