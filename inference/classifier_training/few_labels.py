"""How good names are with few labels: what a person gets for an hour of labelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.classifier_training.fitting import fit

LABELS = 5, 10, 20, 50
DRAWS = 3
"""Of so many labels, whose figures are averaged."""


class FewLabels(msgspec.Struct, frozen=True, kw_only=True):
    """Figures with at most so many labels of each taxon, means over draws; `balanced` is the mean recall of taxa.

    `balanced` is None where no taxon has objects enough to be judged.
    """

    labels: int
    accuracy: float
    balanced: float | None


def with_few_labels(
    features: NDArray[np.floating],
    taxa: Sequence[str],
    groups: Sequence[str],
    judging: NDArray[np.floating],
    true: Sequence[str],
    labels: int,
    fewest: int = 1,
) -> FewLabels:
    """Fit heads to some of the labels, and judge them by objects whose taxa are `true`.

    Parameters
    ----------
    features
        vectors of all that are labelled; taxa that nobody would learn are left out before.
    taxa
        of each.
    groups
        day, slide or sample of each.
    judging
        vectors of what judges.
    fewest
        objects from which on a taxon counts for `balanced`.
    """
    names, there = np.array(taxa), np.array(true)
    counts = Counter(true)
    enough = [name for name, n in counts.items() if n >= fewest]
    accuracies, balanced = [], []
    for draw in range(DRAWS):
        shuffled = np.random.default_rng([labels, draw]).permutation(len(names))
        rows = np.concatenate([shuffled[names[shuffled] == name][:labels] for name in np.unique(names)])
        head = fit(features[rows], names[rows].tolist(), [groups[row] for row in rows], {}, "", fewest=1).head
        named = np.array(head.taxa)[head.probabilities(judging).argmax(axis=1)]
        accuracies.append((named == there).mean())
        balanced += [(named[there == name] == name).mean() for name in enough]
    return FewLabels(
        labels=labels,
        accuracy=float(np.mean(accuracies)),
        balanced=float(np.mean(balanced)) if balanced else None,
    )
