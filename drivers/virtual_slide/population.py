"""Which objects lie where: an endless plane of cells, each a pure function of seed, slide and cell.

Every object lies wholly inside its cell, so that no cell needs to know its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.specimens import specimen

CELL_UM = 50.0
OBJECTS_PER_CELL = 19.0
TOUCHING_SHARE = 0.2
"""Of the objects placed, how many are laid against an earlier one."""
MOST_SHARED = 0.25
"""Of the smaller box, between two objects that are laid against each other."""
TRIES = 40


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
    """An object on the slide.

    Attributes
    ----------
    x_um, y_um : centre, stage coordinates. above_um : reference plane above the surface.
    angle : from x towards y, in rad. scale : of its size.
    box_um : the tight one around its body, stage coordinates. touching : overlaps the box of another object.
    """

    identifier: str
    kind: str
    x_um: float
    y_um: float
    above_um: float
    angle: float
    scale: float
    box_um: Box
    touching: bool = False


@lru_cache(maxsize=256)
def cell(seed: int, slide: int, density: float, column: int, row: int) -> tuple[Placed, ...]:
    """Objects of one cell, in the order they were laid down."""
    random = generator(seed, slide, column, row)
    placed: list[Placed] = []
    for number in range(int(random.poisson(OBJECTS_PER_CELL * density))):
        kind = KINDS[int(random.choice(len(KINDS), p=_WEIGHTS))]
        angle, scale = float(random.uniform(0, 2 * np.pi)), float(random.uniform(*kind.scale))
        above = float(random.uniform(*kind.z_um))
        half = _extent(kind.name, angle, scale)
        x, y = _place(random, half, (column * CELL_UM, row * CELL_UM), placed)
        box = (x + half[0], y + half[1], x + half[2], y + half[3])
        placed.append(Placed(f"{slide}/{column},{row}/{number}", kind.name, x, y, above, angle, scale, box))
    return tuple(
        replace(one, touching=any(overlap(one.box_um, other.box_um) for other in placed if other is not one))
        for one in placed
    )


def around(seed: int, slide: int, density: float, box_um: Box) -> tuple[Placed, ...]:
    """Every object whose box overlaps a region of the slide, in a fixed order."""
    x0, y0, x1, y1 = box_um
    columns = range(int(x0 // CELL_UM), int(x1 // CELL_UM) + 1)
    rows = range(int(y0 // CELL_UM), int(y1 // CELL_UM) + 1)
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


def _extent(kind: str, angle: float, scale: float) -> Box:
    """Tight box of the turned and scaled outline around the object's centre."""
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    outline = specimen(kind).outline_um
    x, y = outline @ (cos, -sin), outline @ (sin, cos)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _place(
    random: np.random.Generator, half: Box, origin: tuple[float, float], placed: list[Placed]
) -> tuple[float, float]:
    """Choose a free spot inside the cell, or one against an earlier object; the first try where none is free."""
    low, high = np.subtract(origin, half[:2]), np.subtract(origin, half[2:]) + CELL_UM
    if placed and random.uniform() < TOUCHING_SHARE:
        spots, limit = np.clip(_beside(random, half, placed), low, high), MOST_SHARED
    else:
        spots, limit = random.uniform(low, high, (TRIES, 2)), 0.0
    boxes = np.concatenate([spots, spots], axis=1) + half
    others = np.array([other.box_um for other in placed]).reshape(-1, 4)
    free = (_shared(boxes, others) <= limit).all(axis=1)
    x, y = spots[int(np.argmax(free))].tolist()
    return x, y


def _beside(random: np.random.Generator, half: Box, placed: list[Placed]) -> NDArray[np.float64]:
    """Propose spots, (N, 2), where an object's ellipse reaches a little into that of an earlier one."""
    partners = [placed[index] for index in random.integers(len(placed), size=TRIES)]
    turn = random.uniform(0, 2 * np.pi, TRIES)
    direction = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    boxes = np.array([partner.box_um for partner in partners])
    theirs = np.hypot(*((boxes[:, 2:] - boxes[:, :2]) / 2 * direction).T)
    own = np.hypot(*(np.subtract(half[2:], half[:2]) / 2 * direction).T)
    away = (own + theirs) * random.uniform(0.72, 0.98, TRIES)
    centres = np.array([(partner.x_um, partner.y_um) for partner in partners])
    return np.asarray(centres + direction * away[:, None])


def _shared(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shared area over that of the smaller box, (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    areas = [np.prod(a[:, 2:] - a[:, :2], axis=1) for a in (boxes, others)]
    shared = np.prod(np.maximum(high - low, 0), axis=2) / np.minimum(areas[0][:, None], areas[1][None, :])
    return np.asarray(shared)
