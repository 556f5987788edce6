"""How many taxa there are, weighted by how common they are, made comparable between samples of unlike effort."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import hypergeom

Order = Literal[0, 1, 2]


def hill_number(counts: ArrayLike, order: Order) -> float:
    """Give the effective number of taxa in what was counted.

    Parameters
    ----------
    counts
        (taxa,), specimens of each, whole numbers.
    order
        0 counts taxa, 1 is the exponential of Shannon's entropy, 2 the inverse of Simpson's concentration.

    Notes
    -----
    M. O. Hill 1973, Ecology 54, 427.
    """
    return rarefied_hill_number(counts, order, int(_there(counts).sum()))


def rarefied_hill_number(counts: ArrayLike, order: Order, specimens: int) -> float:
    """Give the effective number of taxa that is expected among fewer specimens, drawn from what was counted.

    Parameters
    ----------
    counts
        (taxa,), specimens of each, whole numbers.
    order
        as in `hill_number`.
    specimens
        how many are drawn, at most all.

    Raises
    ------
    ValueError
        More are to be drawn than there are: nothing is extrapolated.

    Notes
    -----
    A. Chao et al. 2014, Ecological Monographs 84, 45, equations 5 to 7.
    """
    x = _there(counts)
    n, m = int(x.sum()), specimens
    if not 0 <= m <= n:
        raise ValueError(f"{m} specimens are to be drawn of {n}; nothing is extrapolated")
    if m == 0:
        return 0.0
    if order == 0:
        return float((1.0 - np.exp(_log_missed(x, n, m))).sum())
    if order == 1:
        k = np.arange(1, m + 1)
        expected = hypergeom.pmf(k[:, None], n, x[None, :], m).sum(axis=1)
        return math.exp(float(-(k / m * np.log(k / m) * expected).sum()))
    together = float((x * (x - 1)).sum()) / (n * (n - 1)) if n > 1 else 0.0
    return 1.0 / (1.0 / m + (m - 1) / m * together)


def coverage(counts: ArrayLike, specimens: int | None = None) -> float:
    """Estimate which share of all specimens that live there is of taxa that were found.

    Parameters
    ----------
    counts
        (taxa,), specimens of each, whole numbers.
    specimens
        among so many of those counted; among all if left out.

    Notes
    -----
    A. Chao and L. Jost 2012, Ecology 93, 2533, equations 4a and 10a.
    """
    x = _there(counts)
    n = int(x.sum())
    if n == 0:
        return 0.0
    if specimens is None or specimens >= n:
        once, twice = int((x == 1).sum()), int((x == 2).sum())
        if once == 0:
            return 1.0
        # Where nothing was found twice, one of those found once stands in.
        seen, pairs = (once, 2 * twice) if twice else (once - 1, 2)
        return 1.0 - once / n * (n - 1) * seen / ((n - 1) * seen + pairs)
    if specimens == 0:
        return 0.0
    # C(n - x, m) / C(n - 1, m): what a taxon of x leaves out of m others.
    ways = _log_choose(n - x, specimens) - _log_choose(np.array(n - 1), specimens)
    rest = np.where(n - x >= specimens, ways, -np.inf)
    return float(1.0 - (x / n * np.exp(rest)).sum())


def specimens_for(counts: ArrayLike, wanted: float) -> int:
    """Say how many of the specimens suffice for so much coverage; all where they do not."""
    n = int(_there(counts).sum())
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if coverage(counts, middle) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _there(counts: ArrayLike) -> NDArray[np.int64]:
    x = np.asarray(counts)
    if not (np.equal(np.mod(x, 1), 0) & (x >= 0)).all():
        raise ValueError("diversity needs whole numbers of specimens, zero or more")
    return x[x > 0].astype(np.int64)


def _log_choose(n: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.maximum(n - k, 0) + 1.0))


def _log_missed(x: NDArray[np.int64], n: int, m: int) -> NDArray[np.float64]:
    """Give the logarithm of the probability that a taxon is not among m of n."""
    return np.where(n - x >= m, _log_choose(n - x, m) - _log_choose(np.array(n), m), -np.inf)
