"""What comes back differently when a sample is prepared anew: variation between mini-slides beyond that of counting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

FEWEST_PAIRS = 10
"""Below so many pairs the variation is hardly known from them."""


class BetweenSlides(NamedTuple):
    """Variation between mini-slides of one sample.

    Attributes
    ----------
    cv
        coefficient of variation of densities, without what counting makes.
    pairs
        how many pairs it comes from.
    assumed
        whether it was assumed, for want of pairs.
    """

    cv: float
    pairs: int
    assumed: bool


def between_slides(
    densities: ArrayLike, counts: ArrayLike, otherwise: float, fewest_pairs: int = FEWEST_PAIRS
) -> BetweenSlides:
    """Find how much densities of replicates differ beyond their counting.

    CV^2 is the mean of (ln d1 - ln d2)^2 / 2 - (1 / n1 + 1 / n2) / 2 over pairs, at least zero.

    Parameters
    ----------
    densities
        (pairs, 2), of two mini-slides of each sample, above zero.
    counts
        (pairs, 2), objects counted for them, over phi where they clump; above zero.
    otherwise
        what is assumed where there are fewer than `fewest_pairs`.
    fewest_pairs
        how many are wanted.

    Raises
    ------
    ValueError
        A density or count is not above zero: such a pair says nothing of this, leave it out.
    """
    d, n = (np.asarray(given, np.float64).reshape(-1, 2) for given in (densities, counts))
    if not ((d > 0).all() and (n > 0).all()):
        raise ValueError("densities and counts of replicates must be above zero; leave the other pairs out")
    if len(d) < fewest_pairs:
        return BetweenSlides(otherwise, len(d), True)
    squared = (np.log(d[:, 0]) - np.log(d[:, 1])) ** 2 / 2 - (1 / n).sum(axis=1) / 2
    return BetweenSlides(float(np.sqrt(max(squared.mean(), 0.0))), len(d), False)
