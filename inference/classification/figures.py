"""How good names are: each taxon with its intervals, what is taken for what, and the error of the community.

Numbers in, numbers out. A share's interval is Wilson's; what depends on whole days or slides is drawn again by them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.classification.answers import UNSURE, TaxonAnswer

Floats = NDArray[np.float64]
Z_95 = 1.959964
BINS = 15
DRAWS = 500
CHANCES = 50
INTERVAL = (2.5, 97.5)


class TaxonFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one taxon.

    Attributes
    ----------
    n
        objects of it that judged.
    named
        objects that were named so.
    precision
        None where nothing is named so.
    recall
        None where there is none of it.
    f1
        None where there is none of it.
    precision_interval
        Wilson's, 95 %; it takes objects for independent.
    recall_interval
        the same.
    f1_interval
        of other groups (days, slides) drawn like these.
    """

    taxon: str
    n: int
    named: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_interval: tuple[float, float] | None
    recall_interval: tuple[float, float] | None
    f1_interval: tuple[float, float] | None


class NamesFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a classifier does on objects that it has not seen.

    Attributes
    ----------
    judged_by
        in words: held-out days, a random fifth.
    groups
        days or slides that judged.
    accuracy
        share of the objects whose name is right; this and the next two with the intervals of other groups drawn like
        these.
    balanced
        mean recall of the taxa with at least `fewest` objects.
    macro_f1
        mean F1 of the same.
    fewest
        objects from which on a taxon counts for `balanced` and `macro_f1`.
    calibration_error
        expected: over bins of probability, how far that is from the share that is right.
    calibration_by_chance
        what that would be on the average for so many objects if probabilities were perfect.
    curve
        of the same bins: mean probability, share that is right, objects.
    bray_curtis
        between the shares of taxa that were named in a sample and those that are there, mean over samples.
    unsure
        share of the objects that were not named at all.
    confusion
        rows are what is there, columns what was named, in the order of `names`.
    """

    judged_by: str
    objects: int
    groups: int
    fewest: int
    accuracy: float
    accuracy_interval: tuple[float, float] | None
    balanced: float | None
    balanced_interval: tuple[float, float] | None
    macro_f1: float | None
    macro_f1_interval: tuple[float, float] | None
    calibration_error: float
    calibration_by_chance: float
    curve: tuple[tuple[float, float, int], ...]
    bray_curtis: float
    unsure: float
    taxa: tuple[TaxonFigures, ...]
    names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class JudgedNames:
    """Objects whose taxon is known, and what was said of them.

    Attributes
    ----------
    true
        taxon of each.
    named
        what it was called.
    probability
        of what was named.
    groups
        day or slide of each; drawn again as a whole.
    samples
        of each; the communities that are compared.
    """

    true: Sequence[str]
    named: Sequence[str]
    probability: NDArray[np.floating]
    groups: Sequence[str]
    samples: Sequence[str]


def figures(judged: JudgedNames, judged_by: str, fewest: int = 1, seed: int = 0) -> NamesFigures:
    """Judge names.

    Raises
    ------
    ValueError
        There is nothing to judge by.
    """
    if not judged.true:
        raise ValueError("there is no object to judge by; hold some out")
    names = tuple(sorted({*judged.true, *judged.named}))
    true, named = (np.array([names.index(name) for name in which]) for which in (judged.true, judged.named))
    group_names, group = np.unique(np.array(judged.groups), return_inverse=True)
    tables = np.zeros((len(group_names), len(names), len(names)))
    np.add.at(tables, (group, true, named), 1)
    whole = tables.sum(axis=0)
    drawn = _drawn(tables, seed)
    counted = whole.sum(axis=1) >= fewest
    right = np.asarray(true == named)
    probability = np.asarray(judged.probability, np.float64)
    f1_drawn = np.array([_f1(table) for table in drawn])
    return NamesFigures(
        judged_by=judged_by,
        objects=len(true),
        groups=len(group_names),
        fewest=fewest,
        accuracy=float(right.mean()),
        accuracy_interval=_interval([float(np.trace(table) / table.sum()) for table in drawn]),
        balanced=_mean(_recall(whole)[counted]),
        balanced_interval=_interval([_mean(_recall(table)[counted]) for table in drawn]),
        macro_f1=_mean(_f1(whole)[counted]),
        macro_f1_interval=_interval([_mean(one[counted]) for one in f1_drawn]),
        calibration_error=calibration_error(probability, right),
        calibration_by_chance=_calibration_by_chance(probability, seed),
        curve=calibration_curve(probability, right),
        bray_curtis=bray_curtis_of(judged.true, judged.named, judged.samples),
        unsure=float(np.mean([name == UNSURE for name in judged.named])),
        taxa=tuple(
            _of_taxon(name, whole, k, f1_drawn[:, k] if len(f1_drawn) else np.zeros(0)) for k, name in enumerate(names)
        ),
        names=names,
        confusion=tuple(tuple(int(n) for n in row) for row in whole),
    )


def judged(
    true: Sequence[str], answers: Sequence[TaxonAnswer], groups: Sequence[str], samples: Sequence[str]
) -> JudgedNames:
    """Put together what is there and what was answered."""
    return JudgedNames(
        true, [one.taxon for one in answers], np.array([one.probability for one in answers]), groups, samples
    )


def wilson(right: float, of: float) -> tuple[float, float] | None:
    """Interval of 95 % for a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209); None of nothing."""
    if of <= 0:
        return None
    share, z2 = right / of, Z_95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z_95 / (1 + z2 / of) * np.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def calibration_curve(probability: Floats, right: NDArray[np.bool_]) -> tuple[tuple[float, float, int], ...]:
    """Mean probability, share right and number of each bin that holds anything."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    held = [(probability[bins == k], right[bins == k]) for k in range(BINS) if (bins == k).any()]
    return tuple((float(sure.mean()), float(is_right.mean()), len(sure)) for sure, is_right in held)


