"""Pictures for those who watch: small, in a range that shows something, of the objects that are worth a look."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from daemon.analysis.previews import STRIPS_A_FIELD, TILE_PX, VIEW_PX, choose, draw_strips, draw_views
from daemon.records.records import ObjectRow
from inference.objects.objects import FoundObject, StackAnalysis, StackFocus
from tests.support.small_night import object_row

BACKGROUND_DN = 200


def opened(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def field(height: int, width: int, planes: int = 5) -> NDArray[np.uint16]:
    """A noisy stack whose plane 3 holds a square: a bright one in a dark field, a dark one in a bright field."""
    noise = np.random.default_rng(1).normal(0, 4, (2, planes, height, width))
    stack = noise + np.array([BACKGROUND_DN, 30_000])[:, None, None, None]
    stack[0, 3, height // 4 : height // 2, width // 4 : width // 2] += 5000
    stack[1, 3, height // 4 : height // 2, width // 4 : width // 2] -= 20_000
    return np.asarray(stack, np.uint16)


def analysis(best_plane: float | None, height: int = 64, width: int = 64) -> StackAnalysis:
    overview = np.full((height, width, 3), 140, np.uint8)
    focus, fused = StackFocus(best_plane, False, 1.0, np.ones(5, np.float32)), np.zeros((2, height, width), np.uint16)
    return StackAnalysis((), focus, (0.0, 0.0), overview, fused, np.zeros((height, width), np.intp), {})


def found(crop: NDArray[np.uint16]) -> FoundObject:
    box = (0, 0, crop.shape[3], crop.shape[2])
    return FoundObject(
        box, box, "coccolith", 0.9, False, 3.0, False, np.ones(5, np.float32), False, crop, crop[:, 0].copy()
    )


@pytest.mark.slow
def test_views_are_small_and_show_the_sharpest_plane() -> None:
    stack = field(1500, 2100)
    fused, crossed, parallel = map(opened, draw_views(stack, analysis(3.2)))
    assert fused.shape == (64, 64, 3)
    assert crossed.shape == parallel.shape == (731, VIEW_PX)
    inside, outside = (slice(200, 350), slice(280, 500)), (slice(400, 700), slice(600, 1000))
    assert crossed[inside].mean() > 240
    assert crossed[outside].mean() < 60
    assert parallel[inside].mean() < 15
    assert parallel[outside].mean() > 240


def test_noise_is_not_blown_up() -> None:
    _, crossed, _ = map(opened, draw_views(field(512, 512), analysis(None)))
    assert crossed.std() < 25


def test_strips_hold_a_row_for_each_polarization_and_a_column_for_each_plane() -> None:
    row = replace(object_row(0), number=0)
    (strip,) = draw_strips([found(field(90, 120))], [row], pixel_um=0.05)
    height, width = strip.specimen.tile_px
    assert (height, width) == (54, TILE_PX)
    assert strip.specimen.tile_um == 6.0
    shown = opened(strip.jpeg).reshape(2, height, 5, width).swapaxes(1, 2)
    square = (slice(height // 4 + 3, height // 2 - 3), slice(width // 4 + 3, width // 2 - 3))
    levels = shown[..., square[0], square[1]].mean(axis=(2, 3))
    assert np.argmax(levels[0]) == 3
    assert np.argmin(levels[1]) == 3
    # The contrast is that of all planes together: those without the object do not show their noise.
    assert levels[0, [0, 1, 2, 4]].max() < 60
    assert shown[0, 0].std() < 25


def test_small_objects_are_not_enlarged() -> None:
    (strip,) = draw_strips([found(field(20, 31))], [object_row(0)], pixel_um=0.059)
    assert strip.specimen.tile_px == (20, 31)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 1), st.booleans(), st.booleans()), max_size=20))
def test_the_best_of_each_class_come_first_and_then_the_best_of_the_rest(
    drawn: list[tuple[str, float, bool, bool]],
) -> None:
    rows: list[ObjectRow] = [
        replace(object_row(n), class_name=name, score=score, below_threshold=below, in_exclusive_tile=tile)
        for n, (name, score, below, tile) in enumerate(drawn)
    ]
    counted = [row for row in rows if row.in_exclusive_tile and not row.below_threshold]
    chosen = choose(rows)
    assert len(chosen) == min(len(counted), STRIPS_A_FIELD)
    assert all(row in counted for row in chosen)
    classes = len({row.class_name for row in counted})
    first, rest = chosen[:classes], chosen[classes:]
    assert len({row.class_name for row in first}) == len(first)
    for row in first:
        assert row.score == max(other.score for other in counted if other.class_name == row.class_name)
    left = [row.score for row in counted if row not in first]
    assert [row.score for row in rest] == sorted(left, reverse=True)[: len(rest)]
