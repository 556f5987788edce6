"""How a network learns to see from labelled specimens alone, and goes on after an interruption.

Whole groups (days, slides) are held out and judge it on the way; the weights that judged best are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inference.classification.encoder import fresh, from_file, rounded, width_of
from inference.classification.sight import BESIDE, SeenSpecimen, look
from inference.classification.specimens import Example
from inference.classifier_training.settings import LearningSettings
from inference.classifier_training.varying import varied
from inference.errors import SpecimenRefused, WeightsRefused
from inference.training.checkpoint import History, TrainingIdentity, read_checkpoint, restore, to_bytes
from inference.training.train import CHECKPOINT_S, Progress, Report, rate_at

SMOOTHED_LABELS = 0.05
AVERAGED_SHARE = 0.02
"""Share of the steps over which the weights that are judged and kept are a running mean."""
WEIGHT_DECAY = 0.02
LARGEST_GRADIENT = 5.0


class TrainingFollower(Protocol):
    """Follows a training, and keeps what it has reached, so that an interruption costs minutes."""

    def checkpoint(self, content: bytes) -> None:
        """Keep what training needs to go on, instead of what was kept before."""

    def judged(self, history: History) -> None:
        """Take note of a judgement, the last of the history: the probability given of what is right."""


class _Taught(nn.Module):
    """A network with a last layer for the time in which it learns; the head that is kept is fitted afterwards."""

    def __init__(self, network: nn.Module, width: int, taxa: int) -> None:
        super().__init__()
        self.network = network
        self.norm = nn.BatchNorm1d(width + len(BESIDE))
        self.last = nn.Linear(width + len(BESIDE), taxa)

    def forward(self, views: Tensor, beside: Tensor) -> Tensor:
        """Give outputs (N, K)."""
        outputs: Tensor = self.last(self.norm(torch.cat([self.network(views), beside], dim=1)))
        return outputs


@dataclass(frozen=True)
class _Task:
    """What is learnt: the taxa, and by number the examples that teach and those that judge."""

    examples: Sequence[Example]
    taxa: tuple[str, ...]
    teaching: NDArray[np.intp]
    judging: NDArray[np.intp]
    steps: int

    @classmethod
    def of(cls, examples: Sequence[Example], groups: Sequence[str], settings: LearningSettings) -> _Task:
        names, counts = np.unique([one.taxon for one in examples], return_counts=True)
        taxa = tuple(str(name) for name in names[counts >= settings.fewest])
        if len(taxa) < 2:
            raise SpecimenRefused(
                f"{len(taxa)} of {len(names)} taxa have {settings.fewest} objects or more; a classifier needs two, so "
                "label more"
            )
        known = np.array([one.taxon in taxa for one in examples])
        held_out = np.isin(groups, _held_out(groups, settings))
        teaching, judging = np.flatnonzero(known & ~held_out), np.flatnonzero(known & held_out)
        steps = max(1, settings.epochs * len(teaching) // settings.batch)
        return cls(examples, taxa, teaching, judging, steps)

    def label(self, number: int) -> int:
        return self.taxa.index(self.examples[number].taxon)

    def judged_at(self, judgements: int) -> frozenset[int]:
        return frozenset(round(self.steps * (k + 1) / judgements) for k in range(judgements)) - {0}


def train_network(
    examples: Sequence[Example],
    groups: Sequence[str],
    settings: LearningSettings,
    report: Report,
    follower: TrainingFollower,
    checkpoint: Path | None = None,
    source: str = "",
) -> tuple[nn.Module, History]:
    """Train the network `small`; what it becomes, with its weights as files hold them.

    The same seed and number of threads give the same weights, interrupted or not.

    Parameters
    ----------
    groups
        day, slide or sample of each example.
    checkpoint
        to go on from, where it is there.
    source
        what the examples are from, in words.

    Raises
    ------
    SpecimenRefused
        Fewer than two taxa can be learnt, or an example cannot be looked at.
    WeightsRefused
        The checkpoint is of another training, or the encoder to start from looks in another way.
    """
    task = _Task.of(examples, groups, settings)
    identity = identity_of(examples, groups, settings, source)
    interrupted = read_checkpoint(checkpoint, identity)
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    model = _Taught(_beginning(settings), width_of("small"), len(task.taxa))
    model = model.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=WEIGHT_DECAY)
    decay = 1 - 1 / (AVERAGED_SHARE * task.steps + 1)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]
    best = fresh("small", settings.sight)
    both = nn.ModuleDict({"learning": model, "best": best})
    history = History() if interrupted is None else restore(interrupted, both, mean, optimiser)
    show = Progress.reporter("learning to see", report, history.step)
    kept_at = monotonic()
    for views, beside, labels in _batches(task, settings, history.step):
        history.step += 1
        for group in optimiser.param_groups:
            group["lr"] = rate_at(history.step, task.steps, settings.rate)
        outputs = model(views.contiguous(memory_format=torch.channels_last), beside)
        loss = functional.cross_entropy(outputs, labels, label_smoothing=SMOOTHED_LABELS)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        mean.update_parameters(model)
        show(history.step, task.steps, history.add_loss(loss.item()))
        judged = history.step in task.judged_at(settings.judgements)
        if judged:
            if history.add_judgement(_judge(mean, task, settings)):
                best.load_state_dict(_network_in(mean))
            follower.judged(history)
        if judged or monotonic() - kept_at > CHECKPOINT_S:
            follower.checkpoint(to_bytes(both, mean, optimiser, history, identity))
            kept_at = monotonic()
        if history.judgements_since_best() >= settings.patience:
            break
    return rounded(best).eval(), history


def _beginning(settings: LearningSettings) -> nn.Module:
    start = settings.start
    if start is None:
        return fresh("small", settings.sight)
    if start.network != "small" or start.sight != settings.sight:
        unlike = [name for name, value in vars(settings.sight).items() if getattr(start.sight, name) != value]
        raise WeightsRefused(
            f"the classifier to start from, of encoder {start.sha256[:12]}, has network {start.network} and looks in "
            f"another way ({', '.join(unlike) or 'the same'}) than what is to be learnt; start from one that looks at "
            "the same, or from nothing"
        )
    return from_file(start).network


def _held_out(groups: Sequence[str], settings: LearningSettings) -> list[str]:
    """Draw the groups that judge on the way; none where there is one only."""
    names, counts = np.unique(groups, return_counts=True)
    out: list[str] = []
    held = 0
    for number in np.random.default_rng(settings.seed).permutation(len(names))[1:]:
        if held >= settings.held_out * len(groups):
            break
        out.append(str(names[number]))
        held += int(counts[number])
    return out


def _batches(task: _Task, settings: LearningSettings, done: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Draw the examples of every step after those done; a step's do not depend on the steps before it."""
    labels = np.array([task.label(number) for number in task.teaching])
    counts = np.bincount(labels, minlength=len(task.taxa))
    chance = (1.0 / counts[labels]) ** settings.balance
    chance /= chance.sum()

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
        random = np.random.default_rng([settings.seed, step])
        drawn = random.choice(len(labels), settings.batch, p=chance)
        looks = [varied(task.examples[task.teaching[row]].read(), settings.sight, random) for row in drawn]
        return *_stacked(looks), torch.from_numpy(labels[drawn])

    # While one batch is learnt the next one is read and varied.
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(draw, done + 1)
        for step in range(done + 1, task.steps + 1):
            batch = coming.result()
            coming = beside.submit(draw, min(step + 1, task.steps))
            yield batch


