"""What a taxon is drawn by: its characters, each with the spread that real ones have, so that taxa overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from drivers.virtual_slide.matter import Body
from drivers.virtual_slide.specimens.kinds import Kind, Sizes

Traits = Mapping[str, float]
Build = Callable[[Traits, float, np.random.Generator], Body]
"""Makes a body of traits and a length in um; what no taxon is told by comes from the generator."""
BOUND = float("inf")
DISSOLVED = 0.3
"""Share of the siliceous skeletons that water has thinned."""


@dataclass(frozen=True)
class Spread:
    """A normal distribution, cut off at both ends.

    Attributes
    ----------
    mean
        of the taxon.
    deviation
        standard deviation between its individuals.
    low
        no individual is below.
    high
        no individual is above.
    """

    mean: float
    deviation: float = 0.0
    low: float = -BOUND
    high: float = BOUND

    def draw(self, random: np.random.Generator) -> float:
        """Draw one individual's value."""
        return float(np.clip(random.normal(self.mean, self.deviation), self.low, self.high))


@dataclass(frozen=True)
class Plan:
    """A taxon of the virtual slide.

    Attributes
    ----------
    taxon
        its identifier in the taxonomy.
    class_name
        what the detector calls it.
    sizes
        of its length.
    build
        draws it; taxa of one `build` differ in their characters alone.
    characters
        what it is told by, in the order in which they are drawn.
    above_um
        between which heights above the cover slip its reference plane lies.
    variants
        individuals in a collection.
    broken
        share of them that are fragments.
    name
        of the kind, where that of the taxon is another kind's already.
    """

    taxon: str
    class_name: str
    sizes: Sizes
    build: Build
    characters: Mapping[str, Spread] = field(default_factory=dict)
    above_um: tuple[float, float] = (0.2, 0.8)
    variants: int = 10
    broken: float = 0.4
    name: str = ""

    def grow(self, random: np.random.Generator) -> dict[str, float]:
        """Draw an individual's characters."""
        return {name: spread.draw(random) for name, spread in self.characters.items()}

    def draw(self, length_um: float, random: np.random.Generator) -> Body:
        """Draw an individual of a length."""
        traits = self.grow(random)
        body = self.build(traits, length_um, random)
        return replace(body, pose=replace(body.pose, traits=traits))

    def kind(self) -> Kind:
        """Give it as a kind of object."""
        return Kind(
            self.name or self.taxon, self.class_name, False, self.variants, self.sizes, self.above_um, self.draw,
            self.broken,
            self.taxon, natural=True,
        )  # fmt: skip


def face_of(random: np.random.Generator) -> tuple[int, str]:
    """Toss which face is seen: 1 and `outer`, or -1 and `inner`."""
    side = int(random.choice([-1, 1]))
    return side, "outer" if side == 1 else "inner"


def preserved(random: np.random.Generator) -> float:
    """Share of its thickness that dissolution has left of a siliceous skeleton."""
    return float(random.uniform(0.45, 0.85)) if random.random() < DISSOLVED else 1.0