def calibration_error(probability: Floats, right: NDArray[np.bool_]) -> float:
    """Give the expected calibration error (Naeini 2015, AAAI), over 15 bins of one width."""
    curve = calibration_curve(probability, right)
    return sum(abs(sure - share) * n for sure, share, n in curve) / len(probability)


def _calibration_by_chance(probability: Floats, seed: int) -> float:
    random = np.random.default_rng(seed)
    drawn = [
        calibration_error(probability, random.uniform(size=len(probability)) < probability) for _ in range(CHANCES)
    ]
    return float(np.mean(drawn))


def bray_curtis(true: Mapping[str, float], named: Mapping[str, float]) -> float:
    """Dissimilarity of two communities' shares (Bray & Curtis 1957), from 0 for the same to 1 for nothing in common."""
    of_true, of_named = sum(true.values()), sum(named.values())
    names = {*true, *named}
    return 0.5 * sum(abs(true.get(name, 0) / of_true - named.get(name, 0) / of_named) for name in names)


def bray_curtis_of(true: Sequence[str], named: Sequence[str], samples: Sequence[str]) -> float:
    """Mean dissimilarity over samples of what is there and what was named; what is unsure is left out of the latter."""
    there: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for taxon, name, sample in zip(true, named, samples, strict=True):
        there[sample][taxon] += 1
        if name != UNSURE:
            said[sample][name] += 1
    return sum(bray_curtis(there[one], said[one]) if said[one] else 1.0 for one in there) / len(there)


def at_prevalence(confusion: NDArray[np.number], shares: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Precision and recall of each taxon where the taxa have other shares than in what judged.

    Parameters
    ----------
    confusion
        counts (K, K), rows are what is there.
    shares
        (K,), of each row in nature; rows without objects count for nothing.
    """
    counts = np.asarray(confusion, np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    weighed = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0) * np.asarray(shares)[:, None]
    return np.diag(weighed) / np.where(weighed.sum(axis=0) > 0, weighed.sum(axis=0), np.nan), _recall(counts)


def _drawn(tables: Floats, seed: int) -> list[Floats]:
    """Tables of other groups drawn like these, none where there are fewer than three."""
    if len(tables) < 3:
        return []
    random = np.random.default_rng(seed)
    return [tables[random.integers(len(tables), size=len(tables))].sum(axis=0) for _ in range(DRAWS)]


def _recall(table: Floats) -> Floats:
    there = table.sum(axis=1)
    return np.where(there > 0, np.diag(table) / np.maximum(there, 1), np.nan)


def _f1(table: Floats) -> Floats:
    both = table.sum(axis=0) + table.sum(axis=1)
    return np.where(table.sum(axis=1) > 0, 2 * np.diag(table) / np.maximum(both, 1), np.nan)


def _mean(values: Floats) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _interval(values: Sequence[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    if not known:
        return None
    low, high = np.percentile(known, INTERVAL)
    return float(low), float(high)


def _of_taxon(name: str, table: Floats, k: int, f1_drawn: Floats) -> TaxonFigures:
    hit, there, said = table[k, k], table[k].sum(), table[:, k].sum()
    return TaxonFigures(
        taxon=name,
        n=int(there),
        named=int(said),
        precision=float(hit / said) if said else None,
        recall=float(hit / there) if there else None,
        f1=float(2 * hit / (there + said)) if there else None,
        precision_interval=wilson(hit, said),
        recall_interval=wilson(hit, there),
        f1_interval=_interval(f1_drawn.tolist()) if there else None,
    )
