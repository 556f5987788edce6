"""How a head is fitted to feature vectors: logistic regression, its strength and its honesty judged by whole groups.

A group is a day, a slide or a sample: what is alike in one of them says nothing of others. Each group is left out once;
what is said of it then chooses how far weights are held back, how probabilities are tempered and from which
probability on a name is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from inference.classification.answers import Tree
from inference.classification.figures import bray_curtis_of
from inference.classification.head import Head, softmax
from inference.classification.reference import reference_of
from inference.errors import SpecimenRefused

Floats = NDArray[np.float32]
Count = Callable[[int, int], None]
"""Takes how many of how many are done."""
STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2)
"""Tried: the variance that weights are expected to have; what other programs call C."""
NOT_KNOWN = -1
FOLDS = 5
TINY = 1e-9
ITERATIONS, PRECISION = 150, 1e-6
TEMPERATURES = (0.3, 5.0)
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(20))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head, and what others like it said of objects that they did not learn from.

    Attributes
    ----------
    held_out
        float32 (N, K) probabilities, each row from a head that learnt without its group; of what is not known too.
    strength
        that was chosen.
    """

    head: Head
    held_out: Floats
    strength: float


def fit(
    features: NDArray[np.floating],
    taxa: Sequence[str],
    groups: Sequence[str],
    parents: Mapping[str, str | None],
    encoder_sha256: str,
    fewest: int = 10,
    seed: int = 0,
    report: Count | None = None,
) -> Fitted:
    """Fit a head to vectors (N, F).

    Parameters
    ----------
    taxa
        of each row.
    groups
        day, slide or sample of each row.
    fewest
        taxa with fewer objects are not learnt, and listed as not known.

    Raises
    ------
    SpecimenRefused
        Fewer than two taxa can be learnt.
    """
    names, counts = np.unique(np.array(taxa), return_counts=True)
    learnt = tuple(str(name) for name in names[counts >= fewest])
    if len(learnt) < 2:
        raise SpecimenRefused(
            f"{len(learnt)} of {len(names)} taxa have {fewest} objects or more; a classifier needs two, so label more"
        )
    of = {name: k for k, name in enumerate(learnt)}
    x = np.asarray(features, np.float32)
    y = np.array([of.get(taxon, NOT_KNOWN) for taxon in taxa])
    known = y != NOT_KNOWN
    folds = _folds(np.array(groups), seed)
    parts = [((folds != k) & known, folds == k) for k in range(folds.max() + 1)]
    total, done = len(STRENGTHS) * len(parts) + 1, 0
    outputs = np.zeros((len(STRENGTHS), len(y), len(learnt)), np.float32)
    for learning, judging in parts:
        both = _nothing(x.shape[1], len(learnt))
        for strength, said in zip(STRENGTHS, outputs, strict=True):
            both = _regress(x[learning], y[learning], strength, both)
            said[judging] = x[judging] @ both[:-1] + both[-1]
            done += 1
            if report is not None:
                report(done, total)
    best = int(np.argmin([_loss(said[known], y[known]) for said in outputs]))
    temperature = _temperature(outputs[best], y)
    both = _regress(x[known], y[known], STRENGTHS[best], _nothing(x.shape[1], len(learnt)))
    if report is not None:
        report(total, total)
    share = np.bincount(y[known], minlength=len(learnt)).astype(np.float32) / np.float32(known.sum())
    head = Head(
        taxa=learnt,
        parents=parents,
        not_known={str(name): int(n) for name, n in zip(names, counts, strict=True) if n < fewest},
        encoder_sha256=encoder_sha256,
        weights=both[:-1],
        bias=both[-1],
        temperature=temperature,
        share=share,
        threshold=0.0,
        reference=reference_of(x, y, groups, [judging for _, judging in parts]),
    )
    held_out = softmax(outputs[best] / np.float32(temperature))
    threshold = choose_threshold(head, held_out, taxa, groups)
    return Fitted(replace(head, threshold=threshold), held_out, STRENGTHS[best])


def choose_threshold(head: Head, probabilities: Floats, true: Sequence[str], samples: Sequence[str]) -> float:
    """Give the threshold at which what is named in each sample is most like what is there.

    Objects named of a genus count as of another community than their species, unsure ones not at all.
    """
    tree = Tree(head.taxa, head.parents)

    def error(threshold: float) -> float:
        named = [one.taxon for one in tree.answers(probabilities, threshold)]
        return bray_curtis_of(true, named, samples)

    errors = [error(threshold) for threshold in THRESHOLDS]
    return THRESHOLDS[int(np.argmin(errors))]


def _folds(groups: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Give the fold of each row, so that no group lies in two and they are about equally large."""
    names, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    count = min(FOLDS, len(names))
    if count < 2:
        # One group alone cannot be told from others; its rows are all that there is to judge by.
        return np.arange(len(groups)) % FOLDS
    filled = np.zeros(count)
    fold = np.zeros(len(names), np.intp)
    order = np.random.default_rng(seed).permutation(len(names))
    for name in sorted(order, key=lambda k: -counts[k]):
        fold[name] = filled.argmin()
        filled[fold[name]] += counts[name]
    return fold[group]


def _nothing(width: int, taxa: int) -> Floats:
    return np.zeros((width + 1, taxa), np.float32)


def _regress(x: Floats, y: NDArray[np.intp], strength: float, start: Floats) -> Floats:
    """Multinomial logistic regression with a Gaussian prior on the weights (F, K); the bias is the last row.

    Parameters
    ----------
    start
        (F + 1, K), where to begin: weights of about the same task are near.
    """
    count = len(x)
    one_hot = np.eye(start.shape[1], dtype=np.float32)[y]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        both = flat.reshape(start.shape).astype(np.float32)
        outputs = x @ both[:-1] + both[-1]
        outputs -= outputs.max(axis=1, keepdims=True)
        exponents = np.exp(outputs)
        sums = exponents.sum(axis=1, keepdims=True)
        wrong = (exponents / sums - one_hot) / count
        held_back = both[:-1] / (strength * count)
        gradient = np.vstack([x.T @ wrong + held_back, wrong.sum(axis=0)])
        value = float((np.log(sums[:, 0]) - (outputs * one_hot).sum(axis=1)).mean())
        return value + float((both[:-1] * held_back).sum()) / 2, gradient.ravel().astype(np.float64)

    options = {"maxiter": ITERATIONS, "ftol": PRECISION}
    found = minimize(loss, start.ravel().astype(np.float64), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x.reshape(start.shape), np.float32)


def _loss(outputs: Floats, y: NDArray[np.intp]) -> float:
    """Mean logarithmic loss of outputs, at the temperature at which it is least."""

    def tempered(logarithm: float) -> float:
        probabilities = softmax(outputs / np.float32(np.exp(logarithm)))
        return float(-np.log(probabilities[np.arange(len(y)), y] + TINY).mean())

    return float(minimize_scalar(tempered, bounds=np.log(TEMPERATURES), method="bounded").fun)


def _temperature(outputs: Floats, y: NDArray[np.intp]) -> float:
    """Give the temperature at which the probability of what is said comes true most nearly, by its logarithmic loss.

    Objects of taxa that are not known count: whatever is said of them is wrong, in nature as here.
    """
    right = outputs.argmax(axis=1) == y

    def tempered(logarithm: float) -> float:
        sure = softmax(outputs / np.float32(np.exp(logarithm))).max(axis=1)
        return float(-np.log(np.where(right, sure, 1 - sure) + TINY).mean())

    return float(np.exp(minimize_scalar(tempered, bounds=np.log(TEMPERATURES), method="bounded").x))
