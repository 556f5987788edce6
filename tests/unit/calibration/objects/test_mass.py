"""Masses of drawn objects of known thickness, seen by a camera, against volume times density; and their flags."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.corrections import Corrections
from calibration.objects.mass import Weighed, WeighedObject, weigh, weigh_fused
from calibration.objects.thickness import Heights, Optics, leakage_around, sharpened

PIXEL_UM, SIDE, FINE = 0.059, 110, 4
BLUR_UM = 0.21 * 0.546 / 1.4
OPTICS = Optics.of_calcite(0.546, PIXEL_UM)
GAIN, READ_DN, OFFSET_DN, EXPOSURE_MS, LAMP_DN_MS = 2.2, 3.5, 100.0, 20.0, 1500.0
SHARPNESS_LEFT = 0.025
"""Of a disc with a sharp edge, whose blur is taken back to first order."""
ALONE = Heights((0,), (1.0,), 0.0)


def disc_um(radius_um: float, thickness_um: float) -> NDArray[np.float64]:
    """Thickness of a disc in the middle of a crop, on a grid finer than pixels."""
    y, x = ((np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE - SIDE / 2) * PIXEL_UM
    return np.where(np.hypot(x, y) <= radius_um, thickness_um, 0.0)


def light_of(thickness_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """Crossed and parallel light of calcite, over that of the lamp, blurred by the objective; (2, h, w)."""
    half = np.pi * OPTICS.birefringence * thickness_um / OPTICS.wavelength_um
    states = []
    for fine in (np.sin(half) ** 2, np.cos(half) ** 2):
        blurred = cv2.GaussianBlur(fine, (0, 0), BLUR_UM / PIXEL_UM * FINE)
        states.append(cv2.resize(blurred, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return np.stack(states)


def frames_of(light: NDArray[np.float64], leakage: float, seed: int, full: int = 65535) -> NDArray[np.uint16]:
    """What a camera makes of it, one plane: (2, 1, h, w)."""
    random = np.random.default_rng(seed)
    mixed = light + leakage * light[::-1]
    electrons = random.poisson(mixed * LAMP_DN_MS * EXPOSURE_MS / GAIN)
    signal = electrons * GAIN + random.normal(0, READ_DN, mixed.shape) + OFFSET_DN
    return np.clip(np.rint(signal), 0, full).astype(np.uint16)[:, None]


def corrections(**changes: object) -> Corrections:
    known = replace(
        Corrections.assumed((SIDE, SIDE), (EXPOSURE_MS, EXPOSURE_MS)),
        offset_dn=np.full((SIDE, SIDE), OFFSET_DN, np.float32),
        dn_per_electron=GAIN,
        read_noise_dn=READ_DN,
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def sight_of(thickness_um: NDArray[np.float64]) -> WeighedObject:
    coverage = cv2.resize((thickness_um > 0).astype(np.float64), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return WeighedObject((0, 0, SIDE, SIDE), coverage > 0.5, crossed=0, parallel=1, aligned=0.0)


def weighed(thickness_um: NDArray[np.float64], leakage: float, seed: int, **changes: object) -> Weighed:
    frames = frames_of(light_of(thickness_um), leakage, seed)
    return weigh(frames, ALONE, 0.3, sight_of(thickness_um), corrections(**changes), OPTICS)


def test_the_disc_of_the_literature_weighs_what_it_should() -> None:
    disc = disc_um(1.5, 0.5)
    found = weighed(disc, 0.001, 1)
    assert found.equivalent_pg == pytest.approx(9.58, rel=SHARPNESS_LEFT)
    assert found.volume_um3 == pytest.approx(np.pi * 1.5**2 * 0.5, rel=SHARPNESS_LEFT)
    assert found.greatest_um == pytest.approx(0.5, abs=0.06)
    assert found.leakage == pytest.approx(0.001, abs=1e-4)
    assert not any((found.saturated, found.folded, found.disturbed))
    assert weigh_fused(
        frames_of(light_of(disc), 0.001, 1)[:, 0], sight_of(disc), found.leakage, corrections(), OPTICS
    ) == pytest.approx(9.58, rel=SHARPNESS_LEFT)


@pytest.mark.slow
@pytest.mark.parametrize("leakage", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("thickness_um", [0.08, 0.3])
def test_leakage_makes_no_mass_and_scatter_is_what_was_told(leakage: float, thickness_um: float) -> None:
    disc = disc_um(1.4, thickness_um)
    found = [weighed(disc, leakage, seed) for seed in range(24)]
    masses = np.array([one.equivalent_pg for one in found])
    true = 2.71 * np.pi * 1.4**2 * thickness_um
    assert masses.mean() == pytest.approx(true, rel=0.03)
    told = np.mean([np.hypot(one.noise_pg, 0) for one in found])
    assert 0.5 * told < masses.std(ddof=1) < 2.5 * told + 0.004 * true
    assert all(abs(one.equivalent_pg - true) < 3 * one.deviation_pg for one in found)


def test_nothing_weighs_nothing() -> None:
    sight = sight_of(disc_um(1.5, 0.5))
    nothing = light_of(np.zeros((SIDE * FINE, SIDE * FINE)))
    for leakage in (0.001, 0.01):
        found = [weigh(frames_of(nothing, leakage, s), ALONE, 0.3, sight, corrections(), OPTICS) for s in range(12)]
        masses = np.array([one.equivalent_pg for one in found])
        assert abs(masses.mean()) < 4 * masses.std(ddof=1) / np.sqrt(len(masses)) + 0.02
        assert all(abs(one.equivalent_pg) < 4 * one.deviation_pg for one in found)


def test_a_shift_between_the_states_is_taken_back() -> None:
    light = light_of(disc_um(1.5, 0.5))
    whole = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    light[0] = cv2.warpAffine(light[0], whole, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    frames, sight = frames_of(light, 0.001, 2), sight_of(disc_um(1.5, 0.5))
    found = weigh(frames, ALONE, 0.3, sight, corrections(shift_px=(2.0, -1.0)), OPTICS)
    assert found.equivalent_pg == pytest.approx(9.58, rel=SHARPNESS_LEFT)
    centre = np.argwhere(found.thickness > 0.25).mean(axis=0)
    assert centre == pytest.approx((SIDE / 2 - 0.5, SIDE / 2 - 0.5), abs=0.1)


def test_a_brighter_crossed_state_is_told_by_its_ratio() -> None:
    frames = frames_of(light_of(disc_um(1.5, 0.5)) * np.array([1.1, 1.0])[:, None, None], 0.0, 2)
    found = weigh(frames, ALONE, 0.3, sight_of(disc_um(1.5, 0.5)), corrections(ratio=1.1), OPTICS)
    assert found.equivalent_pg == pytest.approx(9.58, rel=SHARPNESS_LEFT)


def test_what_is_full_is_flagged() -> None:
    disc = disc_um(1.5, 0.9)
    frames = frames_of(light_of(disc), 0.0, 3, full=4095)
    assert weigh(frames, ALONE, 0.3, sight_of(disc), corrections(full_dn=4095), OPTICS).saturated


@pytest.mark.parametrize(("thickness_um", "folded"), [(0.9, False), (1.5, True), (1.65, True)])
def test_what_may_have_folded_back_is_flagged(thickness_um: float, folded: bool) -> None:
    assert weighed(disc_um(1.5, thickness_um), 0.001, 4).folded == folded


def test_a_lit_neighbour_is_left_out_of_the_background() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    around = np.hypot(x - SIDE / 2, y - SIDE / 2) > 35
    random = np.random.default_rng(5)
    crossed = (30 + random.normal(0, 4, (SIDE, SIDE))).astype(np.float32)
    crossed[:30, :30] += 500
    found = leakage_around(crossed, np.full((SIDE, SIDE), 30000, np.float32), around, 4.0)
    assert found.free
    assert found.share == pytest.approx(0.001, rel=0.02)
    assert not leakage_around(crossed + 5 * np.float32(x), np.full_like(crossed, 30000), around, 4.0).free


def test_a_single_crystal_is_less_sure_than_a_ring_of_them() -> None:
    disc = disc_um(1.5, 0.2)
    frames, sight = frames_of(light_of(disc), 0.001, 6), sight_of(disc)
    one, ring = (weigh(frames, ALONE, 0.3, replace(sight, aligned=a), corrections(), OPTICS) for a in (1.0, 0.05))
    assert one.equivalent_pg == ring.equivalent_pg
    # (lambda / (pi dn)) sqrt(leakage) of thickness, less that of the ring.
    extra = 2.71 * sight.inside.sum() * PIXEL_UM**2 * 0.546 / (np.pi * 0.174) * np.sqrt(one.leakage * (1 - 0.05**2))
    assert np.sqrt(one.deviation_pg**2 - ring.deviation_pg**2) == pytest.approx(extra, rel=0.02)


def test_between_planes_the_mass_follows_a_parabola() -> None:
    heights = Heights.at(4.3, 9, 0.3)
    assert heights.planes == (3, 4, 5)
    planes = np.array([(z - 3.9) ** 2 + 2.0 for z in heights.planes])
    assert float(heights.between(planes)) == pytest.approx((4.3 - 3.9) ** 2 + 2.0)
    assert Heights.at(0.2, 9, 0.3).planes == (0,)
    alone = Heights.at(4.3, 9, 0.5)
    assert (alone.planes, alone.weights) == ((4,), (1.0,))
    assert alone.offset == pytest.approx(0.3)


def test_sharpening_takes_back_a_blur_and_a_shift() -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)

    def spot(sigma_um: float, at: tuple[float, float]) -> NDArray[np.float32]:
        sigma = sigma_um / PIXEL_UM
        squared = (x - at[0]) ** 2 + (y - at[1]) ** 2
        return np.asarray(np.exp(-squared / (2 * sigma**2)) / (2 * np.pi * sigma**2), np.float32)

    blurred = spot(np.hypot(0.25, BLUR_UM), (33.2, 31.3))
    assert sharpened(blurred, OPTICS, (1.2, -0.7)) == pytest.approx(spot(0.25, (32, 32)), abs=2.5e-4)
    assert sharpened(np.full((64, 64), 7, np.float32), OPTICS) == pytest.approx(7, rel=1e-5)
