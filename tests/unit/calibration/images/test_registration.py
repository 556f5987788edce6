from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.images.registration import register

Image = NDArray[np.float32]
SIDE = 160


def texture(shift: tuple[float, float], seed: int, noise: float = 0.0, grain: int = 0) -> Image:
    """Random smooth texture, moved in Fourier space on a grid twice as wide, so that nothing wraps into the image."""
    wide = 2 * SIDE
    white = np.fft.fft2(np.random.default_rng(seed).standard_normal((wide, wide)))
    v, u = np.meshgrid(2 * np.pi * np.fft.fftfreq(wide), 2 * np.pi * np.fft.fftfreq(wide), indexing="ij")
    moved = np.fft.ifft2(white * np.exp(-4 * (u * u + v * v)) * np.exp(-1j * (u * shift[0] + v * shift[1]))).real
    image = moved[:SIDE, :SIDE] / moved.std()
    grains = np.random.default_rng([seed, grain]).standard_normal(image.shape)
    return np.asarray(image + noise * grains, np.float32)


shifts = st.tuples(st.floats(-50, 50), st.floats(-50, 50))


@settings(deadline=None, max_examples=15)
@given(shift=shifts, seed=st.integers(0, 10_000))
def test_any_shift_is_found_to_a_hundredth_of_a_pixel(shift: tuple[float, float], seed: int) -> None:
    found = register(texture((0, 0), seed), texture(shift, seed))
    assert (found.x_px, found.y_px) == pytest.approx(shift, abs=0.02)
    assert found.deviation_px < 0.02


@settings(deadline=None, max_examples=8)
@given(shift=shifts, seed=st.integers(0, 10_000))
def test_the_way_back_is_the_opposite(shift: tuple[float, float], seed: int) -> None:
    first, other = texture((0, 0), seed, 0.2, 1), texture(shift, seed, 0.2, 2)
    there, back = register(first, other), register(other, first)
    assert (there.x_px, there.y_px) == pytest.approx((-back.x_px, -back.y_px), abs=0.01)


@settings(deadline=None, max_examples=6)
@given(one=st.tuples(st.floats(-20, 20), st.floats(-20, 20)), two=st.tuples(st.floats(-20, 20), st.floats(-20, 20)))
def test_two_shifts_one_after_the_other_add_up(one: tuple[float, float], two: tuple[float, float]) -> None:
    start, middle = texture((0, 0), 3), texture(one, 3)
    end = texture((one[0] + two[0], one[1] + two[1]), 3)
    parts = register(start, middle), register(middle, end)
    whole = register(start, end)
    assert whole.x_px == pytest.approx(sum(part.x_px for part in parts), abs=0.02)
    assert whole.y_px == pytest.approx(sum(part.y_px for part in parts), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_stated_uncertainty_is_that_of_the_errors(noise: float) -> None:
    pulls = []
    for seed in range(25):
        shift = tuple(np.random.default_rng(seed).uniform(-40, 40, 2).tolist())
        found = register(texture((0, 0), seed, noise, 1), texture(shift, seed, noise, 2))
        pulls += [(found.x_px - shift[0]) / found.deviation_px, (found.y_px - shift[1]) / found.deviation_px]
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_noise_alone_has_no_strength() -> None:
    random = np.random.default_rng(5)
    strengths = [
        register(*random.standard_normal((2, SIDE, SIDE)).astype(np.float32)).strength for _ in range(20)
    ]  # fmt: skip
    assert max(strengths) < 9
    assert register(texture((0, 0), 1), texture((31, -4), 1)).strength > 20


def test_what_lies_outside_the_reach_is_not_found() -> None:
    found = register(texture((0, 0), 1), texture((30, 0), 1), expected=(0, 0), reach_px=10)
    assert abs(found.x_px) < 14


def test_an_expected_shift_that_leaves_no_overlap_is_an_error() -> None:
    with pytest.raises(ValueError, match="less than 32 px"):
        register(texture((0, 0), 1), texture((0, 0), 1), expected=(140, 0))
