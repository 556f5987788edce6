from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration.routines.stage_z import KnownHeight, scatter_of_planes, stage_z
from calibration.steps import NotUsable, Outcome, Shot
from tests.support.bench import CENTRE, FRAME_S, NO_TIMING, area_of, bench, instrument

STATES = ("crossed", "parallel")
DRIFT_UM = 0.01


def found(
    seed: int, alter: Callable[[Shot], Shot] = lambda shot: shot, profile: str = "easy", **keys: Any
) -> tuple[Outcome, list[Shot]]:
    known, emulation = keys.pop("known", None), {"backlash_um": 0.8, "jitter_um": 0.05, "drift_um_per_field": DRIFT_UM}
    places, sweeps, side = keys.pop("places", 8), keys.pop("sweeps", 3), keys.pop("side", 256)
    values = {"seed": seed, "profile": profile, "density": 3.0, "timing": NO_TIMING, **emulation, **keys}
    chosen = instrument(frame_px=(side, side), emulation=values)
    with bench(chosen, alter) as rig:
        routine = stage_z(area_of(chosen, low_um=-16, high_um=16), STATES, sweeps, places, known)
        return rig.carry_out(routine), rig.shots


@pytest.mark.slow
def test_backlash_drift_scatter_and_direction_are_found() -> None:
    outcome, shots = found(2, sweeps=8, side=384)
    planes = next(shot.planes for shot in shots if shot.step_um < 0)
    # Emulated drift goes by shots, each of which lasts as long as its planes.
    truth = {"backlash": 0.8, "repeatability": 0.05, "drift": 60 * DRIFT_UM / (planes * FRAME_S)}
    for name, value in truth.items():
        assert abs(outcome.values[name].value - value) < 3 * outcome.values[name].uncertainty, name
    assert outcome.values["backlash"].uncertainty < 0.05
    direction = outcome.values["direction"]
    assert direction.value > 3 * direction.uncertainty


def test_a_drive_without_play_has_none() -> None:
    backlash = found(1, backlash_um=0.0, jitter_um=0.0, places=0)[0].values["backlash"]
    assert abs(backlash.value) < 3 * backlash.uncertainty + 0.01


def upside_down(shot: Shot) -> Shot:
    """A drive that takes the objective away where it says it brings it nearer."""
    return replace(shot, first_z_um=-shot.first_z_um, step_um=-shot.step_um)


@pytest.mark.slow
def test_a_drive_that_goes_the_other_way_is_told() -> None:
    with pytest.raises(NotUsable, match="larger z takes the objective away from the sample"):
        found(2, upside_down, side=384)


def test_a_drive_that_goes_somewhere_is_not_usable_however_unsure_it_is() -> None:
    random = np.random.default_rng(0)

    def astray(shot: Shot) -> Shot:
        return shot if shot.planes < 20 else replace(shot, first_z_um=shot.first_z_um + random.uniform(-1.9, 1.9))

    with pytest.raises(NotUsable, match="the focus drive does not go where it says"):
        found(1, astray, places=0, sweeps=4)


UPPER = (CENTRE[0] + 500, CENTRE[1])
STEP_UM, SCALE = 6.0, 1.05


def on_the_target(shot: Shot) -> Shot:
    """The upper place shows what the lower one does, so many true um higher."""
    if abs(shot.x_um - UPPER[0]) > 1:
        return shot
    return replace(shot, x_um=CENTRE[0], first_z_um=shot.first_z_um - STEP_UM / SCALE)


@pytest.mark.slow
def test_a_step_is_as_long_as_a_target_of_known_height_says() -> None:
    known = KnownHeight(CENTRE, UPPER, STEP_UM, 0.01)
    outcome, _ = found(4, on_the_target, known=known, places=0, misalignment={"z_scale": SCALE})
    scale = outcome.values["scale"]
    assert scale.value == pytest.approx(SCALE, rel=0.01)
    assert abs(scale.value - SCALE) < 3 * scale.uncertainty
    assert "scale" not in found(4, places=0)[0].values


def stuck(shot: Shot) -> Shot:
    return replace(shot, first_z_um=0.0, step_um=0.0)


@pytest.mark.parametrize(("alter", "profile"), [(stuck, "easy"), (lambda shot: shot, "blank")])
def test_a_stage_that_is_stuck_or_a_blank_slide_is_told(alter: Any, profile: str) -> None:
    with pytest.raises(NotUsable, match=r"nothing to focus on|stuck|outside"):
        found(1, alter, profile)


@pytest.mark.parametrize("scatter_um", [0.02, 0.05, 0.1])
def test_the_scatter_of_planes_is_told_from_noise_and_drift(scatter_um: float) -> None:
    heights = 0.25 * np.arange(-12, 13)
    estimates = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        off = scatter_um * random.standard_normal((8, 25)) + 0.02 * np.arange(8)[:, None]
        curves = 1 + 2 * np.exp(-((heights + off) ** 2) / 2)
        curves += 0.003 * random.standard_normal(curves.shape)
        estimates.append(scatter_of_planes(curves, 0.25))
    assert np.mean(estimates) == pytest.approx(scatter_um, rel=0.12)
