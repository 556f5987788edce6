"""The emulated stage micrometer: its light against optics worked out without it, and the pixel that is found on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from calibration.routines.micrometer import micrometer
from calibration.steps import Map, NotUsable, Outcome
from drivers.settings import Emulation, Instrument, Micrometer
from drivers.virtual_slide.micrometer import profile
from drivers.virtual_slide.optics.body_light import IMMERSION_INDEX, OBJECTIVE_NA, Mount
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from tests.support.bench import CENTRE, NO_TIMING, area_of, bench, instrument
from tests.support.instruments import slides

RULING = Micrometer(pitch_um=4.0, line_um=1.0)
GREEN = Mount(bandwidth_um=0.0)
ASKEW: dict[str, Any] = {
    "rotation_deg": -2.3, "shear_deg": 0.25, "mirrored": True, "pixel_scale": 1.017, "stage_scale": (1.002, 0.998),
    "xy_backlash_um": (1.4, 0.8), "xy_repeatability_um": 0.08,
}  # fmt: skip


def propagated(defocus_um: float, points: int = 1024, across: int = 41) -> np.ndarray:
    """A drawn grating, lit from an even square grid of points of the aperture, by FFT from plane to plane."""
    x = (np.arange(points) + 0.5) * RULING.pitch_um / points
    away = np.minimum(x, RULING.pitch_um - x)
    clear = (away > RULING.line_um / 2).astype(float)
    k = IMMERSION_INDEX / GREEN.wavelength_um
    frequency = np.fft.fftfreq(points, RULING.pitch_um / points)
    grid = np.linspace(-1, 1, across) * GREEN.condenser_na / GREEN.wavelength_um
    total, count = np.zeros(points), 0
    for tilt_x in grid:
        for tilt_y in grid[across // 2 :]:
            if math.hypot(tilt_x, tilt_y) * GREEN.wavelength_um > GREEN.condenser_na:
                continue
            radial = np.hypot(frequency + tilt_x, tilt_y)
            passed = radial * GREEN.wavelength_um <= OBJECTIVE_NA
            phase = 2 * np.pi * defocus_um * np.sqrt(np.maximum(k**2 - radial**2, 0))
            weight = 1 if tilt_y == 0 else 2
            total += weight * np.abs(np.fft.ifft(np.fft.fft(clear) * passed * np.exp(1j * phase))) ** 2
            count += weight
    return total / count


@pytest.mark.parametrize("defocus_um", [0.0, 0.3, -1.0, 4.0])
def test_the_light_is_that_of_a_drawn_grating_propagated_plane_by_plane(defocus_um: float) -> None:
    found = profile(RULING, GREEN, defocus_um)
    step = 1024 // len(found)
    expected = propagated(defocus_um)
    # The drawn one has its points between those of the profile.
    expected = (expected + np.roll(expected, 1))[::step] / 2
    assert np.abs(found - expected).max() < 0.02
    assert float(np.sqrt(np.mean((found - expected) ** 2))) < 0.006


def test_defocus_moves_light_and_loses_none() -> None:
    means = [float(profile(RULING, GREEN, z).mean(dtype=np.float64)) for z in (0.0, 0.5, 3.0)]
    # The condenser's points, more of them with defocus, cut the highest orders a little differently.
    assert means == pytest.approx([means[0]] * 3, abs=2e-3)
    clear = 1 - RULING.line_um / RULING.pitch_um
    assert clear - 0.03 < means[0] < clear


@pytest.mark.parametrize("line_um", [1.0, 2.0, 4.0])
def test_in_focus_lines_are_as_wide_as_they_are_ruled(line_um: float) -> None:
    ruling = Micrometer(pitch_um=10.0, line_um=line_um)
    light = profile(ruling, Mount(), 0.0)
    # The edge of a partly coherent image lies at more than a quarter of the light, and less than a half.
    narrow, wide = (float(np.mean(light < level)) * ruling.pitch_um for level in (0.25, 0.5))
    assert narrow - 0.04 < line_um < wide + 0.04
    assert wide - narrow < 0.15


def test_far_out_of_focus_the_light_is_even() -> None:
    near, far = (float(profile(RULING, Mount(), z).std()) for z in (0.0, 30.0))
    assert far < 0.05 * near


def test_light_between_two_planes_is_interpolated_closely() -> None:
    between = profile(RULING, GREEN, 0.125)
    around = (profile(RULING, GREEN, 0.10) + profile(RULING, GREEN, 0.15)) / 2
    assert np.abs(between - around).max() < 0.01


def quiet(**changes: Any) -> VirtualSlide:
    lamp = {"drift": 0, "flicker": 0, "vignette": 0, "dust": 0, "fringes": 0}
    emulation = {"lamp": lamp, "micrometer": {"pitch_um": 4.0, "line_um": 1.0, "angle_deg": 30.0}, **changes}
    return VirtualSlide(Emulation.model_validate(emulation), slides(), (128, 160), 0.059)


def test_a_frame_shows_the_lines_at_their_place_and_only_their_light_differs_between_states() -> None:
    world = quiet(polarizers={"shift_px": (0.0, 0.0)}, sensor={"gain_spread": 0, "hot_pixels": 0})
    frames = {}
    for state in ("parallel", "crossed"):
        out = np.empty((128, 160), np.uint16)
        world.render(View(1, 0, 0, state, *CENTRE, world.surface_z_um(1, *CENTRE)), 20.0, out)
        frames[state] = out.astype(float) - 100
    y, x = (np.arange(n) + 0.5 - n / 2 for n in (128, 160))
    turn = math.radians(30.0)
    place = (CENTRE[0] + x * 0.059) * math.cos(turn) + (CENTRE[1] + y[:, None] * 0.059) * math.sin(turn)
    light = profile(RULING, Mount(), 0.0)
    expected = np.interp(place % 4.0, np.arange(len(light) + 1) * 4.0 / len(light), np.append(light, light[0]))
    assert np.corrcoef(frames["parallel"].ravel(), expected.ravel())[0, 1] > 0.999
    assert np.corrcoef(frames["parallel"].ravel(), frames["crossed"].ravel())[0, 1] > 0.85
    assert frames["crossed"].mean() < 0.01 * frames["parallel"].mean()
    assert world.truth(1, *CENTRE) == ()
    assert not world.thickness_um(1, *CENTRE).any()


def test_the_micrometer_ends_with_the_cover_slip() -> None:
    world, out = quiet(), np.empty((128, 160), np.uint16)
    edge = (CENTRE[0] - 5_000.0 + 12.0, CENTRE[1])
    whole = quiet()
    whole.render(View(1, 0, 0, "parallel", *CENTRE, whole.surface_z_um(1, *CENTRE)), 20.0, out)
    inside = out.astype(float).mean()
    darkest = []
    for step in range(12):
        place = edge[0] + 3.0 * step, edge[1]
        world.render(View(1, 0, 0, "parallel", *place, world.surface_z_um(1, *place)), 20.0, out)
        darkest.append(out.astype(float).mean())
    assert min(darkest) < 0.7 * inside


@pytest.mark.parametrize(
    ("emulation", "told"),
    [
        ({"plate": {"retardation_nm": 100}, "micrometer": {}}, "plate and micrometer cannot both lie"),
        ({"micrometer": {"pitch_um": 10, "line_um": 9.5}}, "leave no room"),
        ({"micrometer": {"pitch_um": 0.5}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(emulation: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Emulation.model_validate(emulation)


def askew(frame: int = 384, ruling: Any = None, **changes: Any) -> Instrument:
    """An instrument with everything on."""
    ruling = {"pitch_um": 4.0, "line_um": 1.0, "angle_deg": 24.7} if ruling is None else ruling
    values = {"seed": 3, "timing": NO_TIMING, "misalignment": ASKEW, "micrometer": ruling, **changes}
    return instrument(frame_px=(frame, frame), emulation=values)


def found_on(settings: Instrument, pitch_um: float) -> Outcome:
    with bench(settings) as rig:
        return rig.carry_out(micrometer(area_of(settings, low_um=-14, high_um=14), "parallel", pitch_um))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pitch", "line", "angle"), [(4.0, 1.0, 24.7), (4.0, 2.8, -88.0), (2.0, 0.8, 65.4), (5.0, 2.5, 3.0)]
)
def test_pixel_and_angle_are_found_on_a_misaligned_instrument(pitch: float, line: float, angle: float) -> None:
    settings = askew(ruling={"pitch_um": pitch, "line_um": line, "angle_deg": angle})
    outcome = found_on(settings, pitch)
    pixel, found = outcome.values["pixel"], outcome.values["angle"]
    assert pixel.value == pytest.approx(0.059 * 1.017, rel=1e-3)
    assert abs(pixel.value - 0.059 * 1.017) < 3 * pixel.uncertainty
    off = abs(math.remainder(found.value - angle, 180))
    assert off < 0.05
    assert off < 3 * found.uncertainty
    assert isinstance(outcome.pictures[0], Map)


@pytest.mark.parametrize(
    ("changes", "pitch", "told"),
    [
        ({"lamp": {"power": 0}}, 4.0, "too dark"),
        ({"lamp": {"power": 2.6}}, 4.0, "saturated"),
        ({"micrometer": None, "profile": "blank"}, 4.0, "nothing to focus on"),
        ({}, 8.0, "far from the 0.059 um that the configuration says"),
        ({"micrometer": {"pitch_um": 10.0}}, 10.0, "fewer than 4 lines"),
    ],
)
def test_what_is_no_micrometer_is_told_in_a_sentence(changes: dict[str, Any], pitch: float, told: str) -> None:
    with pytest.raises(NotUsable, match=told):
        found_on(askew(256, **changes), pitch)


def test_a_micrometer_beyond_what_may_be_searched_is_told() -> None:
    settings = askew(256)
    with bench(settings) as rig, pytest.raises(NotUsable, match="focus"):
        rig.carry_out(micrometer(area_of(settings, low_um=16, high_um=26), "parallel", 4.0))
