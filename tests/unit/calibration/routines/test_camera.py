"""The camera's and the light's own routines, against what is true of the emulated instrument."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration.corrections import Corrections
from calibration.routines.dark import dark
from calibration.routines.flat import flat
from calibration.routines.illumination import illumination
from calibration.routines.photon_transfer import photon_transfer
from calibration.steps import NotUsable, Outcome, Routine
from drivers.settings import Emulation
from drivers.virtual_slide.optics.camera import DN_PER_ELECTRON, LAMP_DN_PER_MS, OFFSET_DN, READ_NOISE_DN, Camera
from drivers.virtual_slide.optics.illumination import Illumination
from drivers.virtual_slide.truth import View
from tests.support.calibration_bench import DEFOCUSED_UM, FRAME_PX, PIXEL_UM, PLACES, bench
from tests.support.instruments import CENTRE

STATES = ("crossed", "parallel")
EXPOSURES_MS = (20.0, 20.0)


def a_dark() -> Routine:
    return dark(*CENTRE, 0.0, "parallel", 20.0, 16, 4)


def a_flat() -> Routine:
    return flat(PLACES, DEFOCUSED_UM, STATES, EXPOSURES_MS, 4)


def a_photon_transfer() -> Routine:
    return photon_transfer(*CENTRE, DEFOCUSED_UM, "parallel", 20.0, 8)


def an_illumination() -> Routine:
    return illumination(*CENTRE, DEFOCUSED_UM, "parallel", 20.0, 8, duration_s=600.0, every_s=10.0)


ALL = {"dark": a_dark, "flat": a_flat, "camera": a_photon_transfer, "illumination": an_illumination}
LIT = ["flat", "camera", "illumination"]


def true_flat(emulation: Emulation, state: str) -> np.ndarray:
    """What the emulated sensor makes of an even field, over its median: the mean of many frames without objects."""
    quiet = emulation.lamp.model_copy(update={"flicker": 0.0, "drift": 0.0})
    light = Illumination(FRAME_PX, PIXEL_UM, quiet, emulation.seed)
    camera = Camera(FRAME_PX, emulation.sensor.model_copy(update={"hot_pixels": 0.0}), emulation.seed, light)
    exposed = []
    for plane in range(400):
        frame = np.empty(FRAME_PX, np.uint16)
        camera.expose(np.ones(FRAME_PX, np.float32), View(1, 1, plane, state, 0, 0, 0), 38.0, frame)
        exposed.append(frame)
    shape = np.mean(exposed, axis=0, dtype=np.float64) - OFFSET_DN
    return np.asarray(shape / np.median(shape))


def error_of(outcome: Outcome, emulation: Emulation, state: str) -> float:
    """Root mean square, as a share, of what is wrong with a flat field."""
    shares = outcome.arrays[f"flat_{state}"] / true_flat(emulation, state)
    return float(np.std(shares) / np.mean(shares))


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["blank", "easy", "trap"])
def test_a_flat_field_is_found_on_a_blank_slide_and_among_objects(profile: str) -> None:
    with bench(profile=profile, sensor={"hot_pixels": 1e-3}) as here:
        outcome = here.carry_out(a_flat())
    for state in STATES:
        error = error_of(outcome, here.emulation, state)
        assert error < 0.005
        assert outcome.residuals[f"flat_{state}"].value == pytest.approx(error, rel=0.25)
        assert outcome.arrays[f"flat_{state}"].mean() == pytest.approx(1, abs=1e-4)
    assert outcome.values["exposure_crossed"].value > 10 * outcome.values["exposure_parallel"].value


@pytest.mark.slow
def test_what_a_calibrated_empty_field_shows_is_even_light(tmp_path: Any) -> None:
    with bench(profile="blank") as here:
        darkness, evened = here.carry_out(a_dark()), here.carry_out(a_flat())
        bright = here.carry_out(_one_bright_stack())
    corrections = Corrections.assumed(FRAME_PX, (20.0,))
    plain = corrections.light(bright.arrays["stack"][None].astype(np.uint16), 0, (0, 0, FRAME_PX[1], FRAME_PX[0]))
    offset_dn, flat = darkness.arrays["offset_dn"], evened.arrays["flat_parallel"][None]
    corrected = replace(corrections, offset_dn=offset_dn, flat=flat)
    light = corrected.light(bright.arrays["stack"][None].astype(np.uint16), 0, (0, 0, FRAME_PX[1], FRAME_PX[0]))
    shot_noise = np.sqrt(DN_PER_ELECTRON / (20 * LAMP_DN_PER_MS))
    assert np.std(plain) / np.mean(plain) > 3 * shot_noise
    assert np.std(light) / np.mean(light) == pytest.approx(shot_noise, rel=0.05)


def _one_bright_stack() -> Routine:
    from calibration.steps import Shot

    shown = yield Shot(*CENTRE, DEFOCUSED_UM, 0.0, 1, ("parallel",))
    return Outcome({}, arrays={"stack": shown.stack[0, 0].astype(np.float32)})


@pytest.mark.parametrize(("bits", "scale"), [(16, 1.0), (12, 1 / 16)])
def test_gain_noise_and_saturation_are_those_of_the_sensor(bits: int, scale: float) -> None:
    with bench(sensor={"bits": bits, "hot_pixels": 1e-3}) as here:
        values = here.carry_out(a_photon_transfer()).values
    assert values["gain"].value == pytest.approx(DN_PER_ELECTRON * scale, rel=0.02)
    assert abs(values["gain"].value - DN_PER_ELECTRON * scale) < 4 * values["gain"].uncertainty
    assert values["saturation"].value == (1 << bits) - 1
    # With 12 bits it is mostly the rounding of an offset of 6.25 DN.
    rounded = np.rint(np.random.default_rng(1).normal(OFFSET_DN * scale, READ_NOISE_DN * scale, 1_000_000))
    assert values["read_noise"].value == pytest.approx(np.std(rounded), rel=0.02)
    assert values["nonlinearity"].value < 0.01
    assert values["light"].value == pytest.approx(LAMP_DN_PER_MS * scale, rel=0.06)


def test_neither_objects_nor_a_flickering_lamp_nor_the_pixels_own_gains_disturb_the_gain() -> None:
    with bench(profile="trap", lamp={"flicker": 0.006}, sensor={"gain_spread": 0.02}) as here:
        gain = here.carry_out(a_photon_transfer()).values["gain"]
    assert gain.value == pytest.approx(DN_PER_ELECTRON, rel=0.02)


def test_darkness_tells_offset_noise_and_hot_pixels() -> None:
    with bench(sensor={"hot_pixels": 1e-3}) as here:
        outcome = here.carry_out(a_dark())
    values, offset, bad = outcome.values, outcome.arrays["offset_dn"], outcome.arrays["bad"] > 0
    assert values["offset"].value == pytest.approx(OFFSET_DN, abs=0.05)
    assert values["read_noise"].value == pytest.approx(np.sqrt(READ_NOISE_DN**2 + 1 / 12), rel=0.01)
    assert abs(values["dark_current"].value) < 3 * values["dark_current"].uncertainty + 1e-4
    # 82 pixels of 81920 grow by 25 DN/ms, 500 DN in 20 ms; next to all of them by more than five read noises.
    assert values["hot"].value == pytest.approx(82, abs=2)
    assert np.count_nonzero(bad) == values["hot"].value
    assert offset[bad].min() > OFFSET_DN + 4 * READ_NOISE_DN
    assert np.std(offset[~bad].reshape(-1)) < 1.0
    assert all(not shot.lit for shot in here.shots)


def test_pixels_that_say_nothing_are_found_in_darkness_and_in_light() -> None:
    def spoil(stack: np.ndarray) -> None:
        stack[..., 10, 20] = 100  # stuck
        stack[..., 30, 40] = 0  # dead
        stack[..., 50, 60] //= 2  # half as responsive, and with half the offset

    with bench(profile="blank", sensor={"hot_pixels": 0}) as here:
        darkness, evened = here.carry_out(a_dark(), spoil), here.carry_out(a_flat(), spoil)
    assert np.argwhere(darkness.arrays["bad"]).tolist() == [[10, 20], [30, 40], [50, 60]]
    assert darkness.values["dead"].value == 3
    assert np.argwhere(evened.arrays["bad"]).tolist() == [[10, 20], [30, 40], [50, 60]]
    for state in STATES:
        assert evened.arrays[f"flat_{state}"].min() > 0.85


def test_the_lamp_is_followed_for_ten_minutes_by_the_clock() -> None:
    with bench(lamp={"drift": 0.05, "flicker": 0.004}) as here:
        outcome = here.carry_out(an_illumination())
        light = Illumination(FRAME_PX, PIXEL_UM, here.emulation.lamp, here.emulation.seed)
    assert 600 <= here.now_s[0] < 1000
    lit = [number for number, shot in enumerate(here.shots, 1) if shot.lit]
    assert len(lit) == pytest.approx(60, abs=2)
    true = np.array([[light.power(View(1, shot, plane, "parallel", 0, 0, 0)) for plane in range(8)] for shot in lit])
    flicker = np.sqrt(np.mean(np.diff(true, axis=1) ** 2) / 2) / true.mean()
    assert outcome.values["flicker"].value == pytest.approx(flicker, rel=0.02)
    assert outcome.values["flicker"].value == pytest.approx(0.004, abs=3 * outcome.values["flicker"].uncertainty)
    assert outcome.values["drift"].value == pytest.approx(np.ptp(true.mean(1)) / true.mean(), abs=2e-4)


@pytest.mark.parametrize("name", LIT)
@pytest.mark.parametrize("power", [0.0, 1e-4])
def test_without_light_nothing_is_usable(name: str, power: float) -> None:
    with bench(lamp={"power": power}) as here, pytest.raises(NotUsable, match=r"brighter than darkness.*check lamp"):
        here.carry_out(ALL[name]())


@pytest.mark.parametrize("name", ["flat", "illumination"])
def test_a_saturated_camera_is_not_usable(name: str) -> None:
    with bench(lamp={"power": 3.0}) as here, pytest.raises(NotUsable, match=r"saturated at 65535.*lower the lamp"):
        here.carry_out(ALL[name]())


def test_a_lamp_that_is_too_bright_for_any_exposure_is_not_usable() -> None:
    with bench(lamp={"power": 1000.0}) as here, pytest.raises(NotUsable, match=r"saturated even at.*lower the lamp"):
        here.carry_out(a_photon_transfer())


def test_photon_transfer_finds_a_shorter_exposure_where_the_usual_one_saturates() -> None:
    with bench(lamp={"power": 3.0}) as here:
        gain = here.carry_out(a_photon_transfer()).values["gain"]
    assert gain.value == pytest.approx(DN_PER_ELECTRON, rel=0.02)


def test_light_that_gets_in_spoils_darkness() -> None:
    with bench(sensor={"hot_pixels": 0}, lamp={"power": 0.02}) as here:
        routine = a_dark()
        shot = next(routine)
        with pytest.raises(NotUsable, match=r"grows by [\d.]+ DN/ms.*close the shutter"):  # noqa: PT012
            while True:
                shot = routine.send(here.take(shot, shutter_open=True))


def test_a_camera_that_lost_its_data_is_not_usable_in_the_dark() -> None:
    faults = [{"kind": "dark_frame", "fields": [1], "attempts": None}]
    with bench(faults=faults) as here, pytest.raises(NotUsable, match="hold 0 DN"):
        here.carry_out(a_dark())


def test_a_lamp_that_warms_up_is_not_usable() -> None:
    with (
        bench(lamp={"drift": 0.5}) as here,
        pytest.raises(NotUsable, match=r"changed by \d+\.\d% in \d+\.\d min.*warm up"),
    ):
        here.carry_out(an_illumination())


def test_too_few_fields_make_no_flat_field() -> None:
    with pytest.raises(NotUsable, match="only 3 fields"):
        next(flat(PLACES[:3], DEFOCUSED_UM, STATES, EXPOSURES_MS, 4))


def test_too_many_objects_for_so_few_fields_are_told() -> None:
    with bench(profile="trap", density=3.0) as here, pytest.raises(NotUsable, match=r"uncertain by|saturated"):
        here.carry_out(flat(PLACES[:4], 0.0, STATES, EXPOSURES_MS, 2))


@pytest.mark.parametrize("level", [3000.0, 20_000.0])
def test_a_camera_that_sees_light_is_not_dark_however_evenly_it_does(level: float) -> None:
    random = np.random.default_rng(1)

    def shine(stack: Any) -> None:
        # Light that does not grow with the exposure: a camera in a mode of its own.
        noise = random.normal(0.0, np.sqrt(DN_PER_ELECTRON * level) * 3, stack.shape)
        stack[:] = np.clip(stack + level + noise, 0, 65535).astype(np.uint16)

    with bench() as here, pytest.raises(NotUsable, match=r"without light the frames show .* light gets in"):
        here.carry_out(a_dark(), shine)
