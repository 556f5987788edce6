"""How unevenly objects lie over the fields of a mini-slide.

Settling clumps: then counts scatter more between fields than Poisson's would. The ratio of their variance to their
mean, phi, is 1 where each object settles by itself, and about the number of those that settle together where they
clump. A count of n objects is then as sure as one of n / phi.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

CLUMPS_UNSEEN = 2.0
"""How much more than it looks phi is taken for, in units of phi over the count; see `cautious`."""


def dispersion(counts: ArrayLike, areas: ArrayLike) -> NDArray[np.float64]:
    """Give variance over mean between fields, Pearson's statistic over its degrees of freedom.

    Parameters
    ----------
    counts
        (..., fields), objects counted.
    areas
        (fields,), area that each was counted on, in any unit, above zero.

    Returns
    -------
    NDArray[np.float64]
        (...,). NaN where nothing was counted, and of a single field: it says nothing of that.

    Notes
    -----
    P. McCullagh and J. A. Nelder 1989, Generalized Linear Models, 2nd edition, 4.5.
    """
    seen, on = np.asarray(counts, np.float64), np.asarray(areas, np.float64)
    total = seen.sum(axis=-1, keepdims=True)
    expected = total * on / on.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = np.where(total > 0, (seen - expected) ** 2 / expected, np.nan).sum(axis=-1)
        return np.asarray(squares / (on.size - 1))


def cautious(phi: ArrayLike, count: ArrayLike, fields: int) -> NDArray[np.float64]:
    """Give the phi that an interval goes by, where it is known from the fields of the count itself.

    Of few clumps the large ones are mostly not among those seen, so phi comes out too small just where it matters:
    phi - 1 is taken for (1 + `CLUMPS_UNSEEN` phi / count) as much. As it comes from few fields, Student's factor widens
    it besides. Where phi is 1 or less, it is 1. Simulated: docs/counting.md.

    Parameters
    ----------
    phi
        as `dispersion` gives it; NaN is taken for 1.
    count
        objects counted.
    fields
        how many fields they lie in.
    """
    over = np.maximum(np.nan_to_num(np.asarray(phi, np.float64), nan=1.0) - 1.0, 0.0)
    unseen = 1.0 + CLUMPS_UNSEEN * (1.0 + over) / np.maximum(np.asarray(count, np.float64), 1.0)
    student = (t.ppf(0.975, max(fields - 1, 1)) / norm.ppf(0.975)) ** 2
    return np.where(over > 0, (1.0 + over * unseen) * student, 1.0)