def _stacked(looks: Sequence[SeenSpecimen]) -> tuple[Tensor, Tensor]:
    views, beside = np.stack([one.view for one in looks]), np.stack([one.beside for one in looks])
    return torch.from_numpy(views), torch.from_numpy(beside)


def _judge(model: nn.Module, task: _Task, settings: LearningSettings) -> float | None:
    """Probability that what is held out is given of its own taxon: geometric mean of each taxon, mean of these.

    None if nothing is held out. Unlike a recall it tells two good networks apart.
    """
    if not len(task.judging):
        return None
    labels = np.array([task.label(number) for number in task.judging])
    losses: list[float] = []
    training = model.training
    model.eval()
    with torch.inference_mode():
        for first in range(0, len(labels), settings.batch):
            some = slice(first, first + settings.batch)
            outputs = model(*_stacked([look(task.examples[k].read(), settings.sight) for k in task.judging[some]]))
            losses += functional.cross_entropy(outputs, torch.from_numpy(labels[some]), reduction="none").tolist()
    model.train(training)
    of_taxa = [np.mean(np.array(losses)[labels == label]) for label in np.unique(labels)]
    return float(np.mean(np.exp(-np.array(of_taxa))))


def _network_in(mean: AveragedModel) -> dict[str, Tensor]:
    prefix = "module.network."
    return {n.removeprefix(prefix): v for n, v in mean.state_dict().items() if n.startswith(prefix)}


def identity_of(
    examples: Sequence[Example], groups: Sequence[str], settings: LearningSettings, source: str
) -> TrainingIdentity:
    """Say all that decides what a training comes to; `source` is what the examples are from, in words."""
    start = "nothing" if settings.start is None else settings.start.sha256
    digest = hashlib.sha256(f"{settings!r} {start}".encode())
    for one, group in zip(examples, groups, strict=True):
        digest.update(repr((one.key, one.sha256, one.taxon, group)).encode("utf-8", "surrogatepass"))
    told = {name: str(value) for name, value in vars(settings).items()} | {"start": start[:12]}
    return TrainingIdentity(digest.hexdigest(), {"source": source, "specimens": str(len(examples))} | told)
