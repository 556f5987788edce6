"""How sure a count is, or a sum of counts that stand for unlike amounts: intervals of the mean of Poisson processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv

LEVEL = 0.95


def interval(count: int, level: float = LEVEL) -> tuple[float, float]:
    """Give the exact (Garwood) interval that holds the mean with so much confidence."""
    low, high = weighted_interval(count, count, 1.0, level)
    return float(low), float(high)


def weighted_interval(
    value: ArrayLike, variance: ArrayLike, largest: ArrayLike, level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the interval of a sum of counts, each object of which stands for an amount of its own.

    Parameters
    ----------
    value
        the sum: of each object what it stands for, w.
    variance
        the sum of w squared.
    largest
        the largest w that any object could have had.
    level
        confidence.

    Returns
    -------
    tuple of NDArray
        Lower and upper limit. Where all w are the same they are Garwood's.

    Notes
    -----
    M. P. Fay and E. J. Feuer 1997, Statistics in Medicine 16, 791.
    """
    y, v, w = (np.asarray(one, np.float64) for one in (value, variance, largest))
    tail = (1 - level) / 2
    seen = (y > 0) & (v > 0)
    each = np.where(seen, v, 1.0) / np.where(seen, y, 1.0)
    low = np.where(seen, each * gammaincinv(np.where(seen, y / each, 1.0), tail), y)
    more, spread = y + w, v + w * w
    known = more <= 0
    above = np.where(known, 1.0, spread / np.where(known, 1.0, more))
    exact = (w == 0) & (v == 0)
    high = np.where(exact, y, above * gammaincinv(np.where(exact, 1.0, more / np.where(exact, 1.0, above)), 1 - tail))
    return np.asarray(low), np.asarray(high)
