"""What a kind of object is: its class, its sizes, how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from drivers.virtual_slide.matter import Body

Draw = Callable[[float, np.random.Generator], Body]
"""Makes one body of a length in um; whatever else varies comes from the generator."""


@dataclass(frozen=True)
class Sizes:
    """Lengths in um: lognormal around a median, cut off at both ends."""

    median_um: float
    spread: float
    low_um: float
    high_um: float

    def quantile(self, share: float) -> float:
        """Length below which a share of all lie."""
        normal = NormalDist(float(np.log(self.median_um)), self.spread)
        low, high = normal.cdf(float(np.log(self.low_um))), normal.cdf(float(np.log(self.high_um)))
        return float(np.exp(normal.inv_cdf(low + share * (high - low))))

    def share_below(self, length_um: float) -> float:
        """Share of all that are shorter; the inverse of `quantile`."""
        normal = NormalDist(float(np.log(self.median_um)), self.spread)
        low, high = normal.cdf(float(np.log(self.low_um))), normal.cdf(float(np.log(self.high_um)))
        return float(np.clip((normal.cdf(float(np.log(max(length_um, 1e-9)))) - low) / (high - low), 0, 1))


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes
    ----------
    name
        what it is.
    class_name
        what the detector calls it, or the kind of junk.
    junk
        must not be detected.
    variants
        different bodies of it in a collection.
    sizes
        of its length.
    draw
        makes one.
    above_um
        between which heights above the cover slip its reference plane lies.
    broken
        share of the variants that are fragments.
    taxon
        its identifier in the taxonomy; empty for junk.
    natural
        drawn as a species: it breaks as real ones do. Kinds that are not keep the pixels that they always had.
    """

    name: str
    class_name: str
    junk: bool
    variants: int
    sizes: Sizes
    above_um: tuple[float, float]
    draw: Draw
    broken: float = 0.0
    taxon: str = ""
    natural: bool = False
