"""Mineral grains, which are no fossils: quartz, and shards of calcite. Each is a single crystal."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.matter import CALCITE, QUARTZ, Body, Map, Material, Slice
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.kinds import Kind, Sizes

QUARTZ_DEEPEST_UM = 12.0
SHARD_DEEPEST_UM = 10.0
ONE_SLICE_UM = 2.0
"""Thinner grains are one slice."""
MOST_SLICES = 4
FACE_DEG = 78.1
DIHEDRAL_DEG = 74.9
"""Acute angles of the cleavage rhomb of calcite: of a face, and between two faces."""
AXIS_ON_FACE_DEG = 45.4
"""Inclination of the optic axis of calcite when the crystal lies on a cleavage face."""
EDGE_UM = 0.12
"""Grains do not thin to nothing at their outline."""

Corners = NDArray[np.float64]


def _rounded(corners: Corners, share: float, times: int) -> Corners:
    """Cut every corner off (G. Chaikin 1974, Computer Graphics and Image Processing 3, 346)."""
    for _ in range(times):
        after = np.roll(corners, -1, axis=0)
        ends = (corners + share * (after - corners), after + share * (corners - after))
        corners = np.stack(ends, axis=1).reshape(-1, 2)
    return corners


def _broken(corners: Corners, random: np.random.Generator) -> Corners:
    """Break some corners off."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    outline: list[NDArray[np.float64]] = []
    for corner, left, right in zip(corners, before, after, strict=True):
        if random.random() < 0.35:
            outline += [corner + random.uniform(0.1, 0.45) * (end - corner) for end in (left, right)]
        else:
            outline.append(corner)
    return np.array(outline)


def _lying(corners: Corners, length_um: float) -> tuple[Corners, float]:
    """Turn, scale and centre a convex polygon, so that it is longest along x; also give the turn, in rad."""
    between = corners[None, :] - corners[:, None]
    first, second = np.unravel_index(np.argmax(np.hypot(between[..., 0], between[..., 1])), between.shape[:2])
    dx, dy = between[first, second]
    longest = np.hypot(dx, dy)
    turned = corners @ (np.array([[dx, -dy], [dy, dx]]) / longest) * (length_um / longest)
    return np.asarray(turned - (turned.max(axis=0) + turned.min(axis=0)) / 2), -float(np.arctan2(dy, dx))


def _canvas(corners: Corners) -> Canvas:
    length, width = np.ptp(corners, axis=0)
    return Canvas(float(length), float(width))


def _facets(canvas: Canvas, length_um: float, random: np.random.Generator, steepest: float) -> Map:
    """Depth of a faceted face below its highest point."""
    directions, slopes = random.uniform(0, 2 * np.pi, 4), random.uniform(0.1, 1, 4) * steepest
    starts = random.uniform(0, 0.35, 4) * length_um
    planes = [
        slope * (canvas.x * np.cos(way) + canvas.y * np.sin(way) - start)
        for way, slope, start in zip(directions, slopes, starts, strict=True)
    ]
    return np.asarray(np.maximum(np.max(planes, axis=0), 0))


def _grain(canvas: Canvas, edge: Map, top: Map, bottom: Map, material: Material, axis: tuple[float, float]) -> Body:
    """Cut a single crystal between two faces into slices; the axis is azimuth and inclination, in rad."""
    covered = canvas.inside(edge)
    bottom = np.minimum(bottom, top - EDGE_UM)
    low, high = float(bottom[covered > 0].min()), float(top[covered > 0].max())
    count = 1 if high - low <= ONE_SLICE_UM else int(np.clip(np.ceil((high - low) / ONE_SLICE_UM), 2, MOST_SLICES))
    borders = np.linspace(low, high, count + 1)
    azimuth, inclination = (np.full_like(canvas.x, angle) for angle in axis)
    layers: list[Slice] = []
    for lower, upper in pairwise(borders):
        thickness = covered * np.clip(np.minimum(top, upper) - np.maximum(bottom, lower), 0, None)
        height = float((lower + upper) / 2)
        layers.append(Slice(height, material, np.asarray(thickness), azimuth, inclination))
    return canvas.body(layers, edge < 0)


