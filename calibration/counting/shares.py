"""Shares of a whole, and what was looked for in vain."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from calibration.counting.poisson import LEVEL


def share_interval(
    part: ArrayLike, whole: ArrayLike, level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give Wilson's interval of a share.

    Parameters
    ----------
    part
        how many had it.
    whole
        of how many; nothing is known where it is 0.
    level
        confidence.

    Notes
    -----
    E. B. Wilson 1927, Journal of the American Statistical Association 22, 209.
    """
    k, n = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    z2 = norm.ppf(0.5 + level / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / n
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    lower = np.where(n > 0, np.where(k == 0, 0.0, middle - half), 0.0)
    upper = np.where(n > 0, np.where(k == n, 1.0, middle + half), 1.0)
    return np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)


def least_share_seen(whole: ArrayLike, level: float = LEVEL) -> NDArray[np.float64]:
    """Give the share that would have been seen at least once among so many, with so much confidence."""
    n = np.asarray(whole, np.float64)
    with np.errstate(divide="ignore"):
        return np.where(n > 0, 1.0 - (1.0 - level) ** (1.0 / np.maximum(n, 1e-300)), 1.0)
