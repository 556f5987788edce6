"""How sure a count is: the interval of the mean of a Poisson process that has given so many."""

from __future__ import annotations

from scipy.special import gammaincinv

LEVEL = 0.95


def interval(count: int, level: float = LEVEL) -> tuple[float, float]:
    """Give the exact (Garwood) interval that holds the mean with so much confidence."""
    tail = (1 - level) / 2
    low = float(gammaincinv(count, tail)) if count else 0.0
    return low, float(gammaincinv(count + 1, 1 - tail))
