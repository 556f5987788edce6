"""Matter of some height, cut into slices; and lattices of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from drivers.virtual_slide.matter import Map, Material, Slice

Part = tuple[Map, Map]
"""Thickness along the light, and height of its middle, both (H, W) in um."""


def cut(parts: Sequence[Part], material: Material, step_um: float) -> list[Slice]:
    """Cut sheets, shells and lumps into flat slices at most `step_um` apart.

    What is thinner than a step is shared out between the two slices nearest to it, so that a curved sheet shows no
    terraces.
    """
    spans = [np.maximum(np.abs(thickness), step_um) / 2 for thickness, _ in parts]
    seen = [thickness != 0 for thickness, _ in parts]
    low = min(float((h - s)[o].min()) for (_, h), s, o in zip(parts, spans, seen, strict=True) if o.any())
    high = max(float((h + s)[o].max()) for (_, h), s, o in zip(parts, spans, seen, strict=True) if o.any())
    count = max(1, int(np.ceil((high - low) / step_um - 1e-3)))
    borders = np.linspace(low, high, count + 1)
    slices = []
    for bottom, top in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        matter = sum(
            thickness * np.clip(np.minimum(h + s, top) - np.maximum(h - s, bottom), 0, None) / (2 * s)
            for (thickness, h), s in zip(parts, spans, strict=True)
        )
        slices.append(Slice((bottom + top) / 2, material, np.asarray(matter)))
    return slices


def soft(distance_um: Map, softness_um: float = 0.15) -> Map:
    """Coverage where a distance is negative, with a border that the grid can carry."""
    return np.asarray(np.clip(0.5 - distance_um / softness_um, 0, 1))


def hexagons(reach_um: float, spacing_um: float) -> NDArray[np.float64]:
    """Points (N, 2) of a hexagonal lattice around zero, rows along x."""
    count = int(np.ceil(reach_um / spacing_um / 0.85)) + 1
    row, column = np.meshgrid(np.arange(-count, count + 1), np.arange(-count, count + 1), indexing="ij")
    points = np.stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)], axis=-1).reshape(-1, 2) * spacing_um
    return np.asarray(points[np.hypot(*points.T) <= reach_um])


def sectors(reach_um: float, spacing_um: float, count: int) -> NDArray[np.float64]:
    """Points of a lattice in sectors, in each of which the rows are parallel to its middle (fasciculate)."""
    lattice = hexagons(reach_um, spacing_um)
    half = np.pi / count
    one = lattice[(np.abs(np.arctan2(lattice[:, 1], lattice[:, 0])) <= half) & (lattice[:, 0] > 0)]
    turns = np.arange(count) * 2 * half
    every = [one @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in turns]
    points = np.concatenate([np.zeros((1, 2)), *every])
    # Two that meet at the border of their sectors become one between them.
    crowded = np.array(sorted(cKDTree(points).query_pairs(0.72 * spacing_um)), np.intp).reshape(-1, 2)
    points[crowded[:, 0]] = (points[crowded[:, 0]] + points[crowded[:, 1]]) / 2
    return np.asarray(np.delete(points, np.unique(crowded[:, 1]), axis=0))


def disclination(reach_um: float, spacing_um: float, count: int) -> NDArray[np.float64]:
    """Points of a lattice bent so that the middle one has `count` neighbours instead of six (eccentric rows).

    The map z^(6 / count) keeps angles, so the cells stay regular.
    """
    power = 6 / count
    lattice = hexagons(spacing_um * (reach_um / spacing_um) ** (1 / power) * 1.1, spacing_um)
    radius, angle = np.hypot(*lattice.T), np.arctan2(lattice[:, 1], lattice[:, 0])
    one = (angle > -np.pi / 6 + 1e-6) & (angle <= np.pi / 6 + 1e-6) & (radius > 0)
    r, a = spacing_um * (radius[one] / spacing_um) ** power, angle[one] * power
    turned = (a[:, None] + np.arange(count) * 2 * np.pi / count).ravel()
    points = np.repeat(r, count)[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=1)
    return np.concatenate([np.zeros((1, 2)), points[np.hypot(*points.T) <= reach_um]])


def relaxed(points: NDArray[np.float64], spacing_um: float, rounds: int = 5) -> NDArray[np.float64]:
    """Move inner points to the middle of their cells (S. Lloyd 1982), which evens out where sectors meet."""
    reach = float(np.hypot(*points.T).max())
    side = np.arange(-reach, reach, spacing_um / 6)
    samples = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    samples = samples[np.hypot(*samples.T) <= reach]
    inner = np.hypot(*points.T) < reach - 1.5 * spacing_um
    for _ in range(rounds):
        owner = cKDTree(points).query(samples)[1]
        count = np.maximum(np.bincount(owner, minlength=len(points)), 1)
        middles = [np.bincount(owner, samples[:, axis], minlength=len(points)) / count for axis in (0, 1)]
        points = np.where(inner[:, None], np.stack(middles, axis=1), points)
    return points


def cells(x: Map, y: Map, points: NDArray[np.float64]) -> tuple[Map, Map]:
    """Distance of every pixel to the border of its cell (Voronoi) and to the cell's point, in um."""
    distance, index = cKDTree(points).query(np.stack([x.ravel(), y.ravel()], axis=1), k=2)
    between = np.hypot(*(points[index[:, 0]] - points[index[:, 1]]).T)
    border = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * between)
    return border.reshape(x.shape), distance[:, 0].reshape(x.shape)
