"""How specimens break: along one ragged crack, or as real valves do, into halves, wedges, sickles and pieces of rim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from drivers.virtual_slide.matter import Body, Map, Slice

SLENDER = 2.5
"""What is so many times longer than wide breaks across."""
LEAST = 0.12
"""Share of its area that is left at least."""


def crack(body: Body, random: np.random.Generator) -> Body:
    """Keep the larger side of a ragged crack that runs about across the body."""
    x, y = _places(body)
    half = _half_um(body)
    turn = float(random.uniform(-0.6, 0.6))
    where = float(random.uniform(-0.05, 0.5)) * half
    across = -x * np.sin(turn) + y * np.cos(turn)
    wobble = sum(
        float(random.normal(0, 0.03 * half / k)) * np.sin(k * np.pi * across / half + float(random.uniform(0, 6)))
        for k in (1, 2, 4, 7)
    )
    beyond = x * np.cos(turn) + y * np.sin(turn) - where + wobble
    return _kept(body, np.asarray(np.clip(0.5 - beyond / (2 * body.pixel_um), 0, 1), np.float32))


def shatter(body: Body, random: np.random.Generator) -> Body:
    """Keep one piece of a body: of a slender one either end, of a disc a half, a wedge, what a wedge left, or rim.

    Of 14 *Actinoptychus* photographed in flow (Decrop et al. 2025) half were broken so, along rays and rim.
    """
    rows, columns = np.nonzero(body.mask)
    slender = float(np.ptp(columns)) > SLENDER * max(float(np.ptp(rows)), 1.0)
    for _ in range(20):
        inside = _across(body, random) if slender else _along_rays(body, random)
        piece = _kept(body, np.asarray(np.clip(0.5 - inside / (2 * body.pixel_um), 0, 1), np.float32))
        if LEAST < piece.mask.sum() / body.mask.sum() < 0.97:
            return piece
    return crack(body, random)


def _across(body: Body, random: np.random.Generator) -> Map:
    """Signed distance, negative on the side that is kept, of a crack across at any place along the body."""
    x, y = _places(body)
    half = _half_um(body)
    turn, where = float(random.uniform(-0.5, 0.5)), float(random.uniform(-0.75, 0.75)) * half
    sign = 1.0 if where > 0 or random.random() < 0.35 else -1.0
    return np.asarray(sign * (x * np.cos(turn) + y * np.sin(turn) - where) + _ragged(random, 0.15)(y * 6 + x))


def _along_rays(body: Body, random: np.random.Generator) -> Map:
    """Signed distance of a sector around a point near the middle, sometimes cut along a circle too."""
    x, y = _places(body)
    half = _half_um(body)
    x, y = x - random.normal(0, 0.12) * half, y - random.normal(0, 0.12) * half
    start, wide = float(random.uniform(0, 2 * np.pi)), float(random.choice([0.5, 0.5, 0.35, 0.65, 0.8])) * 2 * np.pi
    r = np.hypot(x, y)
    angle = np.mod(np.arctan2(y, x) - start + _ragged(random, 0.05)(8 * r / half), 2 * np.pi)
    # Distance to the nearer of the sector's two rays.
    away = np.minimum(angle, wide - angle)
    sector = -r * np.sin(np.clip(away, -np.pi / 2, np.pi / 2))
    if random.random() < 0.3:
        ring = float(random.uniform(0.4, 0.75)) * half
        circle = r - ring + _ragged(random, 0.03 * half)(9 * angle)
        return np.asarray(np.maximum(sector, circle if random.random() < 0.4 else -circle))
    return np.asarray(sector)


def _ragged(random: np.random.Generator, amplitude: float) -> Callable[[Map], Map]:
    phases = random.uniform(0, 6, 3)

    def wave(along: Map) -> Map:
        return np.asarray(sum(amplitude / (k + 1) * np.sin((k + 1) * along + phases[k]) for k in range(3)))

    return wave


def _places(body: Body) -> tuple[Map, Map]:
    height, width = body.mask.shape
    y, x = (np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2) * body.pixel_um
    return x, y


def _half_um(body: Body) -> float:
    _, columns = np.nonzero(body.mask)
    return float((columns.max() - columns.min() + 1) * body.pixel_um / 2)


def _kept(body: Body, kept: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Body:
    def cut(layer: Slice) -> Slice:
        absorption = None if layer.absorption is None else layer.absorption * kept
        return Slice(layer.z_um, layer.material, layer.thickness * kept, layer.azimuth, layer.inclination, absorption)

    return replace(body, slices=tuple(cut(layer) for layer in body.slices), mask=body.mask & (kept > 0.5))
