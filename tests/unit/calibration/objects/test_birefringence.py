"""Thickness and mass from polarized light, against Jones matrices that are multiplied here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.objects import birefringence as bcp

# Circular light of either handedness, in the basis of x and y.
RIGHT, LEFT = np.array([1, -1j]) / np.sqrt(2), np.array([1, 1j]) / np.sqrt(2)
WAVELENGTHS_UM = 0.546, 0.589


def retarder(phase: float, axis: float) -> np.ndarray:
    """Jones matrix of a plate, its fast axis at an angle in rad (R. C. Jones 1941)."""
    turn = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
    return np.asarray(turn @ np.diag([np.exp(-0.5j * phase), np.exp(0.5j * phase)]) @ turn.T)


def plate(thickness_um: float, axis: float, wavelength_um: float) -> np.ndarray:
    phase = 2 * np.pi * bcp.calcite_birefringence(wavelength_um) * thickness_um / wavelength_um
    return retarder(phase, axis)


def states(sample: np.ndarray, came: np.ndarray = RIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Intensities that are crossed and parallel to perfectly right-handed light."""
    light = sample @ came
    return np.array(abs(LEFT.conj() @ light) ** 2), np.array(abs(RIGHT.conj() @ light) ** 2)


def measured(sample: np.ndarray, wavelength_um: float) -> float:
    birefringence = bcp.calcite_birefringence(wavelength_um)
    return float(bcp.thickness_um(*states(sample), wavelength_um, birefringence))


@pytest.mark.parametrize(
    ("wavelength_um", "birefringence"), [(0.589, 0.172), (0.561, 0.1733), (0.546, 0.1740), (0.530, 0.1747)]
)
def test_birefringence_of_calcite_is_that_of_the_literature(wavelength_um: float, birefringence: float) -> None:
    assert bcp.calcite_birefringence(wavelength_um) == pytest.approx(birefringence, rel=2e-3)


@given(share=st.floats(0.001, 0.999), axis=st.floats(0, np.pi), wavelength_um=st.sampled_from(WAVELENGTHS_UM))
def test_any_plate_is_measured_whatever_its_axis(share: float, axis: float, wavelength_um: float) -> None:
    greatest = bcp.greatest_thickness_um(wavelength_um, bcp.calcite_birefringence(wavelength_um))
    thickness = share * greatest
    assert measured(plate(thickness, axis, wavelength_um), wavelength_um) == pytest.approx(thickness, rel=1e-3)


@given(beyond=st.floats(0.001, 0.999), wavelength_um=st.sampled_from(WAVELENGTHS_UM))
def test_what_is_thicker_folds_back(beyond: float, wavelength_um: float) -> None:
    greatest = bcp.greatest_thickness_um(wavelength_um, bcp.calcite_birefringence(wavelength_um))
    thick = (1 + beyond) * greatest
    assert measured(plate(thick, 0.3, wavelength_um), wavelength_um) == pytest.approx(2 * greatest - thick, rel=1e-3)


def test_two_plates_add_up_where_their_axes_are_parallel_and_cancel_where_they_are_crossed() -> None:
    one, along = plate(0.4, 0.2, 0.546), plate(0.3, 0.2, 0.546)
    across = plate(0.3, 0.2 + np.pi / 2, 0.546)
    assert measured(along @ one, 0.546) == pytest.approx(0.7, rel=1e-3)
    assert measured(across @ one, 0.546) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(("tilt_deg", "loss"), [(20, 0.10), (45, 0.46)])
def test_an_axis_out_of_the_plane_hides_thickness(tilt_deg: float, loss: float) -> None:
    # The extraordinary index seen along the light, by the index ellipsoid.
    ordinary, extraordinary = 1.6616, 1.6616 - 0.17396
    tilt = np.deg2rad(tilt_deg)
    seen = (np.sin(tilt) ** 2 / ordinary**2 + np.cos(tilt) ** 2 / extraordinary**2) ** -0.5
    phase = 2 * np.pi * (ordinary - seen) * 0.5 / 0.546
    assert 1 - measured(retarder(phase, 0.1), 0.546) / 0.5 == pytest.approx(loss, abs=0.03)


def test_depolarised_light_comes_off_before_the_ratio() -> None:
    crossed, parallel = states(plate(0.2, 0.7, 0.546))
    leakage = 0.01
    mixed = crossed + leakage * parallel, parallel + leakage * crossed
    birefringence = bcp.calcite_birefringence(0.546)
    naive = bcp.thickness_um(*mixed, 0.546, birefringence)
    assert float(naive) > 1.1 * 0.2
    apart = bcp.unmixed(*mixed, leakage)
    assert float(bcp.thickness_um(*apart, 0.546, birefringence)) == pytest.approx(0.2, rel=1e-3)


def test_coherent_leakage_of_one_percent_errs_as_much_as_was_predicted_for_a_single_crystal() -> None:
    birefringence, leak = bcp.calcite_birefringence(0.546), 0.1
    came = (RIGHT + leak * LEFT) / np.hypot(1, leak)
    errors = []
    for axis in np.linspace(0, np.pi, 61):
        crossed, parallel = states(plate(0.1, axis, 0.546), came)
        empty = states(np.eye(2), came)
        apart = bcp.unmixed(crossed, parallel, float(empty[0] / empty[1]))
        errors.append(float(bcp.thickness_um(*apart, 0.546, birefringence)))
    assert min(errors) == pytest.approx(-0.10, abs=0.02)
    assert max(errors) == pytest.approx(0.17, abs=0.02)


def test_leakage_is_read_around_an_object() -> None:
    crossed, parallel = np.full((20, 20), 3.0), np.full((20, 20), 1000.0)
    crossed[5:15, 5:15] = 400.0
    around = np.ones((20, 20), bool)
    around[5:15, 5:15] = False
    assert bcp.leakage_around(crossed, parallel, around) == pytest.approx(0.003)


def test_noise_is_not_turned_into_mass_and_its_size_is_known() -> None:
    random = np.random.default_rng(1)
    parallel, birefringence = np.full((200, 200), 1.0), bcp.calcite_birefringence(0.546)
    for signal in (0.0, 3e-3, 1e-1):
        deviation = np.full(parallel.shape, 5e-4)
        crossed = signal + deviation * random.standard_normal(parallel.shape)
        thickness = bcp.thickness_um(crossed, parallel - signal, 0.546, birefringence)
        told = bcp.thickness_noise_um(
            np.full(parallel.shape, signal), parallel - signal, deviation, 0.546, birefringence
        )
        assert thickness.std() == pytest.approx(float(told.mean()), rel=0.25)
        if signal == 0:
            assert abs(thickness.mean()) < 5 * told.mean() / np.sqrt(thickness.size)


def test_the_disc_of_the_literature_weighs_what_it_should() -> None:
    pixel_um = 0.0059
    y, x = np.mgrid[-1.6:1.6:pixel_um, -1.6:1.6:pixel_um]
    disc = np.where(np.hypot(x, y) <= 1.5, 0.5, 0.0)
    assert bcp.mass_pg(disc, pixel_um) == pytest.approx(9.58, rel=1e-3)


def test_an_object_near_the_greatest_thickness_may_be_folded() -> None:
    flat = np.full(1000, 0.5)
    assert not bcp.may_be_folded(flat, 1.57)
    flat[:21] = 1.45
    assert bcp.may_be_folded(flat, 1.57)
