"""Chance that depends on nothing but its key."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*key: int) -> np.random.Generator:
    """Return the random numbers of a key of integers, negative ones allowed."""
    return np.random.default_rng([number & 0xFFFFFFFFFFFFFFFF for number in key])


def chance(seed: int, *names: object) -> float:
    """Reproducible chance in (0, 1), uniform over whatever `names` name."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=6).digest()
    return (int.from_bytes(digest) + 0.5) / 2**48
