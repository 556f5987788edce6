"""From labelled specimens to a classifier: a network that sees, what of it is kept, and the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from inference.classification.encoder import bare, fitted, from_published, to_file
from inference.classification.encoder_file import EncoderFile, Network
from inference.classification.onnx_encoder import Encodes, TorchEncoder, open_encoder
from inference.classification.sight import BESIDE, ClassifierSight, Floats, SeenSpecimen, is_darker, look
from inference.classification.specimens import PICTURE, Example
from inference.classifier_training.fitting import Count, Fitted, fit
from inference.classifier_training.settings import LearningSettings
from inference.classifier_training.training import TrainingFollower, identity_of, train_network
from inference.training.checkpoint import History, read_checkpoint
from inference.training.train import Progress, Report

AT_ONCE = 16
ASKED = 200
"""Examples of which is asked whether they are darker than their background."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """A classifier that was learnt.

    Attributes
    ----------
    fitted
        its head, and what was said of the examples by heads that had not seen them.
    features
        float16 (N, F), of the examples, in their order.
    """

    encoder: EncoderFile
    fitted: Fitted
    features: NDArray[np.float16]


def fitting_sight(examples: Sequence[Example], sight: ClassifierSight) -> ClassifierSight:
    """Give a sight that shows the objects of pictures bright, whichever way most of them were lit."""
    if sight.kind != "picture":
        return sight
    asked = [one.read() for one in examples[:: max(1, len(examples) // ASKED)]]
    pictures = [one for one in asked if one.states == (PICTURE,)]
    return replace(sight, darker=2 * sum(map(is_darker, pictures)) > len(pictures))


def see(
    examples: Sequence[Example], network: nn.Module, name: Network, sight: ClassifierSight, threads: int, report: Count
) -> tuple[Floats, Floats]:
    """Give what a network says of examples, (N, W), and the numbers beside them, (N, 4)."""
    file = to_file(bare(network, name), name, sight)
    # What was just trained is looked through once; what is published is exported once and for all.
    encodes: Encodes = TorchEncoder(file, threads) if name == "small" else open_encoder(file, threads)[0]
    said = []
    for first in range(0, len(examples), AT_ONCE):
        looks: list[SeenSpecimen] = [look(one.read(), sight) for one in examples[first : first + AT_ONCE]]
        said.append(encodes.encode(np.stack([one.view for one in looks]), np.stack([one.beside for one in looks])))
        report(min(first + AT_ONCE, len(examples)), len(examples))
    both = np.concatenate(said)
    return both[:, : -len(BESIDE)], both[:, -len(BESIDE) :]


def learn_head(
    examples: Sequence[Example],
    groups: Sequence[str],
    pooled: Floats,
    beside: Floats,
    network: nn.Module,
    name: Network,
    sight: ClassifierSight,
    parents: Mapping[str, str | None],
    fewest: int,
    report: Count | None = None,
) -> Learnt:
    """Fit projection and head to what a network says of examples.

    Parameters
    ----------
    groups
        day, slide or sample of each; whole groups are held out when the head is chosen.
    pooled
        as `see` gives it.
    beside
        as `see` gives it.

    Raises
    ------
    SpecimenRefused
        Fewer than two taxa can be learnt.
    """
    file = to_file(fitted(network, pooled, beside), name, sight)
    features = project(file, pooled, beside)
    taxa = [one.taxon for one in examples]
    return Learnt(file, fit(features, taxa, groups, parents, file.sha256, fewest, report=report), features)


def project(file: EncoderFile, pooled: Floats, beside: Floats) -> NDArray[np.float16]:
    """Give the vectors (N, F), as they are kept, of what the encoder's network said."""
    held = {name: np.asarray(value, np.float32) for name, value in file.tensors.items() if "network." not in name}
    projected = (pooled - held["mean"]) @ held["projection"]
    numbers = (beside - held["beside_mean"]) / held["beside_spread"]
    return np.concatenate([projected, numbers], axis=1).astype(np.float16)


def learn(
    examples: Sequence[Example],
    groups: Sequence[str],
    settings: LearningSettings,
    parents: Mapping[str, str | None],
    report: Report,
    follower: TrainingFollower,
    checkpoint: Path | None = None,
    source: str = "",
) -> tuple[Learnt, History]:
    """Learn from labelled specimens; the classifier, and how its network learnt to see where it had to.

    Parameters
    ----------
    groups
        day, slide or sample of each example; what judges on the way is whole groups.
    parents
        of each taxon the one above it.
    checkpoint
        of the network's training, to go on from, where it is there.
    source
        what the examples are from, in words.

    Raises
    ------
    SpecimenRefused
        Fewer than two taxa can be learnt, or an example cannot be looked at.
    WeightsRefused
        There are no published weights for the network, or the checkpoint is of another training.
    """
    set_threads(settings.threads)
    settings = replace(settings, sight=fitting_sight(examples, settings.sight))
    history = History()
    if settings.network == "lite0":
        read_checkpoint(checkpoint, identity_of(examples, groups, settings, source))  # which is then another's
        network = from_published(settings.sight)
    else:
        network, history = train_network(examples, groups, settings, report, follower, checkpoint, source)
    looking = Progress.reporter("looking", report)
    pooled, beside = see(examples, network, settings.network, settings.sight, settings.threads, looking)
    fitting = Progress.reporter("fitting", report)
    learnt = learn_head(
        examples, groups, pooled, beside, network, settings.network, settings.sight, parents, settings.fewest, fitting
    )
    return learnt, history


def set_threads(threads: int) -> None:
    """Let torch and OpenCV compute with so many threads in this process."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
