from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from calibration.images.registration import Shift
from calibration.images.stage import align, describe, together
from calibration.routines.micrometer import micrometer, read_micrometer
from calibration.routines.pixel_size import came_from_above, path_of, pixel_size
from calibration.steps import Curve, NotUsable, Outcome, Shot, ShotResult
from drivers.settings import Instrument
from tests.support.bench import NO_TIMING, area_of, bench, carry_out, instrument

ASKEW: dict[str, Any] = {
    "rotation_deg": -2.3, "shear_deg": 0.25, "mirrored": True, "pixel_scale": 1.017, "stage_scale": (1.002, 0.998),
    "xy_backlash_um": (1.4, 0.8), "xy_repeatability_um": 0.08,
}  # fmt: skip


def askew(seed: int, profile: str = "easy", **changes: Any) -> Instrument:
    """An instrument with everything on; its fields hold as much as large ones would."""
    values = {"seed": seed, "profile": profile, "density": 6.0, "timing": NO_TIMING, "misalignment": ASKEW, **changes}
    return instrument(frame_px=(320, 320), emulation=values)


def truth() -> dict[str, float]:
    pixel, (scale_x, scale_y) = 0.059 * ASKEW["pixel_scale"], ASKEW["stage_scale"]
    return {
        "pixel": pixel / math.sqrt(scale_x * scale_y), "pixel_x": pixel / scale_x, "pixel_y": pixel / scale_y,
        "rotation": ASKEW["rotation_deg"], "shear": ASKEW["shear_deg"], "mirrored": 1.0,
        "backlash_x": 1.4, "backlash_y": 0.8, "repeatability": 0.08,
    }  # fmt: skip


def found_on(seed: int, state: str, stops: int) -> Outcome:
    """Find the pixel; the truth lies within three uncertainties of everything that is found."""
    settings = askew(seed)
    with bench(settings) as rig:
        outcome = rig.carry_out(pixel_size(area_of(settings, low_um=-14, high_um=14), state, stops))
    for name, value in truth().items():
        found = outcome.values[name]
        assert abs(found.value - value) <= 3 * found.uncertainty + 1e-12, name
    return outcome


@pytest.mark.long
def test_the_pixel_is_found_in_parallel_light_too() -> None:
    outcome = found_on(2, "parallel", stops=10)
    assert outcome.values["pixel"].uncertainty < 2e-3 * truth()["pixel"]


@pytest.mark.slow
def test_the_pixel_is_found_on_a_misaligned_instrument() -> None:
    outcome = found_on(1, "crossed", stops=20)
    assert outcome.values["pixel"].value == pytest.approx(truth()["pixel"], rel=1e-3)
    assert outcome.values["pixel"].uncertainty < 1e-3 * truth()["pixel"]
    assert outcome.values["rotation"].value == pytest.approx(truth()["rotation"], abs=0.05)
    assert outcome.residuals["places"].value == pytest.approx(0.08, rel=0.4)
    assert [type(picture) for picture in outcome.pictures] == [Curve, Curve]


def stuck(shot: Shot) -> Shot:
    return replace(shot, x_um=15_000.0, y_um=20_000.0)


@pytest.mark.slow
def test_a_stage_that_is_stuck_is_told() -> None:
    settings = askew(1)
    with bench(settings, stuck) as rig, pytest.raises(NotUsable, match="stuck"):
        rig.carry_out(pixel_size(area_of(settings, low_um=-14, high_um=14), "crossed", stops=6))


def test_a_blank_slide_is_told() -> None:
    settings = askew(1, profile="blank")
    with bench(settings) as rig, pytest.raises(NotUsable, match="nothing to focus on"):
        rig.carry_out(pixel_size(area_of(settings, size_um=70, low_um=-3, high_um=3), "crossed", stops=6))


def test_arms_that_do_not_fit_are_refused_before_anything_moves() -> None:
    settings = askew(1)
    with pytest.raises(NotUsable, match="do not fit"):
        next(pixel_size(area_of(settings, size_um=50), "crossed"))


