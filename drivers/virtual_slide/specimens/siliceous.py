"""Siliceous skeletons that are not diatoms: silicoflagellates, radiolarian lattices, sponge spicules.

To compare: K. McCartney, Siliceous flagellates (in J. Lipps, Fossil Prokaryotes and Protists, 1993); N. Boury-Esnault
and K. Ruetzler, Thesaurus of Sponge Morphology (1997).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from drivers.virtual_slide.matter import OPAL, Body, Material, Slice
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.kinds import Kind, Sizes
from drivers.virtual_slide.specimens.relief import cut, hexagons

SPONGE_OPAL = Material("sponge opal", 1.455, 0.0, 2.1)
STEPS = 10
"""At most, from the lowest to the highest slice of a skeleton: its light costs as much as it has slices."""

Point = NDArray[np.float64]


@dataclass(frozen=True)
class Bar:
    """A round bar from one node (x, y, z in um) to another.

    Attributes
    ----------
    widths
        at both ends, in um.
    waist
        width in the middle as a share of what it would be without one.
    hollow
        width of its hollow core as a share of its own.
    """

    start: Point
    end: Point
    widths: tuple[float, float]
    waist: float = 1.0
    hollow: float = 0.0


def laid_along_x(bars: Sequence[Bar], length_um: float) -> list[Bar]:
    """Turn, scale and centre bars so that the greatest distance between any two ends is a length along x."""
    ends = np.array([end for bar in bars for end in (bar.start, bar.end)])
    distance = np.hypot(*(ends[:, None, :2] - ends[None, :, :2]).transpose(2, 0, 1))
    first, last = np.unravel_index(int(distance.argmax()), distance.shape)
    across = ends[last] - ends[first]
    turn = -np.arctan2(across[1], across[0])
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    turned = ends @ matrix.T
    middle = (turned.max(axis=0) + turned.min(axis=0)) / 2 * np.array([1, 1, 0])
    scale = length_um / distance.max()

    def place(node: Point) -> Point:
        return np.asarray((matrix @ node - middle) * scale)

    return [replace(bar, start=place(bar.start), end=place(bar.end)) for bar in bars]


def skeleton(bars: Sequence[Bar]) -> Body:
    """Draw bars at their heights; where two meet at one height the thicker counts."""
    widest = max(max(bar.widths) for bar in bars)
    ends = np.abs(np.array([end for bar in bars for end in (bar.start, bar.end)]))
    canvas = Canvas(2 * float(ends[:, 0].max()) + widest, 2 * float(ends[:, 1].max()) + widest)
    heights = [end[2] for bar in bars for end in (bar.start, bar.end)]
    count = int(np.clip(round(max(heights) - min(heights)), 1, STEPS))
    step_um = (max(heights) - min(heights)) / count
    borders = np.linspace(min(heights) - step_um / 2, max(heights) + step_um / 2, count + 2)
    bottoms, tops = borders[:-1, None, None], borders[1:, None, None]
    matter = np.zeros((count + 1, *canvas.x.shape))
    for bar in bars:
        reach = max(bar.widths) / 2 + canvas.pixel_um
        around = np.array([np.minimum(bar.start, bar.end) - reach, np.maximum(bar.start, bar.end) + reach])[:, :2]
        corner = np.array([canvas.x[0, 0], canvas.y[0, 0]])
        (x0, y0), (x1, y1) = np.clip(np.round((around - corner) / canvas.pixel_um).astype(int), 0, None)
        here = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        x, y = canvas.x[here] - bar.start[0], canvas.y[here] - bar.start[1]
        dx, dy, dz = bar.end - bar.start
        along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        width = bar.widths[0] + along * (bar.widths[1] - bar.widths[0])
        width = width * (bar.waist + (1 - bar.waist) * (2 * along - 1) ** 4)
        distance = np.hypot(x - along * dx, y - along * dy)
        upright = np.hypot(np.hypot(dx, dy), dz) / max(np.hypot(dx, dy), 1e-9)
        thickness = 2 * np.sqrt(np.maximum((width / 2) ** 2 - distance**2, 0))
        thickness -= 2 * np.sqrt(np.maximum((bar.hollow * width / 2) ** 2 - distance**2, 0))
        thickness *= min(upright, 1.6)
        middle = bar.start[2] + along * dz
        half = np.maximum(thickness, borders[1] - borders[0]) / 2
        shares = np.clip(np.minimum(middle + half, tops) - np.maximum(middle - half, bottoms), 0, None)
        # What would stand out of the lowest and the highest slice is shared out among the others.
        shares = thickness * shares / shares.sum(axis=0)
        inside = (slice(None), *here)
        matter[inside] = np.maximum(matter[inside], shares)
    middles = (borders[:-1] + borders[1:]) / 2
    return canvas.body([Slice(float(z), OPAL, layer) for z, layer in zip(middles, matter, strict=True)])


def _dictyocha(length_um: float, random: np.random.Generator) -> Body:
    """Draw a basal ring with a spine at each corner, struts from the middle of its sides to an apical bar or ring.

    It lies on its basal ring, its reference plane.
    """
    hexagonal = random.random() < 0.3
    corners = 6 if hexagonal else 4
    angle = np.arange(corners) * 2 * np.pi / corners + random.normal(0, 0.04, corners)
    squash = random.uniform(0.75, 0.95)
    depth = float(np.clip(length_um * random.uniform(0.2, 0.35), 5.0, 12.0))
    tilt = random.normal(0, 0.05)

    def node(radius: float, at: float, z: float = 0.0) -> Point:
        x, y = radius * np.cos(at), squash * radius * np.sin(at)
        return np.array([x, y, z * depth / length_um + tilt * x])

    width = float(np.clip(length_um * random.uniform(0.05, 0.07), 0.9, 2.0))
    hollow = random.choice([0.0, 0.45])
    # The two spines of the long axis are the longer ones; all are about half as long as the ring is wide.
    spines = random.uniform(0.16, 0.30, corners) * np.where(np.arange(corners) % (corners // 2) == 0, 1.25, 0.9)
    ring = [node(0.3, a) for a in angle]
    after = np.roll(np.arange(corners), -1)
    sides = [(ring[i] + ring[j]) / 2 * random.uniform(0.95, 1.05) for i, j in enumerate(after)]
    bars = [Bar(ring[i], ring[j], (width, width), 0.9, hollow) for i, j in enumerate(after)]
    bars += [Bar(ring[i], node(0.3 + spines[i], a, -0.1), (width, 0.3 * width)) for i, a in enumerate(angle)]
    if hexagonal:
        top = [node(random.uniform(0.12, 0.14), a + np.pi / corners, 1.0) for a in angle]
        bars += [Bar(top[i], top[j], (width, width), 0.9, hollow) for i, j in enumerate(after)]
        bars += [Bar(sides[i], top[i], (width, 0.9 * width), 0.85, hollow) for i in range(corners)]
    else:
        turn = random.uniform(-0.25, 0.25)
        bridge = [node(0.085, turn, 1.0), node(0.085, turn + np.pi, 1.0)]
        bars.append(Bar(bridge[0], bridge[1], (width, width), 0.9, hollow))
        for side in sides:
            nearest = min(bridge, key=lambda end: float(np.hypot(*(end - side)[:2])))
            bars.append(Bar(side, nearest, (width, 0.9 * width), 0.85, hollow))
    for side in sides:
        # Small pikes point inwards from below the struts' feet.
        bars.append(Bar(side, side * np.array([0.8, 0.8, 1]) - np.array([0, 0, 0.06]), (0.6 * width, 0.25 * width)))
    return skeleton(laid_along_x(bars, length_um - 0.3 * width))


def _radiolarian(length_um: float, random: np.random.Generator) -> Body:
    """Draw a piece of a spherical lattice shell: pores in hexagonal frames, bars torn off at its border."""
    pore = float(np.clip(length_um * random.uniform(0.15, 0.2), 5.0, 14.0))
    thick = float(np.clip(pore * random.uniform(0.25, 0.4), 2.0, 5.0))
    aspect = random.uniform(0.6, 0.9)
    points = hexagons(length_um, pore)
    points = points + random.normal(0, 0.09 * pore, points.shape)
    lattice = Voronoi(points)
    rough = random.normal(0, 0.08, 3)

    def outside(node: Point) -> bool:
        at = np.arctan2(node[1] / aspect, node[0])
        border = 1 + sum(share * np.cos((n + 2) * at + 7 * share) for n, share in enumerate(rough))
        return bool(np.hypot(node[0], node[1] / aspect) > border * length_um / 2)

    pieces: list[tuple[Point, Point, bool]] = []
    for first, last in lattice.ridge_vertices:
        if first < 0 or last < 0:
            continue
        a, b = lattice.vertices[first], lattice.vertices[last]
        if outside(a) and outside(b):
            continue
        if outside(a):
            a, b = b, a
        torn = outside(b)
        pieces.append((a, a + (b - a) * random.uniform(0.2, 0.7) if torn else b, torn))
    ends = np.array([end for a, b, _ in pieces for end in (a, b)])
    span = np.hypot(*(ends[:, None] - ends[None]).transpose(2, 0, 1)).max()
    scale = (length_um - thick) / span
    deep = float(np.clip(0.18 * length_um * random.uniform(0.8, 1.2), 5.0, 10.0))
    reach = float(np.hypot(*ends.T).max()) * scale
    radius = (reach**2 + deep**2) / (2 * deep)
    side = random.choice([-1.0, 1.0])

    def dome(node: Point) -> Point:
        x, y = node * scale
        height = np.sqrt(radius**2 - x * x - y * y) - radius + deep / 2
        return np.array([x, y, side * height])

    bars = [
        Bar(dome(a), dome(b), (thick * 1.1, thick * 0.8), 1.0)
        if torn
        else Bar(dome(a), dome(b), (thick * 1.15, thick * 1.15), random.uniform(0.65, 0.85))
        for a, b, torn in pieces
    ]
    return skeleton(laid_along_x(bars, length_um - 0.8 * thick))


def _spicule(length_um: float, random: np.random.Generator) -> Body:
    """Draw a rod around its axial canal, both ends pointed (oxea), or one or both blunt (style, strongyle)."""
    half = length_um / 2
    width = float(np.clip(length_um * random.uniform(0.04, 0.09), 3.0, 15.0))
    bend = random.normal(0, 0.015) * length_um
    canvas = Canvas(length_um, width + abs(bend))
    y = canvas.y + bend * (0.5 - (canvas.x / half) ** 2)
    ends = [(8.0, 1.0, 0.5), (2.2, 1.0, 1.0)]
    left, right = [(0, 0), (0, 1), (1, 1), (1, 1)][int(random.integers(4))]
    power = np.where(canvas.x < 0, ends[left][0], ends[right][0])
    root = np.where(canvas.x < 0, ends[left][2], ends[right][2])
    r = width / 2 * np.maximum(1 - np.clip(np.abs(canvas.x) / half, 0, 1) ** power, 0) ** root
    canal_um = random.uniform(0.5, 1.0)
    # The canal ends within the rod, or opens where that was broken off.
    canal = canal_um / 2 * canvas.inside(np.abs(canvas.x) - (random.uniform(0.75, 0.9) * half), 2.0)
    rod = np.asarray(2 * np.sqrt(np.maximum(r**2 - y**2, 0)))
    hole = np.asarray(2 * np.sqrt(np.maximum(np.minimum(canal, 0.6 * r) ** 2 - y**2, 0)))
    return canvas.body(cut([(rod, canvas.empty), (-hole, canvas.empty)], SPONGE_OPAL, max(2.0, width / 4)))


KINDS: tuple[Kind, ...] = (
    Kind("dictyocha", "silicoflagellate", False, 8, Sizes(22, 0.35, 10, 45), (0.5, 2.0), _dictyocha, 0.0, "dictyocha"),
    Kind("radiolarian", "radiolarian", False, 4, Sizes(45, 0.4, 20, 90), (5.0, 9.0), _radiolarian, 0.0, "radiolarian"),
    Kind("spicule", "spicule", False, 4, Sizes(100, 0.4, 50, 200), (3.0, 7.5), _spicule, 0.5, "spicule"),
)
