"""What persons found when they checked what was predicted, and what that makes of the numbers.

A prediction of one class is some of the time another one. How often is known from checks, drawn by chance of each class
and looked at without the predicted name. The share P(true | predicted) is pooled over a season: applied sample by
sample it makes counts worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.counting.abundance import Abundance, Limits, summed, times
from calibration.counting.shares import share_interval

FEWEST_CHECKS = 100
"""Below so many checks nothing is corrected; the interval says how little is known."""


@dataclass(frozen=True, eq=False)
class ValidatedShare:
    """P(true | predicted), its limits, and how many were checked.

    Attributes
    ----------
    share
        (predicted, true). Of a class of which none was checked all are taken for what they were predicted.
    lower
        (predicted, true), lower limits.
    upper
        (predicted, true), upper limits.
    checked
        (predicted,), how many of each were checked.
    """

    share: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    checked: NDArray[np.int64]

    @property
    def corrects(self) -> bool:
        """Whether enough was checked to correct anything."""
        return bool(self.checked.sum() >= FEWEST_CHECKS)


def validated_share(checks: ArrayLike, predicted: ArrayLike) -> ValidatedShare:
    """Find which share of what was predicted of each class is of which.

    Parameters
    ----------
    checks
        (classes, classes), how many of those predicted as the row's class were found to be of the column's.
    predicted
        (classes,), how many were predicted of each class where the checks were drawn; what was checked of all is known,
        not estimated, and leaves no error.

    Raises
    ------
    ValueError
        More were checked than predicted, of some class.
    """
    found, of = np.asarray(checks, np.int64), np.asarray(predicted, np.int64)
    checked = found.sum(axis=1)
    if (checked > of).any():
        at = int(np.argmax(checked > of))
        raise ValueError(f"{checked[at]} checks of class {at}, of which {of[at]} were predicted; each counts once")
    share = np.where(checked[:, None] > 0, found / np.maximum(checked, 1)[:, None], np.eye(len(of)))
    lower, upper = share_interval(found, checked[:, None])
    left = np.sqrt(np.where(of > 1, (of - checked) / np.maximum(of - 1, 1), 0.0))[:, None]
    left = np.where(checked[:, None] > 0, np.minimum(left, 1.0), 1.0)
    return ValidatedShare(share, share - left * (share - lower), share + left * (upper - share), checked)


def corrected(predicted: Sequence[Abundance], by: ValidatedShare, shared_by: str) -> list[Abundance]:
    """Say how many there truly are of each class, from how many were predicted.

    Where too little was checked, numbers stay as they are, and the limits alone tell what the checks leave open.

    Parameters
    ----------
    predicted
        of each class.
    by
        what checks say.
    shared_by
        names the checks: numbers that go by the same ones err together.
    """
    value = np.array([one.value for one in predicted])
    weights = by.share if by.corrects else np.eye(len(value))
    return [
        _sum_of(predicted, weights[:, true], shared_by, _limits(value, by, true)) for true in range(weights.shape[1])
    ]


def _limits(value: NDArray[np.float64], by: ValidatedShare, true: int) -> Limits:
    """Give what the checks leave open of the number of a class: at least none, at most all that was predicted."""
    middle = np.tensordot(by.share[:, true], value, axes=1)
    down = np.sqrt(np.tensordot((by.share - by.lower)[:, true] ** 2, value**2, axes=1))
    up = np.sqrt(np.tensordot((by.upper - by.share)[:, true] ** 2, value**2, axes=1))
    return np.maximum(middle - down, 0.0), np.minimum(middle + up, value.sum(axis=0))


def _sum_of(parts: Sequence[Abundance], weights: NDArray[np.float64], shared_by: str, limits: Limits) -> Abundance:
    """Sum shares of numbers; one object of any would be one of a class of which there is nothing."""
    plain = summed([times(one, by) for one, by in zip(parts, weights, strict=True)])
    largest = np.where(plain.value > 0, plain.largest, np.max([one.largest for one in parts], axis=0))
    around = np.minimum(limits[0], plain.value), np.maximum(limits[1], plain.value)
    return Abundance(plain.value, plain.variance, largest, {**plain.shared, shared_by: around})
