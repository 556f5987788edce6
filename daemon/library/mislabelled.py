"""What looks mislabelled: specimens that a classifier, which learnt from all other days or samples, calls otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.library.findings import Finding
from daemon.library.library import Library
from daemon.system.errors import Refused
from daemon.system.progress import StageDisplay
from inference.classification.encoder_file import Network
from inference.classification.sight import PICTURES, STACK, ClassifierSight
from inference.classification.specimens import PICTURE, Example


def find_mislabelled(library: Library, network: Network, display: StageDisplay) -> list[Finding]:
    """Learn from all but a fifth of the groups in turn, and find what is then called otherwise; the least likely first.

    Parameters
    ----------
    network
        that sees: `lite0` has learnt to, from published weights, and is for pictures; `small` learns from the library.

    Raises
    ------
    Refused
        There is nothing to learn from.
    WeightsRefused
        There are no published weights.
    """
    from inference.classifier_training.learning import learn
    from inference.classifier_training.settings import LearningSettings

    examples = library.examples()
    if not examples:
        raise Refused(f"{library.folder} holds nothing that could be learnt; build it from more")
    groups = _groups(examples)
    settings = LearningSettings(network=network, sight=sight_of(examples))
    learnt, _ = learn(examples, groups, settings, library.parents, display.show, _Nobody())
    doubtful = disagreements([one.taxon for one in examples], learnt.fitted.head.taxa, learnt.fitted.held_out)
    return [
        Finding(
            kind="looks mislabelled",
            told=f"{examples[row].key}: called {examples[row].taxon} ({own:.2f}), looks like {other} ({likely:.2f})",
            keys=(examples[row].key,),
        )
        for row, other, likely, own in doubtful
    ]


def disagreements(
    named: Sequence[str], taxa: Sequence[str], held_out: NDArray[np.floating]
) -> list[tuple[int, str, float, float]]:
    """Find labels that probabilities, of heads that had not seen them, speak against.

    A specimen looks like a taxon if that is as probable as it is on average for those that are called so (confident
    learning: Northcutt, Jiang & Chuang 2021, J. Artif. Intell. Res. 70, 1373).

    Parameters
    ----------
    named
        what each is called.
    taxa
        of the columns of `held_out` (N, K); a row of what was not learnt is NaN.

    Returns
    -------
    :
        Row, taxon that it looks like, probability of that and of its own; the greatest difference first.
    """
    column = {taxon: number for number, taxon in enumerate(taxa)}
    known = np.array([name in column for name in named]) & ~np.isnan(held_out).any(axis=1)
    rows = np.flatnonzero(known)
    own = np.array([column[named[row]] for row in rows.tolist()], np.intp)
    said = held_out[rows]
    usual = np.array([said[own == k, k].mean() if (own == k).any() else np.inf for k in range(len(taxa))])
    sure = np.where(said >= usual, said, -1.0)
    other = sure.argmax(axis=1)
    doubtful = np.flatnonzero((sure.max(axis=1) >= 0) & (other != own))
    margin = said[doubtful, other[doubtful]] - said[doubtful, own[doubtful]]
    return [
        (int(rows[k]), taxa[other[k]], float(said[k, other[k]]), float(said[k, own[k]]))
        for k in doubtful[np.argsort(-margin, kind="stable")]
        if said[k, other[k]] > said[k, own[k]]
    ]


def sight_of(examples: Sequence[Example]) -> ClassifierSight:
    """Give how a classifier looks at such examples."""
    return PICTURES if examples[0].read().states == (PICTURE,) else STACK


def _groups(examples: Sequence[Example]) -> list[str]:
    """Give the sample, else the day, else the mini-slide of each: the first that is known of all."""
    for what in ("sample", "day", "slide"):
        groups = [str(getattr(one, what)) for one in examples]
        if all(groups) and len(set(groups)) > 1:
            return groups
    return [one.key for one in examples]


class _Nobody:
    """Follows a training and keeps nothing of it."""

    def checkpoint(self, content: bytes) -> None:
        """Keep nothing."""

    def judged(self, history: object) -> None:
        """Take no note."""