matrices = st.tuples(st.floats(-179, 179), st.floats(-5, 5), st.booleans(), st.floats(10, 20), st.floats(10, 20))


def matrix_of(rotation: float, shear: float, mirrored: bool, along: float, across: float) -> Any:
    """Px per um, built from angles by hand."""
    x, y = math.radians(rotation), math.radians(rotation + 90 - shear)
    sign = -1 if mirrored else 1
    return np.array(
        [[sign * along * math.cos(x), across * math.cos(y)], [sign * along * math.sin(x), across * math.sin(y)]]
    )


@given(parts=matrices)
def test_a_matrix_is_taken_apart_into_what_it_was_made_of(parts: Any) -> None:
    found = describe(matrix_of(*parts))
    rotation, shear, mirrored, along, across = parts
    assert math.remainder(found["rotation"] - rotation, 360) == pytest.approx(0, abs=1e-6)
    assert found["shear"] == pytest.approx(shear, abs=1e-6)
    assert (found["mirrored"] == 1) == mirrored
    assert (found["pixel_x"], found["pixel_y"]) == pytest.approx((1 / along, 1 / across))


def made_up(matrix: Any, backlash: Any, scatter_um: float, error_px: float, seed: int) -> tuple[Any, Any, Any]:
    """Shifts between frames of a stage that is known, with errors of arrival and registration."""
    random = np.random.default_rng(seed)
    path, looked_at = path_of(10)
    sent = path * 20.0
    above = came_from_above(sent)[looked_at]
    sent = sent[looked_at]
    truly = sent + above * np.asarray(backlash) + scatter_um * random.standard_normal(sent.shape)
    places = truly @ matrix.T
    shifts = []
    for i in range(len(sent)):
        for j in range(i + 1, len(sent)):
            if 1 < np.hypot(*(sent[j] - sent[i])) < 28:
                x, y = -(places[j] - places[i]) + error_px * random.standard_normal(2)
                shifts.append((i, j, Shift(float(x), float(y), error_px, 50.0)))
    return sent, above, shifts


@settings(deadline=None, max_examples=20)
@given(parts=matrices, backlash=st.tuples(st.floats(0, 5), st.floats(0, 5)))
def test_without_errors_the_stage_is_found_exactly(parts: Any, backlash: tuple[float, float]) -> None:
    matrix = matrix_of(*parts)
    found = align(*made_up(matrix, backlash, 0.0, 1e-6, 0))
    assert_allclose(found.matrix, matrix, atol=1e-5)
    assert_allclose(found.backlash_um, backlash, atol=1e-5)
    assert found.repeatability_um < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("scatter", "error"), [(0.1, 0.05), (0.0, 0.2), (0.3, 0.01)])
def test_the_stated_uncertainties_are_those_of_the_errors(scatter: float, error: float) -> None:
    matrix, backlash = matrix_of(3, 0.2, False, 17, 16.9), (1.0, 0.5)
    true = {**describe(matrix), "backlash_x": 1.0, "backlash_y": 0.5}
    del true["mirrored"]
    pulls = []
    for seed in range(40):
        found = align(*made_up(matrix, backlash, scatter, error, seed)).quantities()
        pulls.append(
            [(found[name].value - true[name]) / found[name].uncertainty for name in true if name != "mirrored"]
        )
    assert np.abs(pulls).max() < 4.5
    spread = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((spread > 0.6) & (spread < 1.4)), spread


def test_frames_that_do_not_hang_together_are_left_out_or_told() -> None:
    sent, _, shifts = made_up(matrix_of(0, 0, False, 17, 17), (0, 0), 0.0, 0.01, 0)
    assert together(len(sent), shifts).all()
    last = [one for one in shifts if one[0] != 3 and one[1] != 3]
    assert together(len(sent), last).tolist() == [number != 3 for number in range(len(sent))]
    with pytest.raises(NotUsable, match="hang together"):
        together(len(sent), [one for one in shifts if (one[0] < 12) == (one[1] < 12) and one[1] < 24])


