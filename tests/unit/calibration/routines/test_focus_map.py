from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.routines.focus_map import fit_surface, focus_map
from calibration.routines.place_finding import heights_of_tiles
from calibration.steps import Map, NotUsable, Shot
from drivers.emulated.core import virtual_slide
from drivers.settings import Instrument
from tests.support.bench import CENTRE, NO_TIMING, area_of, bench, instrument
from tests.support.instruments import slides

SIZE = (9_000.0, 9_000.0)
PLANE_STEP_UM = 0.5


def settings_of(seed: int, profile: str, **emulation: Any) -> Instrument:
    values = {"seed": seed, "profile": profile, "timing": NO_TIMING, **emulation}
    return instrument(frame_px=(256, 256), emulation=values)


@pytest.mark.slow
def test_tilt_and_bending_are_found_to_one_plane_step_over_the_width() -> None:
    # Turned against the camera, so that the tilt is told along the stage's axes and not along the frame's.
    chosen = settings_of(3, "coccolith", misalignment={"rotation_deg": 20.0})
    with bench(chosen) as rig:
        outcome = rig.carry_out(focus_map(area_of(chosen), "crossed"))
    world = virtual_slide(chosen, slides())
    turn = np.deg2rad(20.0)

    def surface(x: float, y: float) -> float:
        """Height of the surface under the frame when the stage is so far from the middle."""
        over = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
        return world.surface_z_um(1, CENTRE[0] + over[0], CENTRE[1] + over[1])

    half, middle = SIZE[0] / 2, surface(0, 0)
    truth = {
        "tilt_x": (surface(half, 0) - surface(-half, 0)) / 9, "tilt_y": (surface(0, half) - surface(0, -half)) / 9,
        "bend_x": (surface(half, 0) + surface(-half, 0)) / 2 - middle,
        "bend_y": (surface(0, half) + surface(0, -half)) / 2 - middle, "drift": 0.01,
    }  # fmt: skip
    for name, value in truth.items():
        found = outcome.values[name]
        assert abs(found.value - value) < 3 * found.uncertainty, name
    for axis in "xy":
        assert abs(outcome.values[f"tilt_{axis}"].value - truth[f"tilt_{axis}"]) * SIZE[0] / 1e3 < PLANE_STEP_UM
    assert outcome.residuals["heights"].value < 0.8
    assert [picture.title for picture in outcome.pictures if isinstance(picture, Map)] != []
    assert all(abs(shot.first_z_um) < 25 for shot in rig.shots)


def test_a_blank_slide_is_told() -> None:
    chosen = settings_of(1, "blank")
    with bench(chosen) as rig, pytest.raises(NotUsable, match="nothing to focus on"):
        rig.carry_out(focus_map(area_of(chosen, low_um=-5, high_um=5), "crossed", side=3))


@pytest.mark.slow
def test_a_slide_that_is_blank_but_for_its_middle_is_told() -> None:
    chosen = settings_of(3, "coccolith")

    def far_from_the_middle_is_the_edge(shot: Shot) -> Shot:
        beyond = max(abs(shot.x_um - CENTRE[0]), abs(shot.y_um - CENTRE[1])) > 1_000
        return replace(shot, x_um=CENTRE[0] + 6_000) if beyond else shot

    with bench(chosen, far_from_the_middle_is_the_edge) as rig, pytest.raises(NotUsable, match="nothing in focus"):
        rig.carry_out(focus_map(area_of(chosen), "crossed", side=3))


@pytest.mark.slow
def test_focus_beyond_the_window_is_told() -> None:
    chosen = settings_of(3, "coccolith", height_um=0.0, bend_um=0.0)
    with bench(chosen) as rig, pytest.raises(NotUsable, match=r"outside|nothing in focus"):
        rig.carry_out(focus_map(area_of(chosen, low_um=4.0, high_um=12.0), "crossed", side=3))


coefficients = st.tuples(*(st.floats(-5, 5) for _ in range(5)), st.floats(-0.05, 0.05))


def points_of(truth: Any, noise_um: float, seed: int) -> Any:
    """Places in random order on a surface that is written out here by hand."""
    random = np.random.default_rng(seed)
    x, y = (np.array(CENTRE)[:, None] + random.uniform(-4_500, 4_500, (2, 36))).tolist()
    number = np.arange(36) * 3.0
    dx, dy = np.array(x) - CENTRE[0], np.array(y) - CENTRE[1]
    height, tilt_x, tilt_y, bend_x, bend_y, drift = truth
    z = height + tilt_x * dx / 1e3 + tilt_y * dy / 1e3 + bend_x * (dx / 4500) ** 2 + bend_y * (dy / 4500) ** 2
    z = z + drift * (number - number.mean()) + noise_um * random.standard_normal(36)
    return np.stack([x, y, z, number], axis=1)


@settings(deadline=None, max_examples=25)
@given(truth=coefficients)
def test_a_surface_without_noise_is_found_exactly(truth: Any) -> None:
    surface = fit_surface(points_of(truth, 0.0, 1), CENTRE, SIZE)
    np.testing.assert_allclose(surface.coefficients, truth, atol=1e-6)


def test_the_stated_uncertainties_are_those_of_the_errors_with_a_few_wrong_places() -> None:
    truth = (1.0, 2.0, -1.0, 0.5, -0.5, 0.01)
    pulls = []
    for seed in range(60):
        points = points_of(truth, 0.4, seed)
        points[::12, 2] += 6.0
        surface = fit_surface(points, CENTRE, SIZE)
        pulls.append((surface.coefficients - truth) / np.sqrt(np.diagonal(surface.covariance)))
    # The height is drawn towards wrong places that all lie above; what the slope is of, they hardly touch.
    spread = np.sqrt(np.mean(np.square(pulls), axis=0))[1:]
    assert np.all((spread > 0.5) & (spread < 1.5)), spread


def test_each_part_of_a_field_tells_its_own_height() -> None:
    random = np.random.default_rng(1)
    fine = random.standard_normal((128, 128))
    heights = 0.5 * np.arange(9)
    squared = np.add.outer(np.fft.fftfreq(128) ** 2, np.fft.fftfreq(128) ** 2)
    frames = []
    for z in heights:
        left, right = (np.exp(-((z - focus) ** 2)) for focus in (1.2, 2.6))
        contrast = np.repeat(np.where(np.arange(128) < 64, left, right)[None], 128, axis=0)
        blurred = np.fft.ifft2(np.fft.fft2(fine) * np.exp(-200 * squared)).real
        frames.append(20_000 + 20_000 * contrast * blurred + random.normal(0, 30, (128, 128)))
    found = heights_of_tiles(np.array(frames).astype(np.uint16), heights.tolist())
    assert sorted(found)[:2] == pytest.approx([1.2, 1.2], abs=0.1)
    assert sorted(found)[-2:] == pytest.approx([2.6, 2.6], abs=0.1)
    assert heights_of_tiles(random.normal(20_000, 200, (9, 128, 128)).astype(np.uint16), heights.tolist()) == []
