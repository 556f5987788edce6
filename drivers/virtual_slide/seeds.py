"""Chance that depends on nothing but its key."""

from __future__ import annotations

import numpy as np


def generator(*key: int) -> np.random.Generator:
    """Return the random numbers of a key of integers, negative ones allowed."""
    return np.random.default_rng([number & 0xFFFFFFFFFFFFFFFF for number in key])