def quartz(length_um: float, random: np.random.Generator) -> Body:
    """Quartz, angular or rounded, with conchoidal fractures."""
    angles = np.sort((np.arange(7) + random.uniform(-0.35, 0.35, 7)) * 2 * np.pi / 7)
    corners = np.stack([np.cos(angles), random.uniform(0.6, 0.95) * np.sin(angles)], axis=1)
    corners, _ = _lying(_rounded(corners, *((0.1, 1) if random.random() < 0.6 else (0.25, 3))), length_um)
    canvas = _canvas(corners)
    edge = canvas.polygon(corners)
    thick = min(random.uniform(0.3, 0.8) * length_um, QUARTZ_DEEPEST_UM)
    shoulder = 0.2 * thick * np.exp(np.minimum(edge, 0) / (0.08 * length_um))
    struck = random.uniform(-0.8, 0.8, 2) * length_um
    distance = np.hypot(canvas.x - struck[0], canvas.y - struck[1]) / length_um
    ripples = 0.012 * thick * np.sin(random.uniform(25, 40) * np.sqrt(distance)) * np.exp(-1.5 * distance)
    steep = thick / length_um
    top = thick / 2 - shoulder + ripples - _facets(canvas, length_um, random, steep)
    bottom = -thick / 2 + shoulder + _facets(canvas, length_um, random, 0.5 * steep)
    axis = (random.uniform(0, np.pi), float(np.arcsin(random.uniform(0, 1))))
    return _grain(canvas, edge, np.asarray(top), np.asarray(bottom), QUARTZ, axis)


def shard(length_um: float, random: np.random.Generator) -> Body:
    """Calcite, a rhomb broken along its cleavage, wedged and stepped.

    Half of them lie on a cleavage face, so that the optic axis bisects its obtuse angle; the others lie anyhow.
    """
    corner = np.deg2rad(random.choice([FACE_DEG, 180 - FACE_DEG]))
    along, over = np.array([1.0, 0.0]), np.array([np.cos(corner), np.sin(corner)])
    side = over * random.uniform(0.4, 1.0)
    corners, turn = _lying(_broken(np.array([0 * along, along, along + side, side]), random), length_um)
    canvas = _canvas(corners)
    edge = canvas.polygon(corners)
    thick = float(np.clip(length_um * np.exp(random.normal(np.log(0.35), 0.5)), 0.2, SHARD_DEEPEST_UM))
    way = random.uniform(0, 2 * np.pi)
    ramp = 0.5 + (canvas.x * np.cos(way) + canvas.y * np.sin(way)) / length_um
    loss = random.uniform(0.1, 0.9) * np.clip(ramp, 0, 1)
    for cleavage in (turn, turn + corner):
        across = canvas.y * np.cos(cleavage) - canvas.x * np.sin(cleavage)
        for _ in range(random.integers(0, 3)):
            loss = loss + random.uniform(0.08, 0.25) * canvas.inside(across - random.uniform(-0.35, 0.35) * length_um)
    wall = EDGE_UM + np.tan(np.deg2rad(DIHEDRAL_DEG)) * np.maximum(-edge, 0)
    left = np.clip(1 - loss, 0.1, 1)
    height = np.minimum(thick * left / left[edge < 0].max(), wall)
    if random.random() < 0.5:
        x, y = min(over - along, over + along, key=np.linalg.norm)  # the short diagonal bisects the obtuse angle
        axis = (turn + float(np.arctan2(y, x)), float(np.deg2rad(AXIS_ON_FACE_DEG)))
    else:
        axis = (random.uniform(0, np.pi), float(np.arcsin(random.uniform(0, 1))))
    bottom = np.full_like(edge, -thick / 2)
    return _grain(canvas, edge, np.asarray(bottom + height), bottom, CALCITE, axis)


KINDS: tuple[Kind, ...] = (
    Kind("quartz", "quartz", True, 12, Sizes(5.0, 0.6, 2.0, 30.0), (0.3, 2.5), quartz),
    Kind("shard", "shard", True, 12, Sizes(4.0, 0.65, 1.0, 15.0), (0.2, 2.0), shard),
)
