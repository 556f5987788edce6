from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.images.states import mode, moved
from calibration.routines.polarization import Band, polarization
from calibration.routines.retarder import States, retarder
from calibration.steps import NotUsable, Outcome, Shot
from drivers.settings import Instrument
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers
from tests.support.bench import CENTRE, NO_TIMING, area_of, bench, instrument

STATES, MS = (CROSSED, PARALLEL), (20.0, 20.0)
GREEN = Band(0.546, 0.002)
STRONG: dict[str, Any] = {
    "depolarised": 0.0005, "polarizer_retarder_deg": 6.0, "analyser_retarder_deg": 4.0, "shift_px": (-2.3, 1.1)
}  # fmt: skip


def settings_of(profile: str = "easy", seed: int = 1, frame: int = 512, **emulation: Any) -> Instrument:
    values = {"seed": seed, "profile": profile, "density": 4.0, "timing": NO_TIMING, **emulation}
    return instrument(frame_px=(frame, frame), emulation=values)


def true_leakage(instrument: Instrument, depolarised: bool = True) -> float:
    """Leakage of an empty field by the Jones amplitudes of the emulated polarizers."""
    assert instrument.emulation is not None
    polarizers = Polarizers.of(instrument.emulation.polarizers)
    light = PolarizedLight((1, 1), polarizers if depolarised else replace(polarizers, depolarised=0.0))
    return light.empty(CROSSED) / light.empty(PARALLEL)


@cache
def found(profile: str, strong: bool, /) -> tuple[Instrument, Outcome]:
    chosen = settings_of(profile, polarizers=STRONG) if strong else settings_of(profile)
    with bench(chosen) as rig:
        outcome = rig.carry_out(polarization(area_of(chosen, low_um=-14, high_um=14), STATES, MS, GREEN, places=6))
    return chosen, outcome


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "strong"), [pytest.param("easy", False, marks=pytest.mark.long), ("coccolith", True)]
)
def test_leakage_shift_and_ratio_are_found(profile: str, strong: bool) -> None:
    chosen, outcome = found(profile, strong)
    truth = true_leakage(chosen)
    values = outcome.values
    assert abs(values["leakage"].value - truth) < max(0.1 * truth, 5e-5)
    shift = (-2.3, 1.1) if strong else (1.2, -0.7)
    # Where hardly anything but calcite lies, refraction makes the shift less sure.
    assert (values["shift_x"].value, values["shift_y"].value) == pytest.approx(shift, abs=0.3 if strong else 0.1)
    true = {
        "leakage": truth, "coherent": true_leakage(chosen, depolarised=False), "ratio": 1.0,
        "shift_x": shift[0], "shift_y": shift[1],
    }  # fmt: skip
    for name, value in true.items():
        assert abs(values[name].value - value) < 3 * values[name].uncertainty, name


@pytest.mark.slow
def test_strong_coherent_leakage_is_told_from_depolarised_light() -> None:
    values = found("coccolith", True)[1].values
    assert values["coherent"].value > 5 * values["depolarised"].value * 0.5
    assert values["leakage_deviation"].value >= values["coherent"].value


@pytest.mark.slow
def test_thickness_follows_from_the_wavelength() -> None:
    values = found("easy", False)[1].values
    assert values["greatest_thickness"].value == pytest.approx(0.546 / (2 * 0.174), rel=2e-3)
    assert values["birefringence"].value == pytest.approx(0.1740, abs=1e-4)
    floor = 0.546 / (math.pi * 0.174) * math.atan(math.sqrt(values["leakage_deviation"].value))
    assert values["thickness_floor"].value == pytest.approx(floor, rel=1e-2)


@pytest.mark.long
@pytest.mark.parametrize("stirred_px", [(1.4, -0.8), (-6.0, 5.0)])
def test_a_stage_that_stirs_between_the_exposures_leaves_the_shift_alone(stirred_px: tuple[float, float]) -> None:
    def stir(shot: Shot) -> Shot:
        if shot.exposures_ms != (10 * MS[0],):
            return shot
        across, down = (0.059 * px for px in stirred_px)
        return replace(shot, x_um=shot.x_um - across, y_um=shot.y_um - down)

    chosen = settings_of(seed=2)
    with bench(chosen, stir) as rig:
        outcome = rig.carry_out(polarization(area_of(chosen, low_um=-14, high_um=14), STATES, MS, GREEN, places=4))
    for name, true in (("shift_x", 1.2), ("shift_y", -0.7)):
        told = outcome.values[name]
        assert abs(told.value - true) < max(3 * told.uncertainty, 0.1), told
        assert told.uncertainty < 0.2


