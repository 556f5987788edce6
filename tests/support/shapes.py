"""Random polygons and label images, as odd as they may be, and what must hold of their shapes and outlines."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.objects.mass import WeighedObject
from calibration.objects.shape import ShapeGroup, shape_of
from inference.objects.outline import find_outline
from inference.objects.search import BEYOND_BOX_UM

coordinates = st.floats(-40, 300, width=32) | st.integers(0, 60).map(float)


@st.composite
def polygons(draw: st.DrawFn) -> NDArray[np.float64]:
    """Points (N, 2): on a line, equal, crossing themselves, or a star about some point."""
    count = draw(st.integers(1, 40))
    kind = draw(st.sampled_from(["any", "star", "line", "same"]))
    if kind == "star":
        radii = np.array(draw(st.lists(st.floats(0.01, 120), min_size=count, max_size=count)))
        turn = np.sort(draw(st.lists(st.floats(0, 6.28), min_size=count, max_size=count)))
        return np.stack([100 + radii * np.cos(turn), 90 + radii * np.sin(turn)], axis=1)
    points = np.array(draw(st.lists(st.tuples(coordinates, coordinates), min_size=count, max_size=count)), np.float64)
    if kind == "line":
        points[:, 1] = points[:, 0] * draw(st.floats(-2, 2))
    return np.repeat(points[:1], count, axis=0) if kind == "same" else points


@st.composite
def label_images(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Masks (h, w) of discs, bars, noise, nothing and everything."""
    height, width = draw(st.tuples(st.integers(12, 90), st.integers(12, 90)))
    mask = np.full((height, width), draw(st.booleans()) and draw(st.booleans()))
    y, x = np.mgrid[:height, :width]
    for _ in range(draw(st.integers(0, 5))):
        row, column, size = (draw(st.integers(0, 90)) for _ in range(3))
        form = draw(st.sampled_from(["disc", "ring", "bar", "noise"]))
        distance = np.hypot(y - row, x - column)
        random = np.random.default_rng(size)
        there = {
            "disc": distance < size / 2,
            "ring": np.abs(distance - size / 2) < 1.5,
            "bar": np.abs((y - row) - (x - column)) <= size % 4,
            "noise": random.random(mask.shape) < 0.1,
        }[form]
        mask = mask ^ there if draw(st.booleans()) else mask | there
    return np.asarray(mask)


def check_shape(points: NDArray[np.float64], group: ShapeGroup) -> None:
    """Measure a polygon: nothing raises, and what is told is possible."""
    shape = shape_of(points, 0.1, group)
    if shape is None:
        return
    diagonal_um = float(np.hypot(*np.ptp(points, axis=0))) * 0.1
    numbers = [value for value in asdict(shape).values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    assert 0 < shape.feret_um <= diagonal_um * (1 + 1e-6)
    assert 0 <= shape.solidity <= 1
    assert shape.area_um2 > 0


def check_weighed(mask: NDArray[np.bool_]) -> None:
    """Ask for the surroundings of any label image."""
    sight = WeighedObject((0, 0, mask.shape[1], mask.shape[0]), mask, 0, 1, 1.0)
    near = sight.dilated(0.4, 0.1)
    assert (near | ~mask).all()
    assert not (sight.around(near) & mask).any()


def check_outline(mask: NDArray[np.bool_], pixel_um: float, convex: bool) -> None:
    """Outline any label image as a dark and a bright field show it: simple, inside box and margin, or none."""
    noise = np.random.default_rng(7).normal(0, 20, mask.shape)
    bright = (20000 - 3000.0 * mask + noise).astype(np.float32)
    dark = (50 + 900.0 * mask + noise / 4).astype(np.float32)
    height, width = mask.shape
    box = (min(3, width - 2), min(3, height - 2), max(width - 3, 4), max(height - 3, 4))
    for by_dark, by_bright in ((dark, bright), (None, bright), (dark, None)):
        outline = find_outline(by_dark, by_bright, box, pixel_um, convex=convex)
        if outline is None:
            continue
        reach = round(BEYOND_BOX_UM / pixel_um) + 1e-6
        low, high = outline.points.min(axis=0), outline.points.max(axis=0)
        assert (low >= (box[0] - reach, box[1] - reach)).all()
        assert (high <= (box[2] + reach, box[3] + reach)).all()
        assert not any_sides_cross(outline.points)
        assert outline.inside.any()


def any_sides_cross(points: NDArray[np.float64]) -> bool:
    """Whether any two sides of a polygon that do not follow each other cross."""
    way = np.roll(points, -1, axis=0) - points
    between = points[None] - points[:, None]
    cross = way[:, None, 0] * way[None, :, 1] - way[:, None, 1] * way[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        here = (between[..., 0] * way[None, :, 1] - between[..., 1] * way[None, :, 0]) / cross
        there = (between[..., 0] * way[:, None, 1] - between[..., 1] * way[:, None, 0]) / cross
    met = (here > 1e-9) & (here < 1 - 1e-9) & (there > 1e-9) & (there < 1 - 1e-9)
    return bool(met.any())
