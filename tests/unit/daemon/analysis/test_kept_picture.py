"""The picture that is kept of a field: whatever was exposed, small enough, and where a box of the frame lies in it."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from daemon.analysis.kept_picture import MOST_BYTES, PictureDrawer, draw_picture, middle_planes
from daemon.dataset.field_file import FieldProvenance

BOTH = ("crossed", "parallel")
PIXEL_UM = 0.059
PLACE = FieldProvenance(
    night="n", slide=2, field=7, sample="s", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=0.3, pixel_um=PIXEL_UM,
    polarizations=BOTH, exposures_ms=(1.0, 1.0), shape_czyx=(2, 1, 8, 8), exposed_utc=0.0, focus=None,
    instrument="none", configuration_sha256="", weights_sha256="", versions={},
)  # fmt: skip


def opened(jpeg: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture)


@given(
    st.integers(1, 3),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([0, 1, 300, 65535]),
    st.booleans(),
)
def test_any_frame_has_a_picture_of_its_own_size(states: int, size: tuple[int, int], level: int, noisy: bool) -> None:
    shape = (states, *size)
    pixels = np.random.default_rng(1).integers(0, level + 1, shape) if noisy else np.full(shape, level)
    names = ("crossed", "parallel", "third")[:states]
    picture = opened(draw_picture(pixels.astype(np.uint16), names))
    assert picture.shape == (size[0], states * size[1])


def test_each_state_is_stretched_by_itself_and_stands_where_the_record_names_it() -> None:
    states = np.random.default_rng(2).normal([[[40]], [[30_000]]], 4, (2, 200, 300)).astype(np.uint16)
    states[0, 50:100, 60:120] = 900
    states[1, 50:100, 60:120] = 2_000
    picture = opened(draw_picture(states, BOTH))
    assert picture[55:95, 65:115].min() > 230
    assert picture[120:, :280].max() < 60
    assert picture[55:95, 365:415].max() < 25
    assert picture[120:, 320:].min() > 200


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1024, 1024), (300, 12_000)])
def test_no_picture_is_larger_than_allowed_and_a_box_is_found_again(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    states = random.integers(0, 4_000, (2, *size)).astype(np.uint16)
    top, left, height, width = size[0] // 2, size[1] // 4, size[0] // 4, size[1] // 4
    states[:, top : top + height, left : left + width] = 40_000
    drawn = draw_picture(states, BOTH)
    assert len(drawn) <= MOST_BYTES
    assert drawn == draw_picture(states, BOTH)
    picture = opened(drawn)
    scale = picture.shape[1] / 2 / size[1]
    assert picture.shape[0] == pytest.approx(size[0] * scale, abs=1)
    for state in (0, 1):
        shift = state * picture.shape[1] // 2
        rows = slice(round((top + 8) * scale), round((top + height - 8) * scale))
        columns = slice(shift + round((left + 20) * scale), shift + round((left + width - 20) * scale))
        assert np.median(picture[rows, columns]) > 240
    assert np.median(picture[: round(top * scale) - 4]) < 200


def test_a_blank_field_is_even_dark_where_crossed_and_bright_where_parallel_also_where_light_falls_off() -> None:
    noise = np.random.default_rng(4).normal([[[40]], [[30_000]]], [[[4]], [[90]]], (2, 256, 256))
    noise[1] *= np.linspace(0.97, 1, 256)
    crossed, parallel = np.split(opened(draw_picture(noise.astype(np.uint16), BOTH)), 2, axis=1)
    assert np.median(crossed) < 110 < 150 < np.median(parallel)
    assert crossed.std() < 25
    assert np.diff(parallel.astype(float)).std() < 25


def test_a_stack_nobody_looked_at_is_shown_by_its_middle_plane_at_the_scale_of_the_detector() -> None:
    stack = np.zeros((2, 5, 40, 60), np.uint16)
    stack[:, 2] = np.arange(60)[None, :] // 2 * 100
    states = middle_planes(stack, PIXEL_UM)
    np.testing.assert_array_equal(states, np.broadcast_to(np.arange(30, dtype=np.uint16) * 100, (2, 20, 30)))
    assert middle_planes(np.zeros((1, 1, 1, 1), np.uint16), PIXEL_UM).shape == (1, 1, 1)


def test_only_the_first_picture_that_cannot_be_drawn_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> NDArray[np.uint16]:
        raise MemoryError("no room for 2 GB")

    drawer = PictureDrawer()
    with caplog.at_level(logging.ERROR):
        assert [drawer.draw(replace(PLACE, field=field), fails) for field in (7, 8)] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "slide 2 field 7 is kept without a picture, which cannot be drawn"
    ]
    assert drawer.draw(PLACE, lambda: np.zeros((2, 8, 8), np.uint16)) is not None
