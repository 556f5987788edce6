"""The light of the virtual slide against physics worked out without it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.settings import PolarizerErrors
from drivers.virtual_slide.matter import (
    CALCITE,
    OPAL,
    ORGANIC,
    REFERENCE_WAVELENGTH_UM,
    Body,
    Slice,
    birefringence,
)
from drivers.virtual_slide.optics.body_light import BodyLight, Mount, illuminate
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers, impurity, turned
from drivers.virtual_slide.specimens.canvas import Canvas, tilted
from drivers.virtual_slide.specimens.specimen import visible_thickness_um

WAVELENGTH = 0.546
CALCITE_DN = 0.1740
"""At 546 nm, to four digits, from tables."""
ONE_COLOUR = Mount(bandwidth_um=0.0)
ALL = (slice(0, 1), slice(0, 1))


def disc(radius_um: float, thickness_um: float, azimuth: float = 0.0, inclination: float = 0.0) -> Body:
    canvas = Canvas(2 * radius_um, 2 * radius_um)
    thickness = canvas.inside(np.hypot(canvas.x, canvas.y) - radius_um) * np.float32(thickness_um)
    axis, rise = np.full_like(canvas.x, azimuth), np.full_like(canvas.x, inclination)
    return canvas.body([Slice(0.0, CALCITE, thickness, axis, rise)])


def focus(light: BodyLight) -> int:
    return int(np.argmin(np.abs(light.planes_um)))


def middle(image: NDArray[np.generic], half: int = 5) -> float:
    y, x = (n // 2 for n in image.shape)
    return float(np.abs(image[y - half : y + half, x - half : x + half]).mean())


# ---- a single retarder


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(azimuth=st.floats(0, np.pi), thickness=st.floats(0.05, 2.5))
def test_a_uniform_retarder_flips_sin2_and_keeps_cos2_whatever_its_azimuth(azimuth: float, thickness: float) -> None:
    light = illuminate(disc(3.0, thickness, azimuth), ONE_COLOUR)
    half = np.pi * CALCITE_DN * thickness / WAVELENGTH
    assert light.flipped is not None
    assert middle(light.flipped[focus(light)]) == pytest.approx(np.sin(half) ** 2, abs=0.012)
    assert middle(light.kept[focus(light)]) == pytest.approx(np.cos(half) ** 2, abs=0.012)


@pytest.mark.parametrize(("wavelength", "dn"), [(0.589, 0.172), (0.561, 0.1733), (0.546, 0.1740), (0.530, 0.1747)])
def test_the_birefringence_of_calcite_follows_the_wavelength(wavelength: float, dn: float) -> None:
    assert abs(birefringence(CALCITE, wavelength)) == pytest.approx(dn, abs=3e-4)


@pytest.mark.parametrize(("tilt_deg", "cost"), [(20, 0.10), (45, 0.46), (90, 1.0)])
def test_an_axis_that_rises_out_of_the_slide_hides_thickness(tilt_deg: float, cost: float) -> None:
    flat, risen = (visible_thickness_um(disc(2.0, 0.3, 0.4, np.deg2rad(rise))) for rise in (0.0, tilt_deg))
    assert middle(risen) / middle(flat) == pytest.approx(1 - cost, abs=0.006)


def test_a_band_of_colours_leaves_light_where_one_colour_is_dark() -> None:
    full_wave = 3 * WAVELENGTH / CALCITE_DN
    one, many = (illuminate(disc(3.0, full_wave), Mount(bandwidth_um=width)) for width in (0.0, 0.04))
    assert one.flipped is not None
    assert many.flipped is not None
    assert middle(one.flipped[focus(one)]) < 0.004
    assert middle(many.flipped[focus(many)]) > 0.03


# ---- through focus


def test_a_thin_opal_disc_is_invisible_in_focus_and_reverses_its_contrast() -> None:
    """FACTS of a frustule of 30 nm: the least of LoG^2 in focus, two peaks 0.3 to 0.4 um away."""
    canvas = Canvas(8, 8)
    thickness = canvas.inside(np.hypot(canvas.x, canvas.y) - 3) * np.float32(0.03)
    light = illuminate(canvas.body([Slice(0.0, OPAL, thickness)]), Mount())
    assert light.flipped is None
    logs = [cv2.Laplacian(cv2.GaussianBlur(plane, (0, 0), 1.2), cv2.CV_32F, ksize=1) for plane in light.kept]
    energy = np.array([float((log[15:-15, 15:-15] ** 2).mean()) for log in logs])
    z = light.planes_um
    near = np.abs(z) < 1.5
    assert z[near][np.argmin(energy[near])] == 0
    below, above = (side & near for side in (z < 0, z > 0))
    peaks = [abs(float(z[side][np.argmax(energy[side])])) for side in (below, above)]
    assert all(0.25 <= peak <= 0.45 for peak in peaks)
    assert energy[focus(light)] < 0.01 * energy.max()
    one, other = (logs[int(np.flatnonzero(side)[np.argmax(energy[side])])].ravel() for side in (below, above))
    assert np.corrcoef(one, other)[0, 1] < -0.9


def test_a_point_is_in_focus_over_half_a_um() -> None:
    canvas = Canvas(1.5, 1.5)
    speck = canvas.inside(np.hypot(canvas.x, canvas.y) - 0.08)
    light = illuminate(canvas.body([Slice(0.0, ORGANIC, canvas.empty, absorption=0.5 * speck)]), Mount())
    dip = np.array([1 - float(plane[plane.shape[0] // 2, plane.shape[1] // 2]) for plane in light.kept])
    z = np.linspace(-1, 1, 401)
    there = np.interp(z, light.planes_um, dip) > dip.max() / 2
    assert 0.4 < float(z[there].max() - z[there].min()) < 0.65


@pytest.mark.parametrize("rise", [0.0, 0.6])
def test_energy_is_conserved_through_focus(rise: float) -> None:
    canvas = Canvas(5, 5)
    azimuth = np.arctan2(canvas.y, canvas.x)
    thickness = canvas.band(canvas.ellipse(2.2, 1.8), 0.5, 1.0, 2.0) * np.float32(0.4)
    body = canvas.body(tilted([Slice(0.0, CALCITE, thickness, azimuth)], canvas, rise))
    light = illuminate(body, Mount(), fade=False)
    assert light.flipped is not None
    energy = (light.kept + light.flipped).sum(axis=(1, 2), dtype=np.float64)
    assert np.ptp(energy) / energy.mean() < 1e-4
    assert light.flipped.sum(axis=(1, 2)).std() / light.flipped.sum(axis=(1, 2)).mean() < 1e-3


def test_a_tilted_plate_is_in_focus_band_by_band() -> None:
    canvas = Canvas(8, 8)
    stripes = canvas.inside(np.abs(canvas.y - 2.5) - 0.15) + canvas.inside(np.abs(canvas.y + 2.5) - 0.15)
    stripes = stripes * canvas.inside(np.abs(canvas.x) - 3)
    body = canvas.body(tilted([Slice(0.0, ORGANIC, canvas.empty, absorption=stripes)], canvas, np.deg2rad(30)))
    light = illuminate(body, Mount())
    rows = canvas.y[:, 0]
    for side in (-1, 1):
        row = int(np.argmin(np.abs(rows - side * 2.5 * np.cos(np.deg2rad(30)))))
        dip = 1 - light.kept[:, row, light.kept.shape[2] // 2]
        assert light.planes_um[int(np.argmax(dip))] == pytest.approx(side * 2.5 * np.sin(np.deg2rad(30)), abs=0.3)


# ---- polarizers, leakage, overlap


def jones(retardance: float, azimuth: float, amplitude: float) -> NDArray[np.complex128]:
    """Thin retarder between circular states (R, L)."""
    keep, flip = np.cos(retardance / 2), 1j * np.sin(retardance / 2)
    turn = np.exp(2j * azimuth)
    return amplitude * np.array([[keep, flip / turn], [flip * turn, keep]], np.complex128)


def patch(matrix: NDArray[np.complex128]) -> NDArray[np.float32]:
    keep, flip = matrix[0, 0], matrix[1, 0]
    coherence = flip * np.conj(keep)
    return np.array([[[abs(keep) ** 2 - 1, abs(flip) ** 2, coherence.real, coherence.imag]]], np.float32)


def through(polarizers: Polarizers, *bodies: NDArray[np.float32]) -> dict[str, float]:
    light = PolarizedLight((1, 1), polarizers)
    light.enter(ALL)
    for body in bodies:
        light.pass_body(ALL, body)
    return {state: float(light.analysed(ALL, state)[0, 0]) for state in (CROSSED, PARALLEL)}


retarders = st.tuples(st.floats(0.02, 3.1) | st.floats(3.18, 6.2), st.floats(0, np.pi), st.floats(0.2, 1))
"""Retardance, but for half a wave, whose azimuth cannot be told from f k*, azimuth, amplitude."""
errors = st.complex_numbers(max_magnitude=0.2)


@settings(deadline=None)
@given(parts=st.lists(retarders, max_size=4), polarizer=errors, analyser=errors)
def test_stacked_retarders_multiply_as_jones_matrices(
    parts: list[tuple[float, float, float]], polarizer: complex, analyser: complex
) -> None:
    field = np.array([1.0, polarizer])
    for part in parts:
        field = jones(*part) @ field
    crossed = abs(field[1] + analyser * field[0]) ** 2
    parallel = abs(field[0] - np.conj(analyser) * field[1]) ** 2
    seen = through(Polarizers(polarizer, analyser, 0.0), *(patch(jones(*part)) for part in parts))
    assert seen[CROSSED] == pytest.approx(crossed, abs=2e-4)
    assert seen[PARALLEL] == pytest.approx(parallel, abs=2e-4)


@settings(deadline=None)
@given(part=retarders, polarizer=errors, analyser=errors)
def test_a_body_alone_needs_no_more_than_its_weights(
    part: tuple[float, float, float], polarizer: complex, analyser: complex
) -> None:
    """Up to what is flipped twice."""
    light, body = PolarizedLight((1, 1), Polarizers(polarizer, analyser, 0.01)), patch(jones(*part))
    seen = through(Polarizers(polarizer, analyser, 0.01), body)
    for state in (CROSSED, PARALLEL):
        short = light.empty(state) + float((light.alone(state) @ body[0, 0])[0])
        assert short == pytest.approx(seen[state], abs=2.1 * abs(polarizer) * abs(analyser) + 1e-5)


def test_two_crossed_crystals_cancel_and_two_alike_add_up() -> None:
    perfect = Polarizers(0, 0, 0.0)
    one, across, alike = (patch(jones(0.6, angle, 1.0)) for angle in (0.3, 0.3 + np.pi / 2, 0.3))
    assert through(perfect, one, across)[CROSSED] < 1e-6
    assert through(perfect, one, across)[PARALLEL] == pytest.approx(1)
    assert through(perfect, one, alike)[CROSSED] == pytest.approx(np.sin(0.6) ** 2, rel=1e-4)


def test_a_body_that_is_turned_turns_the_phase_of_what_it_flips_twice() -> None:
    for angle in (0.0, 0.4, 2.2):
        straight, rotated = patch(jones(0.8, 0.5, 1.0)), patch(jones(0.8, 0.5 + angle, 1.0))
        made = straight[0, 0] @ turned(np.ones(4), angle).T
        assert made == pytest.approx(rotated[0, 0], abs=1e-6)


def test_a_quarter_wave_that_errs_leaks_the_square_of_half_its_error() -> None:
    assert abs(impurity(0.0, 0.0)) < 1e-12
    for error in (0.02, 0.1):
        assert abs(impurity(error, 0.0)) == pytest.approx(np.tan(error / 2), rel=1e-6)
        assert abs(impurity(0.0, error)) == pytest.approx(error, rel=0.01)


def read_um(seen: dict[str, float], empty: dict[str, float]) -> float:
    """Thickness by the formula of bidirectional circular polarization, leakage taken off in intensity."""
    share = empty[CROSSED] / empty[PARALLEL]
    crossed, parallel = seen[CROSSED] - share * seen[PARALLEL], seen[PARALLEL] - share * seen[CROSSED]
    angle = np.arctan2(np.sqrt(abs(crossed)), np.sqrt(parallel))
    return float(np.sign(crossed) * angle * WAVELENGTH / (np.pi * CALCITE_DN))


def test_coherent_leakage_of_one_percent_misreads_a_crystal_by_its_azimuth_but_not_a_ring() -> None:
    """A crystal of 0.1 um reads -0.10 to +0.17 um; a ring, whose azimuths are all there are, averages out."""
    leaky = Polarizers(0.1, 0.0, 0.0)
    empty = through(leaky)
    assert empty[CROSSED] / empty[PARALLEL] == pytest.approx(0.01, rel=1e-3)
    retardance = 2 * np.pi * CALCITE_DN * 0.1 / WAVELENGTH
    azimuths = np.arange(0, np.pi, np.pi / 72)
    crystals = [through(leaky, patch(jones(retardance, float(azimuth), 1.0))) for azimuth in azimuths]
    read = [read_um(seen, empty) for seen in crystals]
    assert min(read) == pytest.approx(-0.10, abs=0.015)
    assert max(read) == pytest.approx(0.17, abs=0.015)
    ring = {state: float(np.mean([seen[state] for seen in crystals])) for state in (CROSSED, PARALLEL)}
    assert read_um(ring, empty) == pytest.approx(0.1, abs=0.005)


def test_depolarised_light_comes_off_exactly_in_intensity() -> None:
    hazy = Polarizers(0, 0, 0.02)
    for thickness in (0.1, 0.6):
        retardance = 2 * np.pi * CALCITE_DN * thickness / WAVELENGTH
        assert read_um(through(hazy, patch(jones(retardance, 1.0, 1.0))), through(hazy)) == pytest.approx(
            thickness, rel=1e-3
        )


def test_default_polarizers_leak_a_few_thousandths() -> None:
    light = PolarizedLight((1, 1), Polarizers.of(PolarizerErrors()))
    assert 0.001 < light.empty(CROSSED) / light.empty(PARALLEL) < 0.006


def test_what_is_thicker_than_half_a_wave_is_folded() -> None:
    limit = REFERENCE_WAVELENGTH_UM / (2 * abs(CALCITE.birefringence))
    for beyond in (0.2, 0.8):
        assert middle(visible_thickness_um(disc(2.0, limit + beyond))) == pytest.approx(limit - beyond, abs=0.01)