def in_the_dark(shot: Shot) -> Shot:
    return replace(shot, lit=False)


def too_long(shot: Shot) -> Shot:
    return replace(shot, exposures_ms=tuple(500.0 for _ in shot.polarizations)) if shot.lit else shot


@pytest.mark.parametrize(
    ("alter", "profile", "reason"),
    [
        (in_the_dark, "easy", "nothing to focus on"),
        (too_long, "easy", "saturated"),
        (None, "blank", "nothing to focus"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(alter: Any, profile: str, reason: str) -> None:
    chosen = settings_of(profile, frame=192)
    with bench(chosen, alter or (lambda shot: shot)) as rig, pytest.raises(NotUsable, match=reason):
        rig.carry_out(polarization(area_of(chosen, size_um=30, low_um=-12, high_um=12), STATES, MS, GREEN))


@pytest.mark.parametrize("retardation_nm", [60.0, 150.0, 350.0])
def test_a_plate_of_known_retardation_is_read(retardation_nm: float) -> None:
    differences = []
    for azimuth in (10.0, 100.0):
        chosen = settings_of(frame=96, plate={"retardation_nm": retardation_nm, "azimuth_deg": azimuth})
        states = States(true_leakage(chosen), true_leakage(chosen, depolarised=False), 1.0, 0.02)
        with bench(chosen) as rig:
            check = retarder(*CENTRE, 0.0, STATES, MS, GREEN, states, retardation_nm, 0.5)
            difference = rig.carry_out(check).values["difference"]
        assert abs(difference.value) < 3 * difference.uncertainty
        differences.append(difference.value)
    assert abs(differences[0] - differences[1]) > 0.2
    assert np.mean(differences) == pytest.approx(0, abs=1.0)


def test_another_plate_than_the_certificate_says_is_told() -> None:
    chosen = settings_of(frame=96, plate={"retardation_nm": 60.0, "azimuth_deg": 10.0})
    states = States(true_leakage(chosen), true_leakage(chosen, depolarised=False), 1.0, 0.02)
    with bench(chosen) as rig, pytest.raises(NotUsable, match=r"reads .* where 150\.0 nm are expected"):
        rig.carry_out(retarder(*CENTRE, 0.0, STATES, MS, GREEN, states, 150.0, 0.5))


@pytest.mark.slow
def test_a_slide_with_objects_is_no_plate() -> None:
    chosen = settings_of("coccolith", frame=128, density=30.0)
    with bench(chosen) as rig, pytest.raises(NotUsable, match="not even"):
        rig.carry_out(retarder(*CENTRE, 0.0, STATES, MS, GREEN, States(0.002, 0.0, 1.0, 0.05), 100.0, 1.0))


@settings(deadline=None, max_examples=20)
@given(bright=st.floats(0, 0.45), seed=st.integers(0, 1000))
def test_the_mode_is_not_pulled_by_what_is_brighter(bright: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(1.0, 0.01, 20_000)
    values[: int(bright * len(values))] += random.exponential(0.5, int(bright * len(values)))
    assert mode(values) == pytest.approx(1.0, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(one=st.tuples(st.floats(-5, 5), st.floats(-5, 5)), seed=st.integers(0, 1000))
def test_an_image_that_is_moved_there_and_back_is_the_same(one: tuple[float, float], seed: int) -> None:
    image = np.random.default_rng(seed).standard_normal((63, 65)).astype(np.float32)
    back = moved(moved(image, one), (-one[0], -one[1]))
    np.testing.assert_allclose(back, image, atol=1e-3)
    whole = np.roll(image, (2, -3), (0, 1))
    np.testing.assert_allclose(moved(image, (-3, 2)), whole, atol=1e-3)