def test_a_stage_that_went_one_way_only_is_told() -> None:
    sent, above, shifts = made_up(matrix_of(0, 0, False, 17, 17), (0, 0), 0.0, 0.01, 0)
    with pytest.raises(NotUsable, match="both ways"):
        align(sent, np.zeros_like(above), shifts)


def drawn(angle_deg: float, pitch_um: float, width_um: float, pixel_um: float, bright: bool, side: int = 512) -> Any:
    """Lines, four times finer than the camera's pixels, blurred, unevenly lit, with noise."""
    fine = (np.arange(side * 4) + 0.5) / 4
    y, x = np.meshgrid(fine, fine, indexing="ij")
    turn = math.radians(angle_deg)
    across = ((x - side / 2) * math.cos(turn) + (y - side / 2) * math.sin(turn)) * pixel_um + 0.37
    away = np.abs((across + pitch_um / 2) % pitch_um - pitch_um / 2)
    line = np.clip((width_um / 2 - away) / pixel_um + 0.5, 0, 1)
    line = line.reshape(side, 4, side, 4).mean(axis=(1, 3))
    rows, columns = np.mgrid[:side, :side] / side
    light = (1 - 0.15 * ((columns - 0.45) ** 2 + (rows - 0.6) ** 2)) * (
        1000 + 20_000 * line if bright else 30_000 * (1 - 0.8 * line)
    )
    return (light + 200 * np.random.default_rng(1).standard_normal(light.shape)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("angle", "pitch", "width", "bright"),
    [(1.3, 5, 1.2, False), (-88, 5, 1.2, False), (30, 5, 1.0, False), (-45.5, 5, 2.2, True), (0, 2, 1.0, False)],
)
def test_the_pitch_of_drawn_lines_is_the_pixel_size(angle: float, pitch: float, width: float, bright: bool) -> None:
    reading = read_micrometer(drawn(angle, pitch, width, 0.0597, bright))
    pixel_um, deviation = pitch / reading.pitch_px, pitch / reading.pitch_px * reading.deviation_px / reading.pitch_px
    assert pixel_um == pytest.approx(0.0597, rel=2e-4)
    assert abs(pixel_um - 0.0597) < 3 * deviation
    assert deviation < 1e-3 * pixel_um
    assert abs(math.remainder(reading.angle_deg - angle, 180)) < min(0.02, 3 * reading.angle_deviation_deg + 1e-3)


def test_noise_holds_no_lines() -> None:
    noise = np.random.default_rng(2).normal(20_000, 200, (256, 256)).astype(np.float32)
    with pytest.raises(NotUsable, match="lines"):
        read_micrometer(noise)


def test_the_routine_reads_a_micrometer_at_its_focus() -> None:
    settings = askew(1)
    sharp = drawn(1.3, 2, 0.6, 0.0597, bright=False, side=320)
    random = np.random.default_rng(4)

    def show(shot: Shot) -> ShotResult:
        heights = shot.first_z_um + shot.step_um * np.arange(shot.planes)
        # Out of focus light spreads: contrast falls with the distance from 1.2 um.
        planes = np.array([20_000 + (sharp - 20_000) / (1 + (z - 1.2) ** 2) for z in heights])
        frames = np.clip(planes + random.normal(0, 50, planes.shape), 0, 65535)
        return ShotResult(frames[None].astype(np.uint16), 0, 0, np.zeros((1, shot.planes)))

    outcome = carry_out(micrometer(area_of(settings, low_um=-5, high_um=5), "parallel", 2.0, 0.002), show)
    assert outcome.values["pixel"].value == pytest.approx(0.0597, rel=5e-4)
    assert outcome.values["pixel"].uncertainty > 0.0597 * 0.002 / 2
