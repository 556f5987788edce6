"""How sure a count is."""

from __future__ import annotations

from typing import NamedTuple

from scipy.special import gammaincinv

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Bounds of what a count was drawn from."""

    low: float
    high: float


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval of a Poisson mean (Garwood 1936, Biometrika 28, 437).

    Parameters
    ----------
    count : 0 or more objects. confidence : between 0 and 1.
    """
    beyond = (1 - confidence) / 2
    low = float(gammaincinv(count, beyond)) if count else 0.0
    return Interval(low, float(gammaincinv(count + 1, 1 - beyond)))
