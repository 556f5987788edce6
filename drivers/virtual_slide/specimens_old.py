"""Bodies of the virtual slide: what each kind of object is made of, as slices of phase, absorption and retardance.

Shapes are simplified from light micrographs; sizes and thicknesses follow the literature where it gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.canvas import Canvas
from drivers.virtual_slide.optics import CALCITE_DN, QUARTZ_DN, Image, Slice, phase, retardance
from drivers.virtual_slide.seeds import generator

# Refractive index less that of the mounting medium, 1.56; calcite by its mean over all directions of the axis.
OPAL = 1.44 - 1.56
CALCITE = 1.60 - 1.56
CLAY = 1.58 - 1.56
QUARTZ = 1.55 - 1.56
_SHAPES = 1802


@dataclass(frozen=True)
class Specimen:
    """One kind of object, lying along x, its centre in the middle of the grid.

    Attributes
    ----------
    class_name : a detector class, or the kind of junk.
    outline_um : (N, 2) x, y of the border of its body, relative to its centre.
    size_um : its length. thickness_um : mean thickness where it is not empty.
    """

    class_name: str
    junk: bool
    slices: tuple[Slice, ...]
    outline_um: NDArray[np.float64]
    size_um: float
    thickness_um: float


def _ellipse_outline(a_um: float, b_um: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return np.stack([a_um * np.cos(angle), b_um * np.sin(angle)], axis=1)


def _coccolith(length_um: float, aspect: float, thickness: Callable[[Canvas, Image, Image], Image]) -> Specimen:
    """Draw a ring of radially arranged crystals; `thickness` gets the canvas, the share of the radius and the angle."""
    a, b = length_um / 2, length_um / 2 * aspect
    canvas = Canvas(2 * a, 2 * b)
    rho, angle = canvas.ellipse(a, b), np.arctan2(canvas.y / b, canvas.x / a).astype(np.float32)
    d = (thickness(canvas, rho, angle) * canvas.inside((rho - 1) * b)).astype(np.float32)
    layer = canvas.layer(
        phase_rad=phase(d, CALCITE),
        retardance_rad=retardance(d, CALCITE_DN),
        azimuth=np.arctan2(canvas.y, canvas.x).astype(np.float32),
    )
    return Specimen("coccolith", False, (layer,), _ellipse_outline(a, b), length_um, float(d[d > 0.01].mean()))


def _emiliania(canvas: Canvas, rho: Image, angle: Image) -> Image:
    slits = 0.55 + 0.45 * np.clip(1.5 * np.cos(20 * angle), -1, 1)
    shield, tube = canvas.band(rho, 0.6, 1.0, 1.7), canvas.band(rho, 0.42, 0.66, 1.7)
    return np.asarray(0.14 * shield * slits + 0.06 * shield + 0.30 * tube, np.float32)


def _gephyrocapsa(canvas: Canvas, rho: Image, angle: Image) -> Image:
    shield, tube = canvas.band(rho, 0.6, 1.0, 2.2), canvas.band(rho, 0.42, 0.66, 2.2)
    across = canvas.y * np.cos(0.35) - canvas.x * np.sin(0.35)
    bridge = canvas.inside(np.abs(canvas.x * np.cos(0.35) + canvas.y * np.sin(0.35)) - 0.25)
    bridge = bridge * canvas.inside((rho - 0.5) * 2.2) * (np.abs(across) > 0.12)
    return np.asarray(shield * (0.22 + 0.04 * np.cos(30 * angle)) + 0.42 * tube + 0.4 * bridge, np.float32)


def _calcidiscus(canvas: Canvas, rho: Image, angle: Image) -> Image:
    spiral = 0.5 + 0.5 * np.cos(28 * (angle + 1.2 * rho))
    disc, tube = canvas.band(rho, 0.12, 1.0, 3.2), canvas.band(rho, 0.14, 0.42, 3.2)
    return np.asarray(disc * (0.20 + 0.08 * spiral) + 0.55 * tube, np.float32)


def _coccolithus(canvas: Canvas, rho: Image, angle: Image) -> Image:
    shield = canvas.band(rho, 0.32, 1.0, 4.2) * (0.16 + 0.05 * np.cos(36 * angle))
    tube, collar = canvas.band(rho, 0.36, 0.52, 4.2), canvas.band(rho, 0.52, 0.68, 4.2)
    cross = canvas.inside(np.minimum(np.abs(canvas.x), np.abs(canvas.y)) - 0.2) * canvas.inside((rho - 0.34) * 4.2)
    return np.asarray(shield + 0.75 * tube + 0.3 * collar + 0.25 * cross, np.float32)


def _areolae(canvas: Canvas, spacing_um: float) -> Image:
    """Draw a hexagonal mesh of pores, between 0 and 1."""
    k = 4 * np.pi / (np.sqrt(3) * spacing_um)
    waves = [np.cos(k * (canvas.x * np.cos(t) + canvas.y * np.sin(t))) for t in (0, np.pi / 3, 2 * np.pi / 3)]
    return np.asarray(np.clip((sum(waves) + 0.6) / 1.6, 0, 1), np.float32)


def _centric(diameter_um: float, spacing_um: float, wall_um: float) -> Specimen:
    """Draw a drum: two perforated valves, one above the other, joined by a rim."""
    radius = diameter_um / 2
    canvas = Canvas(diameter_um, diameter_um)
    rho = canvas.ellipse(radius, radius)
    disc, rim = canvas.inside((rho - 1) * radius), canvas.band(rho, 1 - 0.7 / radius, 1.0, radius)
    mesh = 1 - 0.75 * _areolae(canvas, spacing_um)
    valve = (disc * wall_um * mesh + 0.35 * rim).astype(np.float32)
    lower = (disc * wall_um * 0.25 + 0.35 * rim).astype(np.float32)
    slices = (
        canvas.layer(0.05, phase_rad=phase(valve, OPAL), absorption=0.10 * rim),
        canvas.layer(0.8, phase_rad=phase(lower, OPAL), absorption=0.08 * rim),
    )
    return Specimen("diatom", False, slices, _ellipse_outline(radius, radius), diameter_um, wall_um * 0.8)


def _pennate(length_um: float, width_um: float, striae_um: float, wall_um: float) -> Specimen:
    """Draw a lens-shaped valve with transverse striae on either side of a raphe."""
    a, b = length_um / 2, width_um / 2
    canvas = Canvas(length_um, width_um)
    shape = b * np.clip(1 - np.abs(canvas.x / a) ** 2.2, 0, 1) ** 0.8
    edge = np.abs(canvas.y) - shape
    body = canvas.inside(edge, 0.15) * (np.abs(canvas.x) <= a)
    rim = body * canvas.inside(-edge - 0.45, 0.15)
    raphe = canvas.inside(np.abs(canvas.y) - 0.18, 0.15) * body
    knot = canvas.inside(np.hypot(canvas.x, canvas.y) - 0.22 * width_um, 0.2) * body
    stripes = (0.5 + 0.5 * np.cos(2 * np.pi * canvas.x / striae_um)) * (1 - np.maximum(raphe, knot))
    d = (wall_um * body * (1 - 0.7 * stripes) + 0.4 * rim + 0.25 * raphe).astype(np.float32)
    layer = canvas.layer(phase_rad=phase(d, OPAL), absorption=(0.10 * rim + 0.05 * raphe).astype(np.float32))
    under = canvas.layer(0.6, phase_rad=phase((0.3 * rim).astype(np.float32), OPAL), absorption=0.06 * rim)
    x = np.linspace(-a, a, 48)
    y = b * np.clip(1 - np.abs(x / a) ** 2.2, 0, 1) ** 0.8
    outline = np.concatenate([np.stack([x, y], axis=1), np.stack([x, -y], axis=1)])
    return Specimen("diatom", False, (layer, under), outline, length_um, wall_um)


def _silicoflagellate(span_um: float, corners: int, bar_um: float) -> Specimen:
    """Draw a basal ring of rods with spines, and struts that rise to an apical ring or bar."""
    outer, basal, apex = span_um / 2, 0.62 * span_um / 2, 0.28 * span_um / 2
    canvas = Canvas(span_um + bar_um, span_um + bar_um)
    angle = np.arange(corners) * 2 * np.pi / corners
    stretch = np.array([1.0, 0.85])

    def at(radius: float, turn: float = 0.0) -> NDArray[np.float64]:
        return np.asarray(np.stack([np.cos(angle + turn), np.sin(angle + turn)], axis=1) * radius * stretch)

    ring, tips, half = at(basal), at(outer), np.pi / corners
    middles, top = at(basal * np.cos(half), half), at(apex, half)

    def rods(starts: NDArray[np.float64], ends: NDArray[np.float64], width: float) -> Image:
        bars = [canvas.rod((*a, *b), width) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        return np.asarray(np.max(bars, axis=0), np.float32)

    base = np.maximum(rods(ring, np.roll(ring, -1, axis=0), bar_um), rods(ring, tips, 0.6 * bar_um))
    struts, crown = rods(middles, top, 0.8 * bar_um), rods(top, np.roll(top, -1, axis=0), 0.8 * bar_um)
    slices = tuple(
        canvas.layer(z, phase_rad=phase(d, OPAL), absorption=(0.12 * d).astype(np.float32))
        for z, d in ((0.0, base), (-1.1, struts), (-2.0, crown))
    )
    outline = np.concatenate([tips + bar_um * 0.3 * np.array(side) for side in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    return Specimen("silicoflagellate", False, slices, outline, span_um, float(base[base > 0].mean()))


def _corners(random: np.random.Generator, size_um: float, count: int, aspect: float) -> NDArray[np.float64]:
    angle = (np.arange(count) + random.uniform(-0.35, 0.35, count)) * 2 * np.pi / count
    radius = size_um / 2 * random.uniform(0.8, 1.0, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle) * aspect], axis=1)


def _quartz(size_um: float, thickness_um: float, random: np.random.Generator) -> Specimen:
    """Draw an angular grain, flat and grey in crossed light, almost invisible in parallel."""
    corners = _corners(random, size_um, 6, 0.8)
    canvas = Canvas(size_um, size_um)
    d = (np.clip(-canvas.polygon(corners) / 0.8, 0, 1) * thickness_um).astype(np.float32)
    layer = canvas.layer(phase_rad=phase(d, QUARTZ), retardance_rad=retardance(d, QUARTZ_DN), azimuth=0.6)
    return Specimen("quartz", True, (layer,), corners, size_um, thickness_um)


def _shard(size_um: float, thickness_um: float, random: np.random.Generator) -> Specimen:
    """Draw a wedge of calcite with one optic axis: bright and banded in crossed light, without a ring."""
    corners = _corners(random, size_um, 5, 0.6)
    canvas = Canvas(size_um, size_um * 0.7)
    wedge = 0.65 + 0.7 * canvas.x / size_um + 0.3 * canvas.y / size_um
    d = (np.clip(-canvas.polygon(corners) / 0.3, 0, 1) * np.clip(wedge, 0.1, None) * thickness_um).astype(np.float32)
    layer = canvas.layer(phase_rad=phase(d, CALCITE), retardance_rad=retardance(d, CALCITE_DN), azimuth=0.9)
    return Specimen("shard", True, (layer,), corners, size_um, thickness_um * 0.7)


def _aggregate(size_um: float, random: np.random.Generator) -> Specimen:
    """Draw a lump of clay with speckles of calcite, brown and deep."""
    canvas = Canvas(size_um, size_um)
    slices, reach = [], []
    for z in (0.0, -0.8, -1.6):
        lump, speck = canvas.empty.copy(), canvas.empty.copy()
        for _ in range(14):
            turn, away = random.uniform(0, 2 * np.pi), size_um * 0.36 * np.sqrt(random.uniform())
            cx, cy, r = away * np.cos(turn), away * np.sin(turn) * 0.8, size_um * random.uniform(0.05, 0.12)
            lump = np.maximum(lump, canvas.inside(np.hypot(canvas.x - cx, canvas.y - cy) - r, 0.3))
            reach.append((cx, cy, r))
        for cx, cy, r in reach[-5:]:
            speck += canvas.inside(np.hypot(canvas.x - cx, canvas.y - cy) - 0.25 * r, 0.3)
        grain = cv2.GaussianBlur(random.uniform(0, 1, lump.shape).astype(np.float32), (0, 0), 2.5)
        grain = np.clip((grain - 0.5) * 6 + 0.5, 0, 1).astype(np.float32)
        slices.append(
            canvas.layer(
                z,
                phase_rad=phase(1.6 * lump * grain, CLAY),
                absorption=(0.28 * lump * (0.4 + grain)).astype(np.float32),
                retardance_rad=retardance((0.3 * np.minimum(speck, 1)).astype(np.float32), CALCITE_DN),
                azimuth=(np.pi * grain).astype(np.float32),
            )
        )
    outline = np.concatenate([_ellipse_outline(r, r) + np.array([cx, cy]) for cx, cy, r in reach])
    return Specimen("aggregate", True, tuple(slices), outline, size_um, 2.0)


def _fluff(length_um: float, random: np.random.Generator) -> Specimen:
    """Draw a soft, absorbing streak."""
    canvas = Canvas(length_um, 0.35 * length_um)
    bend, tilt = random.uniform(0.06, 0.12) * length_um, random.uniform(1, 2)
    spine = bend * np.sin(tilt * np.pi * canvas.x / length_um)
    width = 0.05 * length_um * np.sqrt(np.clip(1 - (2 * canvas.x / length_um) ** 2, 0, 1)) + 0.01
    veil = np.exp(-(((canvas.y - spine) / width) ** 2)) * (np.abs(canvas.x) < length_um / 2)
    layer = canvas.layer(absorption=(0.14 * veil).astype(np.float32), phase_rad=(0.15 * veil).astype(np.float32))
    x = np.linspace(-length_um / 2, length_um / 2, 40)
    y = bend * np.sin(tilt * np.pi * x / length_um)
    w = 0.07 * length_um * np.sqrt(np.clip(1 - (2 * x / length_um) ** 2, 0, 1))
    outline = np.concatenate([np.stack([x, y + w], axis=1), np.stack([x, y - w], axis=1)])
    return Specimen("fluff", True, (layer,), outline, length_um, 1.0)


KINDS: dict[str, Callable[[], Specimen]] = {
    "emiliania": lambda: _coccolith(3.4, 0.86, _emiliania),
    "gephyrocapsa": lambda: _coccolith(4.4, 0.80, _gephyrocapsa),
    "calcidiscus": lambda: _coccolith(6.4, 1.0, _calcidiscus),
    "coccolithus": lambda: _coccolith(8.4, 0.84, _coccolithus),
    "thalassiosira": lambda: _centric(8.0, 0.75, 0.28),
    "actinocyclus": lambda: _centric(13.0, 1.1, 0.34),
    "navicula": lambda: _pennate(15.0, 5.0, 0.8, 0.28),
    "nitzschia": lambda: _pennate(20.0, 3.4, 0.95, 0.30),
    "dictyocha": lambda: _silicoflagellate(16.0, 4, 1.2),
    "stephanocha": lambda: _silicoflagellate(19.0, 6, 1.1),
    "quartz_small": lambda: _quartz(4.5, 3.0, generator(_SHAPES, 1)),
    "quartz_large": lambda: _quartz(9.0, 5.0, generator(_SHAPES, 2)),
    "shard_thin": lambda: _shard(5.0, 0.7, generator(_SHAPES, 3)),
    "shard_thick": lambda: _shard(7.5, 2.4, generator(_SHAPES, 4)),
    "aggregate_small": lambda: _aggregate(9.0, generator(_SHAPES, 5)),
    "aggregate_large": lambda: _aggregate(14.0, generator(_SHAPES, 6)),
    "fluff": lambda: _fluff(18.0, generator(_SHAPES, 7)),
}


@cache
def specimen(kind: str) -> Specimen:
    """Return the body of a kind; made once."""
    return KINDS[kind]()
