from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.images.focus import ExposeSweep, FoundFocus, SearchBounds, contrast_of, peak, search_focus
from daemon.planning.focus_bounds import search_for
from drivers.settings import Range
from tests.support.configuration_files import night

BOUNDS = SearchBounds(low_um=-20, high_um=20, coarse_um=1, fine_um=0.5, planes=9, blank_contrast=1.15)


def field(focus_um: float, contrast: float = 3.0, noise: float = 0.0) -> Callable[[float], float]:
    """Sharpness by height: noise of the sensor everywhere, and objects 1.5 um deep about `focus_um`."""
    random = np.random.default_rng(1)

    def sharpness(z_um: float) -> float:
        return (
            1 + (contrast - 1) * math.exp(-((z_um - focus_um) ** 2) / (2 * 1.5**2)) + noise * random.standard_normal()
        )

    return sharpness


def search(bounds: SearchBounds, sharpness: Callable[[float], float]) -> tuple[FoundFocus | None, list[ExposeSweep]]:
    """Execute a search on a field, as the night does."""
    sweeps: list[ExposeSweep] = []
    steps = search_focus(bounds)
    try:
        sweep = next(steps)
        while True:
            sweeps.append(sweep)
            sweep = steps.send([sharpness(z) for z in sweep.heights_um])
    except StopIteration as end:
        return end.value, sweeps


@settings(deadline=None)
@given(
    low=st.floats(-100, 100),
    span=st.floats(0, 60),
    coarse=st.floats(0.2, 4),
    fine=st.floats(0.1, 4),
    planes=st.integers(1, 15),
    share=st.floats(0, 1),
)
def test_a_search_never_leaves_its_bounds_and_ends(
    low: float, span: float, coarse: float, fine: float, planes: int, share: float
) -> None:
    bounds = SearchBounds(low, low + span, coarse, fine, planes, blank_contrast=1.15)
    found, sweeps = search(bounds, field(low + share * span))
    heights = [z for sweep in sweeps for z in sweep.heights_um]
    assert all(low - 1e-6 <= z <= low + span + 1e-6 for z in heights)
    assert all(1 <= sweep.planes <= planes for sweep in sweeps)
    assert len(heights) <= 2 + span / coarse + 1 + 2 * coarse / fine
    assert found is None or low - 1e-6 <= found.z_um <= low + span + 1e-6


@settings(deadline=None)
@given(focus=st.floats(-19, 19))
def test_focus_is_found_to_a_fraction_of_the_fine_step(focus: float) -> None:
    found, _ = search(BOUNDS, field(focus))
    assert found is not None
    assert abs(found.z_um - focus) < 0.1
    assert not found.at_edge
    assert found.contrast > 2


def test_focus_is_found_in_noise() -> None:
    errors = [abs(found.z_um - 3.3) for found, _ in [search(BOUNDS, field(3.3, noise=0.02))] if found]
    assert errors
    assert max(errors) < 0.5


@pytest.mark.parametrize("level", [0.0, 1.0, 7.5])
def test_a_field_whose_planes_do_not_differ_is_blank(level: float) -> None:
    found, sweeps = search(BOUNDS, lambda _: level)
    assert found is None
    assert sum(sweep.planes for sweep in sweeps) == 41


def test_noise_alone_is_blank() -> None:
    assert search(BOUNDS, field(0, contrast=1.0, noise=0.03))[0] is None


@pytest.mark.parametrize(("focus", "edge"), [(21.0, 20.0), (-22.0, -20.0)])
def test_focus_beyond_the_bounds_is_told(focus: float, edge: float) -> None:
    found, _ = search(BOUNDS, field(focus, contrast=20.0))
    assert found is not None
    assert found.at_edge
    assert abs(found.z_um - edge) < 1e-6


def test_the_fine_sweeps_surround_the_best_coarse_plane() -> None:
    _, sweeps = search(BOUNDS, field(7.2))
    assert [sweep.planes for sweep in sweeps] == [9, 9, 9, 9, 5, 5]
    assert sweeps[-1].heights_um == (6.0, 6.5, 7.0, 7.5, 8.0)
    assert [sweep.first_z_um for sweep in sweeps[:5]] == [-20, -11, -2, 7, 16]


def test_an_answer_of_another_length_is_an_error() -> None:
    steps = search_focus(BOUNDS)
    next(steps)
    with pytest.raises(ValueError, match="8 values of sharpness answer a sweep of 9 planes"):
        steps.send([1.0] * 8)


def test_bounds_that_cannot_be_searched_are_an_error() -> None:
    with pytest.raises(ValueError, match="cannot be searched"):
        SearchBounds(5, 4, 1, 0.5, 9, 1.15)


@settings(deadline=None)
@given(vertex=st.floats(-0.49, 0.49), height=st.floats(1, 10), curvature=st.floats(0.1, 5))
def test_the_peak_of_a_parabola_is_its_vertex(vertex: float, height: float, curvature: float) -> None:
    heights = np.arange(-2, 3, dtype=np.float64) * 0.3
    sharpness = height - curvature * (heights - 0.3 * vertex) ** 2
    assert abs(peak(heights, sharpness) - 0.3 * vertex) < 1e-9


def test_contrast_is_that_over_the_median_plane() -> None:
    assert contrast_of([1.0, 2.0, 6.0]) == 3
    assert contrast_of([0.0, 0.0, 0.0]) == 1
    assert contrast_of([0.0, 0.0, 1.0]) == math.inf


@pytest.mark.parametrize(
    ("window", "heights"), [((-60, 60), (-15, 25)), ((-4, 60), (-4, 25)), ((-4, 11.5), (-4, 11.5))]
)
def test_a_slides_search_stays_inside_its_window(
    window: tuple[float, float], heights: tuple[float, float], tmp_path: Path
) -> None:
    config = night(tmp_path)
    slide = config.scan.slides[0].model_copy(update={"z_window_um": Range(low=window[0], high=window[1])})
    steps = search_for(config, slide, expected_z_um=5)
    sweeps = [next(steps)]
    while len(sweeps) < 5 and sweeps[-1].planes == config.scan.planes:
        sweeps.append(steps.send([1.0] * config.scan.planes))
    every = [z for sweep in sweeps for z in sweep.heights_um]
    assert heights[0] <= min(every) < heights[0] + config.focus.search_step_um
    assert heights[1] - config.focus.search_step_um < max(every) <= heights[1]
