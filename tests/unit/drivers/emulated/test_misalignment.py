"""The emulated stages are off as they are told to be, and the truth goes with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from daemon.cli.demo import report
from daemon.system.errors import Refused
from drivers.emulated.core import virtual_slide
from drivers.emulated.mechanics import Mechanics, sample_place, stage_matrix, true_pixel_um
from drivers.micromanager.core import release_headless_core
from drivers.microscope import Exposure
from drivers.open import open_microscope
from drivers.settings import Emulation, Misalignment
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from tests.support.configuration_files import night
from tests.support.instruments import CENTRE, NO_TIMING, emulated, expose, instrument, ready, slides


def off(**values: Any) -> Misalignment:
    return Misalignment.model_validate(values)


def test_an_aligned_stage_is_where_it_says_to_the_last_bit() -> None:
    place = 15_000.123456789, 20_000.1
    assert sample_place(Misalignment(), CENTRE, place) == place
    mechanics = Mechanics(Emulation(), slides(), CENTRE, 0.0)
    mechanics.drive_xy(1.0, 2.0)
    assert mechanics.place_um(Exposure(1, 3), *place) == place


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_axes_have_the_angles_and_scales_that_are_set(mirrored: bool) -> None:
    matrix = np.array(stage_matrix(off(rotation_deg=20, shear_deg=3, mirrored=mirrored, stage_scale=(1.02, 0.97))))
    x_axis, y_axis = matrix.T
    assert_allclose(np.linalg.norm(matrix, axis=0), (1.02, 0.97))
    along = -x_axis if mirrored else x_axis
    assert math.degrees(math.atan2(along[1], along[0])) == pytest.approx(20)
    between = math.degrees(math.acos(along @ y_axis / (1.02 * 0.97)))
    assert between == pytest.approx(90 - 3)
    assert (np.linalg.det(matrix) < 0) == mirrored


def test_a_mini_slide_turns_about_its_centre() -> None:
    turned = off(rotation_deg=90)
    assert sample_place(turned, CENTRE, CENTRE) == CENTRE
    assert sample_place(turned, CENTRE, (CENTRE[0] + 100, CENTRE[1])) == pytest.approx((CENTRE[0], CENTRE[1] + 100))


def test_a_stage_with_play_lags_after_it_turned_round() -> None:
    mechanics = Mechanics(Emulation(misalignment=off(xy_backlash_um=(2.0, 3.0))), slides(), CENTRE, 0.0)
    x, y = CENTRE
    seen = []
    for dx, dy in ((10, 10), (8, 9), (5, 5), (6, 9)):
        mechanics.drive_xy(x + dx, y + dy)
        seen.append(mechanics.place_um(Exposure(1, 0), x + dx, y + dy))
    assert_allclose(np.array(seen) - CENTRE, [(10, 10), (10, 10), (7, 8), (7, 9)])


def test_arrivals_scatter_as_much_as_is_set_and_the_same_in_every_run() -> None:
    def arrivals() -> list[tuple[float, float]]:
        mechanics = Mechanics(Emulation(misalignment=off(xy_repeatability_um=0.2)), slides(), (0.0, 0.0), 0.0)
        places = []
        for field in range(400):
            mechanics.drive_xy(CENTRE[0] + field % 2, CENTRE[1])
            x, y = mechanics.place_um(Exposure(1, field), CENTRE[0] + field % 2, CENTRE[1])
            places.append((x - field % 2, y))
        return places

    assert np.std(arrivals(), axis=0) == pytest.approx((0.2, 0.2), rel=0.1)
    assert arrivals() == arrivals()


def test_a_stage_that_is_sent_to_where_it_stands_stays_there() -> None:
    mechanics = Mechanics(Emulation(misalignment=off(xy_repeatability_um=0.2)), slides(), (0.0, 0.0), 0.0)
    mechanics.drive_xy(*CENTRE)
    first = mechanics.place_um(Exposure(1, 1), *CENTRE)
    mechanics.drive_xy(*CENTRE)
    assert mechanics.place_um(Exposure(1, 2), *CENTRE) == first
    mechanics.drive_xy(CENTRE[0] + 1, CENTRE[1])
    mechanics.drive_xy(*CENTRE)
    assert mechanics.place_um(Exposure(1, 3), *CENTRE) != first


def test_a_z_step_is_as_long_as_is_set() -> None:
    emulation = Emulation(jitter_um=0, drift_um_per_field=0, misalignment=off(z_scale=1.05))
    mechanics = Mechanics(emulation, slides(), CENTRE, 0.0)
    heights = []
    for z_um in (2.0, 12.0):
        mechanics.drive(z_um)
        heights.append(mechanics.focal_plane_um(Exposure(1, 0), "crossed", 0))
    assert heights[1] - heights[0] == pytest.approx(10.5)


def test_a_misaligned_microscope_shows_what_the_truth_says() -> None:
    turned = {"rotation_deg": 30.0, "mirrored": True, "pixel_scale": 1.25, "stage_scale": (1.1, 0.9)}
    still = {"backlash_um": 0, "drift_um_per_field": 0, "jitter_um": 0}
    settings = emulated(misalignment=turned, **still)
    x, y = CENTRE[0] + 40, CENTRE[1] - 25
    scope = ready(open_microscope(settings, slides()))
    try:
        scope.move(x, y)
        stack, _ = expose(scope)
    finally:
        scope.close()
        release_headless_core()
    assert settings.emulation is not None
    assert true_pixel_um(settings) == pytest.approx(0.059 * 1.25)
    place = sample_place(settings.emulation.misalignment, CENTRE, (x, y))
    assert np.hypot(place[0] - x, place[1] - y) > 30
    world = VirtualSlide(settings.emulation, slides(), settings.frame_px, 0.059 * 1.25)
    expected = np.empty(settings.frame_px, np.uint16)
    world.render(View(1, 1, 2, "crossed", *place, 0.0), 20.0, expected)
    assert_array_equal(stack[0, 2], expected)


def test_a_night_is_not_judged_where_nobody_knows_what_it_shows(tmp_path: Any) -> None:
    config = night(tmp_path)
    emulation = Emulation(misalignment=off(xy_backlash_um=(1.0, 0.0)))
    config = config.model_copy(update={"instrument": config.instrument.model_copy(update={"emulation": emulation})})
    with pytest.raises(Refused, match="xy_backlash_um"):
        report(config, tmp_path)


def test_a_plate_flips_as_much_light_as_its_retardation_says() -> None:
    perfect = {
        "polarizer_retarder_deg": 0, "polarizer_azimuth_deg": 0, "analyser_retarder_deg": 0, "analyser_azimuth_deg": 0,
        "depolarised": 0,
    }  # fmt: skip
    even = {"drift": 0, "flicker": 0, "vignette": 0, "dust": 0, "fringes": 0}
    settings = instrument(
        emulation={
            "timing": NO_TIMING, "polarizers": perfect, "lamp": even,
            "plate": {"retardation_nm": 130.0, "azimuth_deg": 20.0}, "sensor": {"gain_spread": 0, "hot_pixels": 0},
        }
    )  # fmt: skip
    world = virtual_slide(settings, slides())
    frame = np.empty(settings.frame_px, np.uint16)
    light = {}
    for state in ("crossed", "parallel"):
        world.render(View(1, 0, 0, state, *CENTRE, 0.0), 20.0, frame)
        light[state] = float(frame.mean()) - 100
    share = math.sin(math.pi * 130 / 546) ** 2
    assert light["crossed"] / (light["crossed"] + light["parallel"]) == pytest.approx(share, rel=1e-3)
    assert world.truth(1, *CENTRE) == ()
