"""The closed line that fits a box and along which an edge is seen best, where gaps and what crosses it are many.

A convex body that fills its box is nearly one of a family of curves: superellipses from the widest to a thin diagonal
one, leaning either way. Around each of them the best closed path is searched by dynamic programming (A. Amini, T.
Weymouth and R. Jain 1990, IEEE Trans. Pattern Anal. Mach. Intell. 12, 855): coarsely around all, finely around the
best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.objects import contour as closed
from inference.objects.contour import Floats, Points
from inference.objects.edges import EVENING_UM, Gradient
from inference.objects.objects import Box
from inference.objects.search import Search

NARROWER = 1.22
"""Each curve of the family is narrower than the one before by this factor."""
NARROWEST_UM = 0.6
"""Half the width of the narrowest one."""
EXPONENTS = (2.0, 3.0)
"""Of superellipses: an ellipse, and one with blunt ends."""
END_SHARE, END_UM = 0.07, 0.5
"""How far the ends of a body may lie from those of its curve."""
FLANK_SHARE, FLANK_UM = 0.18, 0.35
"""How far its flanks may, at most 0.4 of half its width."""
FIT_POWER = 0.7
"""How much it counts that a line fits the box, beside how surely an edge is seen along it."""
STEEPNESS = 0.06
"""Evidence that a step inward or outward costs."""
COARSE, FINE = (96, 31), (224, 25)
"""Points along a curve, and across it."""
NEAR_UM, NEAR_SHARE = 0.35, 0.012
"""How far from the coarse path the fine one may lie, in um or in lengths of the curve."""
ENDS = np.linspace(-0.1, 0.06, 17)
"""Shares of half the length by which an end is moved to where edges are seen best: paths follow flanks, not ends."""
LONG = 1.4
"""Length over width from which on a curve has ends."""
TAKEN_UP = 4
"""Curves that are searched finely."""


class ClosedLine(NamedTuple):
    """A closed line.

    Attributes
    ----------
    points
        (N, 2) x, y, in px.
    seen
        how surely an edge runs along it at each of them, from 0 to 1.
    """

    points: Points
    seen: Floats


class _Superellipse(NamedTuple):
    """A superellipse around the centre of a box: half axes in px, exponent, and its lean from x towards y."""

    long: float
    short: float
    exponent: float
    lean: float


def rims(gradient: Gradient, search: Search) -> list[ClosedLine]:
    """Search closed lines that fill a box; those that fit the box and show an edge come first."""
    curves = list(_family(search.box, search.pixel_um))
    coarse = _paths(gradient, _grids(curves, search, COARSE))
    best = sorted(range(len(curves)), key=lambda number: -worth(coarse[number], search))[:TAKEN_UP]
    near = [_near(_with_ends(coarse[number].points, curves[number], gradient, search), search) for number in best]
    fine = [ClosedLine(search.within(one.points), one.seen) for one in _paths(gradient, np.stack(near))]
    return sorted(fine, key=lambda one: -worth(one, search))


def worth(rim: ClosedLine, search: Search) -> float:
    """How well a line shows an edge and fits the box."""
    return float(rim.seen.mean() * search.fit(rim.points) ** FIT_POWER)


def _family(box: Box, pixel_um: float) -> list[_Superellipse]:
    """Curves that fill a box, from the widest to a thin diagonal one."""
    width, height = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    widest = short = min(width, height)
    curves = []
    while short == widest or short > NARROWEST_UM / pixel_um:
        long = math.sqrt(max(width**2 + height**2 - short**2, short**2))
        # The extents of a leaning ellipse along x and y are those of the box.
        even = long**2 - short**2
        lean = 0.5 * math.acos(min(max((width**2 - height**2) / even, -1.0), 1.0)) if even > 0 else 0.0
        leans = (lean,) if short == widest else (lean, -lean)
        curves += [_Superellipse(long, short, exponent, one) for one in leans for exponent in EXPONENTS]
        short /= NARROWER
    return curves


def _paths(gradient: Gradient, grids: NDArray[np.float64]) -> list[ClosedLine]:
    """Best closed paths through grids (K, N, S, 2) along curves and across them."""
    along = np.roll(grids, -1, axis=1) - np.roll(grids, 1, axis=1)
    curves, count, deep, _ = grids.shape
    flat = (curves * count, deep, 2)
    seen: Floats = gradient.seen(grids.reshape(flat), along.reshape(flat)).reshape(grids.shape[:3])
    seen = np.asarray((seen + np.roll(seen, 1, axis=1) + np.roll(seen, -1, axis=1)) / 3, np.float32)
    path, told = _best_paths(seen, (-1,) if gradient.darker else (1, -1))
    points = grids[np.arange(curves)[:, None], np.arange(count), path]
    return [ClosedLine(*one) for one in zip(points, told, strict=True)]


def _with_ends(points: Points, curve: _Superellipse, gradient: Gradient, search: Search) -> Points:
    """Move the ends of a line along its axis to where edges are seen best."""
    if curve.long < LONG * curve.short:
        return points
    x0, y0, x1, y1 = search.box
    axis = np.array([math.cos(curve.lean), math.sin(curve.lean)])
    for side in (axis, -axis):
        along = (points - ((x0 + x1) / 2, (y0 + y1) / 2)) @ side
        moved = points + (ENDS[:, None] * np.maximum(along, 0))[..., None] * side
        ways = np.roll(moved, -1, axis=1) - np.roll(moved, 1, axis=1)
        length = np.hypot(ways[..., 0], ways[..., 1])
        there = gradient.seen(moved, ways)
        seen = np.maximum(-there, 0) if gradient.darker else np.abs(there)
        seen = (seen * length).sum(axis=1) / length.sum(axis=1)
        points = moved[int(seen.argmax())]
    return points


def _near(points: Points, search: Search) -> NDArray[np.float64]:
    """Points (N, S, 2) along a line, evenly apart, and across it, from inside outward."""
    count, deep = FINE
    line = closed.evenly(closed.even(points, EVENING_UM / search.pixel_um), count)
    reach = max(NEAR_UM / search.pixel_um, NEAR_SHARE * float(np.ptp(points, axis=0).max()))
    away = np.linspace(-reach, reach, deep)
    return np.asarray(closed.across(line, closed.outward(line, 1.0), away), np.float64)


def _grids(curves: list[_Superellipse], search: Search, size: tuple[int, int]) -> NDArray[np.float64]:
    """Points (K, N, S, 2) in the middle of a box: along curves, evenly apart, and across them, from inside outward."""
    (count, deep), (x0, y0, x1, y1), pixel_um = size, search.box, search.pixel_um
    long, short, exponent, lean = (part[:, None] for part in np.array(curves).T)
    turn, c, s = np.linspace(0, 2 * np.pi, 4 * count, endpoint=False), np.cos(lean), np.sin(lean)
    u = long * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / exponent)
    v = short * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / exponent)
    # A superellipse reaches beyond the box by a little where it leans.
    reach = np.maximum(
        np.abs(c * u - s * v).max(axis=1) / ((x1 - x0) / 2), np.abs(s * u + c * v).max(axis=1) / ((y1 - y0) / 2)
    )
    even = [closed.evenly(one, count) for one in np.stack([u, v], axis=-1) / reach[:, None, None]]
    u, v = np.moveaxis(np.stack(even), -1, 0)[..., None]
    away = np.linspace(-1, 1, deep)
    u = u * (1 + away * np.maximum(END_SHARE, END_UM / pixel_um / long)[..., None])
    v = v * (1 + away * np.maximum(FLANK_SHARE, np.minimum(FLANK_UM / pixel_um / short, 0.4))[..., None])
    c, s = c[..., None], s[..., None]
    return np.stack([c * u - s * v + (x0 + x1) / 2, s * u + c * v + (y0 + y1) / 2], axis=-1)


def _best_paths(seen: Floats, sides: tuple[int, ...]) -> tuple[NDArray[np.intp], Floats]:
    """Best closed paths (K, N) through what is seen (K, N, S), and what is seen along them.

    Along a path the same side is brighter, that of `sides` (1 inside, -1 outside) which shows it best; from point to
    point it goes a step in or out at most. Each runs around twice; the middle of its way, whose ends have met, is
    taken.
    """
    curves, count, deep = seen.shape
    sided = np.ascontiguousarray(np.maximum(np.concatenate([side * seen for side in sides]), 0).swapaxes(0, 1))
    value = np.zeros((len(sides) * curves, deep), np.float32)
    came = np.zeros((2 * count, *value.shape), np.int8)
    inner, outer = np.full((2, *value.shape), -np.inf, np.float32)
    for number in range(2 * count):
        inner[:, 1:], outer[:, :-1] = value[:, :-1] - STEEPNESS, value[:, 1:] - STEEPNESS
        stepped = np.maximum(inner, outer)
        came[number] = np.where(stepped > value, np.where(inner >= outer, -1, 1), 0)
        value = np.maximum(value, stepped) + sided[number % count]
    curve = np.arange(curves)
    curve = curve + curves * value.max(axis=1).reshape(len(sides), curves).argmax(axis=0)
    path = np.zeros((2 * count, curves), np.intp)
    at = value[curve].argmax(axis=1)
    for number in range(2 * count - 1, -1, -1):
        path[number] = at
        at = at + came[number, curve, at]
    middle = path[count // 2 : count // 2 + count]
    path = np.asarray(np.roll(middle, count // 2, axis=0).T)
    return path, np.asarray(sided[np.arange(count), curve[:, None], path])
