"""Numbers with two intervals: what counting leaves open, and what all that is known of their errors leaves open.

A density is divided by a recall, multiplied by a precision, by a split and by a trap's area, and each of these is known
only so well, and the same for many samples. So each error is kept by itself, under the name of what shares it: a sum
of 26 cups is not surer of the recall that all of them share than one cup is.

Limits are put together by MOVER, the method of variance estimates recovery: on the scale of logarithms what each limit
adds is squared, summed, and its root taken, upwards and downwards apart, so that intervals stay lopsided where they are
(G. Y. Zou and A. Donner 2008, Statistics in Medicine 27, 1693).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.counting.poisson import weighted_interval

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Abundance:
    """Numbers, densities or fluxes; arrays of one shape.

    Attributes
    ----------
    value
        what is best said, zero or more.
    variance
        by counting: of each object what it stands for, squared, times phi; summed.
    largest
        the most that any one object stands for, times phi.
    shared
        of each error that others may share, under the name of what shares it: the value at the lower and at the upper
        limit of that alone.
    """

    value: NDArray[np.float64]
    variance: NDArray[np.float64]
    largest: NDArray[np.float64]
    shared: Mapping[str, Limits] = field(default_factory=dict)

    @property
    def counting(self) -> Limits:
        """Lower and upper limit where all but the counting were exactly known."""
        return weighted_interval(self.value, self.variance, self.largest)

    @property
    def total(self) -> Limits:
        """Lower and upper limit by everything that is known to be unsure; never below zero."""
        lowers, uppers = ([limits[at] for limits in (self.counting, *self.shared.values())] for at in (0, 1))
        there = self.value > 0
        value = np.where(there, self.value, 1.0)
        with np.errstate(divide="ignore"):
            below = np.sqrt(sum(np.log(np.where(there, one, 1.0) / value) ** 2 for one in lowers))
            above = np.sqrt(sum(np.log(np.where(there, one, 1.0) / value) ** 2 for one in uppers))
        nothing_seen = np.sqrt(sum(one**2 for one in uppers))
        return np.where(there, value * np.exp(-below), 0.0), np.where(there, value * np.exp(above), nothing_seen)


def times(one: Abundance, by: ArrayLike) -> Abundance:
    """Multiply by what is known exactly, zero or more."""
    factor = np.asarray(by, np.float64)
    shared = {name: (lower * factor, upper * factor) for name, (lower, upper) in one.shared.items()}
    return Abundance(one.value * factor, one.variance * factor**2, one.largest * factor, shared)


def times_unsure(one: Abundance, by: ArrayLike, lower: ArrayLike, upper: ArrayLike, shared_by: str) -> Abundance:
    """Multiply by what is known between limits.

    Parameters
    ----------
    one
        what is multiplied.
    by
        the factor, above zero.
    lower
        its lower limit, zero or more.
    upper
        its upper limit.
    shared_by
        names what shares this error: numbers of the same name err together.

    Raises
    ------
    ValueError
        Limits do not hold the factor; or an error of this name has come in already.
    """
    factor, least, most = (np.asarray(given, np.float64) for given in (by, lower, upper))
    if not ((least >= 0) & (least <= factor) & (factor <= most) & (factor > 0)).all():
        raise ValueError(f"the factor {shared_by} is {by!r}; it must lie above 0, between {lower!r} and {upper!r}")
    if shared_by in one.shared:
        raise ValueError(f"the error {shared_by} has come in already; give another one a name of its own")
    known = times(one, factor)
    # Where nothing was counted, what one object would have stood for is all that tells of this error.
    largest = one.largest * most
    limits = known.value * (least / factor), known.value * (most / factor)
    return Abundance(known.value, known.variance, largest, {**known.shared, shared_by: limits})


def divided_by_unsure(one: Abundance, by: ArrayLike, lower: ArrayLike, upper: ArrayLike, shared_by: str) -> Abundance:
    """Divide by what is known between limits; parameters and errors as those of `times_unsure`."""
    factor, least, most = (np.asarray(given, np.float64) for given in (by, lower, upper))
    if not (least > 0).all():
        raise ValueError(f"the divisor {shared_by} may be {lower!r}; its lower limit must lie above 0")
    return times_unsure(one, 1 / factor, 1 / most, 1 / least, shared_by)


def summed(parts: Sequence[Abundance]) -> Abundance:
    """Sum numbers, of cups, of mini-slides, of taxa; for a weighted sum or a mean multiply each before.

    Counting errs by itself in each; what is shared errs together in all.
    """
    names = dict.fromkeys(name for one in parts for name in one.shared)
    return Abundance(
        np.sum([one.value for one in parts], axis=0),
        np.sum([one.variance for one in parts], axis=0),
        np.max([one.largest for one in parts], axis=0),
        {name: (_summed_limit(parts, name, 0), _summed_limit(parts, name, 1)) for name in names},
    )


def ratio(one: Abundance, other: Abundance) -> tuple[NDArray[np.float64], Limits]:
    """Divide one number by another; give the ratio and its limits by all that is unsure.

    What both share alike falls out. Infinite where the other is zero, NaN where both are.
    """
    names = dict.fromkeys((*one.shared, *other.shared))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = one.value / other.value
        roots = []
        for mine, its in ((0, 1), (1, 0)):
            squares = np.log(one.counting[mine] / one.value) ** 2 + np.log(other.counting[its] / other.value) ** 2
            for name in names:
                squares = squares + np.log(_moved_ratio(one, other, name, mine)) ** 2
            roots.append(np.sqrt(squares))
        lower = np.where(one.value > 0, value * np.exp(-roots[0]), 0.0)
        upper = np.where(one.value > 0, value * np.exp(roots[1]), one.total[1] / other.total[0])
    return value, (lower, upper)


def _moved_ratio(one: Abundance, other: Abundance, name: str, at: int) -> NDArray[np.float64]:
    """Give by what a ratio is multiplied at its lower (0) or upper (1) limit by one of the errors."""
    if name not in other.shared:
        return one.shared[name][at] / one.value
    if name not in one.shared:
        return other.value / other.shared[name][1 - at]
    together = [one.shared[name][side] / one.value * other.value / other.shared[name][side] for side in (0, 1)]
    return np.minimum(np.minimum(*together), 1.0) if at == 0 else np.maximum(np.maximum(*together), 1.0)


def _summed_limit(parts: Sequence[Abundance], name: str, at: int) -> NDArray[np.float64]:
    return np.asarray(np.sum([one.shared.get(name, (one.value, one.value))[at] for one in parts], axis=0))
