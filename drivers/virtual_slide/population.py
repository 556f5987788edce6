"""Which objects lie where: an endless plane of cells, each a pure function of seed, slide and cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.specimens import specimen

CELL_UM = 50.0
OBJECTS_PER_CELL = 19.0
TOUCHING_SHARE = 0.2
"""Of the objects placed, how many are laid against an earlier one."""
REACH_UM = 16.0
"""No object reaches further than this from its centre."""


@dataclass(frozen=True)
class Kind:
    """How often a kind lies on the slide, how its size varies, how far above the surface its reference plane is."""

    name: str
    weight: float
    scale: tuple[float, float]
    z_um: tuple[float, float]


KINDS = (
    Kind("emiliania", 4.5, (0.8, 1.2), (0.0, 0.5)),
    Kind("gephyrocapsa", 4.0, (0.75, 1.2), (0.0, 0.6)),
    Kind("calcidiscus", 2.0, (0.8, 1.2), (0.1, 0.8)),
    Kind("coccolithus", 1.2, (0.85, 1.2), (0.1, 0.8)),
    Kind("thalassiosira", 1.3, (0.75, 1.25), (0.0, 0.7)),
    Kind("actinocyclus", 0.7, (0.8, 1.15), (0.0, 0.8)),
    Kind("navicula", 1.2, (0.75, 1.15), (0.0, 0.8)),
    Kind("nitzschia", 1.0, (0.8, 1.1), (0.0, 0.8)),
    Kind("dictyocha", 0.8, (0.75, 1.2), (0.4, 1.2)),
    Kind("stephanocha", 0.5, (0.75, 1.15), (0.4, 1.2)),
    Kind("quartz_small", 1.6, (0.7, 1.3), (0.0, 0.6)),
    Kind("quartz_large", 0.8, (0.7, 1.2), (0.0, 0.8)),
    Kind("shard_thin", 1.5, (0.5, 1.2), (0.0, 0.6)),
    Kind("shard_thick", 1.0, (0.6, 1.2), (0.0, 0.8)),
    Kind("aggregate_small", 0.7, (0.8, 1.2), (0.3, 1.0)),
    Kind("aggregate_large", 0.4, (0.8, 1.1), (0.4, 1.2)),
    Kind("fluff", 0.6, (0.7, 1.2), (0.2, 1.5)),
)
LARGEST_SCALE = max(kind.scale[1] for kind in KINDS)
_WEIGHTS = np.array([kind.weight for kind in KINDS]) / sum(kind.weight for kind in KINDS)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placed:
    """An object on the slide: stage coordinates in um, angle in rad; z above the surface, box the tight one."""

    identifier: str
    kind: str
    x_um: float
    y_um: float
    above_um: float
    angle: float
    scale: float
    box_um: Box


@lru_cache(maxsize=256)
def cell(seed: int, slide: int, density: float, column: int, row: int) -> tuple[Placed, ...]:
    """Objects of one cell, in the order they were laid down."""
    random = np.random.default_rng([_natural(seed), slide, _natural(column), _natural(row)])
    placed: list[Placed] = []
    for number in range(int(random.poisson(OBJECTS_PER_CELL * density))):
        kind = KINDS[int(random.choice(len(KINDS), p=_WEIGHTS))]
        angle, scale = float(random.uniform(0, 2 * np.pi)), float(random.uniform(*kind.scale))
        above = float(random.uniform(*kind.z_um))
        half = _extent(kind.name, angle, scale)
        x, y = _place(random, half, (column * CELL_UM, row * CELL_UM), placed)
        box = (x + half[0], y + half[1], x + half[2], y + half[3])
        placed.append(Placed(f"{slide}/{column},{row}/{number}", kind.name, x, y, above, angle, scale, box))
    return tuple(placed)


def around(seed: int, slide: int, density: float, box_um: Box) -> tuple[Placed, ...]:
    """Every object whose box overlaps a region of the slide, in a fixed order."""
    x0, y0, x1, y1 = box_um
    columns = range(int((x0 - REACH_UM) // CELL_UM), int((x1 + REACH_UM) // CELL_UM) + 1)
    rows = range(int((y0 - REACH_UM) // CELL_UM), int((y1 + REACH_UM) // CELL_UM) + 1)
    return tuple(
        placed
        for row in rows
        for column in columns
        for placed in cell(seed, slide, density, column, row)
        if overlap(placed.box_um, box_um)
    )


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _natural(number: int) -> int:
    """Map any integer to the natural numbers a seed may hold."""
    return number & 0xFFFFFFFFFFFFFFFF


def _extent(kind: str, angle: float, scale: float) -> Box:
    """Tight box of the turned and scaled outline around the object's centre."""
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    outline = specimen(kind).outline_um
    x, y = outline @ (cos, -sin), outline @ (sin, cos)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _place(
    random: np.random.Generator, half: Box, origin: tuple[float, float], placed: list[Placed]
) -> tuple[float, float]:
    """A free spot inside the cell, or one against an earlier object; after many tries anywhere in the cell."""
    against = bool(placed) and bool(random.uniform() < TOUCHING_SHARE)
    low = np.array(origin) - half[:2]
    high = np.array(origin) + CELL_UM - half[2:]
    spot: NDArray[np.float64] = low
    for _ in range(40):
        if against:
            spot = np.clip(_beside(random, half, placed[int(random.integers(len(placed)))]), low, high)
            limit = 0.25
        else:
            spot = random.uniform(low, high)
            limit = 0.0
        box = (spot[0] + half[0], spot[1] + half[1], spot[0] + half[2], spot[1] + half[3])
        if all(_shared(box, other.box_um) <= limit for other in placed):
            break
    return float(spot[0]), float(spot[1])


def _beside(random: np.random.Generator, half: Box, other: Placed) -> NDArray[np.float64]:
    """A spot where an object's ellipse reaches a little into that of another."""
    turn = random.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(turn), np.sin(turn)])
    own = np.hypot((half[2] - half[0]) / 2 * direction[0], (half[3] - half[1]) / 2 * direction[1])
    x0, y0, x1, y1 = other.box_um
    theirs = np.hypot((x1 - x0) / 2 * direction[0], (y1 - y0) / 2 * direction[1])
    return np.array([other.x_um, other.y_um]) + direction * (own + theirs) * random.uniform(0.72, 0.98)


def _shared(one: Box, other: Box) -> float:
    """Shared area over that of the smaller box."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / min(areas)
