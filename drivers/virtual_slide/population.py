"""Which objects lie where: an endless plane of cells, each a pure function of the settings, the slide and the cell.

Objects settle independently of each other (a Poisson process of each kind), or in clusters (a Thomas process); some in
chains. Aggregates hold fossils. Nothing keeps objects from lying over each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from drivers.profile_names import Profile
from drivers.virtual_slide.profiles import kinds_of, mean_number
from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.truth import Box

CELL_UM = 50.0
CLUSTER_MEMBERS = 8.0
CLUSTER_UM = 9.0
"""Standard deviation of the distance, along x and y, of a cluster's members from its middle."""
CLUSTER_REACH = 2.5
CHAINS = {"thalassiosira": 0.08, "chaetoceros_spore": 0.12, "thalassionema": 0.08}
"""Share of a kind's settlers that are chains of two to four cells."""
LONGEST_CHAIN = 4
SWEPT = 1.5
"""An aggregate holds as many fossils as lie on so many times its own area."""


class World(NamedTuple):
    """What the population of a night depends on."""

    seed: int
    profile: Profile
    density: float
    settling: str


@dataclass(frozen=True)
class PlacedObject:
    """An object on the slide.

    Attributes
    ----------
    x_um
        centre, stage coordinates.
    y_um
        centre, stage coordinates.
    above_um
        reference plane above the surface.
    angle
        from x towards y, in rad.
    """

    identifier: str
    kind: str
    variant: int
    x_um: float
    y_um: float
    above_um: float
    angle: float
    buried: bool = False


def around(world: World, slide: int, box_um: Box, margin_um: float) -> tuple[PlacedObject, ...]:
    """Every object whose body may come within a margin of a region of the slide, in a fixed order."""
    x0, y0, x1, y1 = box_um
    found: list[PlacedObject] = []
    for kind in kinds_of(world.profile):
        reach = _reach_um(kind, world.settling) + margin_um
        columns = range(int((x0 - reach) // CELL_UM), int((x1 + reach) // CELL_UM) + 1)
        rows = range(int((y0 - reach) // CELL_UM), int((y1 + reach) // CELL_UM) + 1)
        for row, column in product(rows, columns):
            for placed in cell(world, slide, kind, column, row):
                half = KINDS[placed.kind].sizes.high_um / 2 * 1.1 + margin_um
                if x0 - half < placed.x_um < x1 + half and y0 - half < placed.y_um < y1 + half:
                    found.append(placed)
    return tuple(found)


def settled(world: World, slide: int, kind: str, within_um: Box, order: int) -> Iterator[PlacedObject]:
    """Meet what settled of a kind within a region, cell after cell in an order that `order` seeds, each cell once."""
    x0, y0, x1, y1 = (int(edge // CELL_UM) for edge in within_um)
    columns, rows = x1 - x0 + 1, y1 - y0 + 1
    for number in generator(order, slide).permutation(columns * rows).tolist():
        row, column = divmod(number, columns)
        yield from (one for one in cell(world, slide, kind, x0 + column, y0 + row) if one.kind == kind)


@lru_cache(maxsize=8192)
def cell(world: World, slide: int, kind: str, column: int, row: int) -> tuple[PlacedObject, ...]:
    """Objects of one kind that settled in one cell, with what came with them."""
    order = list(KINDS).index(kind)
    random = generator(world.seed, slide, order, column, row)
    corner = np.array([column, row]) * CELL_UM
    mean = mean_number(world.profile, kind, world.seed, slide, world.density, CELL_UM**2)
    if world.settling == "clustered":
        middles = corner + random.uniform(0, CELL_UM, (int(random.poisson(mean / CLUSTER_MEMBERS)), 2))
        members = [int(random.poisson(CLUSTER_MEMBERS)) for _ in middles]
        limit = CLUSTER_REACH * CLUSTER_UM
        away = [np.clip(random.normal(0, CLUSTER_UM, (n, 2)), -limit, limit) for n in members]
        spots = np.concatenate([middle + steps for middle, steps in zip(middles, away, strict=True)] or [middles])
    else:
        spots = corner + random.uniform(0, CELL_UM, (int(random.poisson(mean)), 2))
    placed: list[PlacedObject] = []
    for number, (x, y) in enumerate(spots.tolist()):
        name = f"{slide}/{kind}/{column},{row}/{number}"
        one = _settle(random, name, kind, x, y)
        placed.append(one)
        if random.uniform() < CHAINS.get(kind, 0.0):
            placed += _chain(random, one)
        if kind == "aggregate":
            placed += _bury(random, one, world, slide)
    return tuple(placed)


def _settle(random: np.random.Generator, identifier: str, kind: str, x_um: float, y_um: float) -> PlacedObject:
    variant = int(random.integers(KINDS[kind].variants))
    above, angle = float(random.uniform(*KINDS[kind].above_um)), float(random.uniform(0, 2 * np.pi))
    return PlacedObject(identifier, kind, variant, x_um, y_um, above, angle)


def _chain(random: np.random.Generator, first: PlacedObject) -> list[PlacedObject]:
    """Lay further cells beside the first, across its length, each turned a little."""
    kind = KINDS[first.kind]
    length = kind.sizes.quantile((first.variant + 0.5) / kind.variants)
    step = length if first.kind == "thalassiosira" else 0.55 * length
    if first.kind == "thalassionema":
        step = 3.0
    direction = first.angle + np.pi / 2
    links = [first]
    for number in range(1, int(random.integers(2, LONGEST_CHAIN + 1))):
        last = links[-1]
        direction += float(random.normal(0, 0.15))
        x, y = last.x_um + step * np.cos(direction), last.y_um + step * np.sin(direction)
        angle = last.angle + float(random.normal(0, 0.1))
        name = f"{first.identifier}.{number}"
        links.append(replace(first, identifier=name, x_um=float(x), y_um=float(y), angle=angle))
    return links[1:]


def _bury(random: np.random.Generator, aggregate: PlacedObject, world: World, slide: int) -> list[PlacedObject]:
    """Put fossils of the slide into an aggregate."""
    kind = KINDS[aggregate.kind]
    length = kind.sizes.quantile((aggregate.variant + 0.5) / kind.variants)
    area_um2 = SWEPT * np.pi / 4 * length**2
    buried: list[PlacedObject] = []
    for name in (n for n in kinds_of(world.profile) if not KINDS[n].junk and KINDS[n].sizes.high_um < length):
        mean = mean_number(world.profile, name, world.seed, slide, world.density, area_um2)
        for _ in range(int(random.poisson(mean))):
            x, y = (float(at + random.normal(0, 0.15 * length)) for at in (aggregate.x_um, aggregate.y_um))
            one = _settle(random, f"{aggregate.identifier}.{len(buried)}", name, x, y)
            depth = float(random.uniform(0, max(aggregate.above_um, 0.5)))
            buried.append(replace(one, above_um=depth, buried=True))
    return buried


def _reach_um(kind: str, settling: str) -> float:
    """How far from its cell the body of what settled there may reach."""
    half = KINDS[kind].sizes.high_um / 2 * 1.1
    reach = half
    if kind in CHAINS:
        reach += (LONGEST_CHAIN - 1) * KINDS[kind].sizes.high_um
    if kind == "aggregate":
        reach += KINDS[kind].sizes.high_um
    return reach + (CLUSTER_REACH * CLUSTER_UM if settling == "clustered" else 0.0)
