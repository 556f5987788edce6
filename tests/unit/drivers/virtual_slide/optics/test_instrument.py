"""The instrument around the virtual slide: cover slip, lamp, dust, sensor, immersion, each against what is set."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.settings import Emulation, Lamp, MiniSlide, Range, Sensor
from drivers.virtual_slide.cover_slip import CoverSlip
from drivers.virtual_slide.optics.camera import DN_PER_ELECTRON, LAMP_DN_PER_MS, OFFSET_DN, READ_NOISE_DN, Camera
from drivers.virtual_slide.optics.illumination import Illumination
from drivers.virtual_slide.optics.immersion import Immersion
from drivers.virtual_slide.truth import View

PIXEL_UM = 0.059
FRAME = (384, 320)
CENTRE = (15000.0, 20000.0)
SIZE = (10000.0, 6000.0)
EVEN: dict[str, Any] = {"drift": 0, "flicker": 0, "vignette": 0, "dust": 0, "fringes": 0}
ALIKE = {"gain_spread": 0, "hot_pixels": 0}


def at(field: int = 1, plane: int = 0, polarization: str = "parallel", x_um: float = 0.0, slide: int = 1) -> View:
    return View(slide, field, plane, polarization, x_um, 0.0, 0.0)


def lit(seed: int = 5, frame: tuple[int, int] = FRAME, **lamp: Any) -> Illumination:
    return Illumination(frame, PIXEL_UM, Lamp(**lamp), seed)


def camera(sensor: dict[str, Any] | None = None, seed: int = 5, frame: tuple[int, int] = FRAME, **lamp: Any) -> Camera:
    return Camera(frame, Sensor(**(sensor or {})), seed, lit(seed, frame, **lamp))


def expose(
    cam: Camera, view: View, exposure_ms: float = 20, light: float = 1.0, frame: tuple[int, int] = FRAME
) -> NDArray[np.float64]:
    out = np.zeros(frame, np.uint16)
    cam.expose(np.full(frame, light, np.float32), view, exposure_ms, out)
    return out.astype(np.float64)


def quiet(cam: Camera, exposure_ms: float = 20, light: float = 1.0, frames: int = 60) -> NDArray[np.float64]:
    return np.asarray(np.mean([expose(cam, at(plane=k), exposure_ms, light) for k in range(frames)], axis=0))


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


# ---- the sensor


def test_signal_is_linear_in_exposure_and_light() -> None:
    cam = camera(ALIKE, **EVEN)
    for exposure_ms, light in ((2, 1.0), (20, 1.0), (40, 0.5), (20, 0.003)):
        signal = expose(cam, at(), exposure_ms, light).mean() - OFFSET_DN
        assert signal == pytest.approx(LAMP_DN_PER_MS * exposure_ms * light, rel=0.001, abs=0.05)


@pytest.mark.parametrize(("bits", "share"), [(16, 1.0), (12, 1 / 16)])
def test_photon_transfer_curve_has_the_slope_of_the_gain(bits: int, share: float) -> None:
    cam = camera({"bits": bits})
    means, variances = [], []
    for exposure_ms in (1, 5, 10, 20, 30, 40):
        flat = quiet(cam, exposure_ms, frames=2) - OFFSET_DN * share
        pairs = [expose(cam, at(plane=k), exposure_ms) - OFFSET_DN * share for k in range(20)]
        # The flicker of the lamp is no noise of the sensor.
        pairs = [one * (flat.mean() / one.mean()) for one in pairs]
        means.append(float(np.mean(pairs)))
        variances.append(np.mean([(a - b).var() / 2 for a, b in zip(pairs[::2], pairs[1::2], strict=True)]))
    slope, dark = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(DN_PER_ELECTRON * share, rel=0.04)
    assert abs(dark) < 0.03 * variances[-1]


def test_dark_frames_show_offset_columns_and_read_noise() -> None:
    cam = camera()
    dark = expose(cam, at(), 0.0)
    assert dark.mean() == pytest.approx(OFFSET_DN, abs=0.05)
    assert dark.std() == pytest.approx(READ_NOISE_DN, rel=0.05)
    still = quiet(cam, 0.0)
    columns = still.mean(axis=0)
    assert 0.2 < columns.std() < 0.3 * READ_NOISE_DN
    assert (still - columns).std() == pytest.approx(READ_NOISE_DN / np.sqrt(60), rel=0.1)


@pytest.mark.parametrize("spread", [0.008, 0.03])
def test_the_spread_of_gain_is_the_one_set(spread: float) -> None:
    still = quiet(camera({"gain_spread": spread, "hot_pixels": 0}, **EVEN)) - OFFSET_DN
    shot = DN_PER_ELECTRON * still.mean() / 60
    assert np.sqrt(still.var() - shot) / still.mean() == pytest.approx(spread, rel=0.02)
    rows = np.corrcoef(still[:-1].ravel(), still[1:].ravel())[0, 1]
    assert abs(rows) < 0.02


def test_hot_pixels_are_as_many_as_set_and_grow_with_exposure() -> None:
    cam = camera({"hot_pixels": 4e-4}, **EVEN)
    frames = {ms: quiet(cam, ms, light=0.0, frames=8) - OFFSET_DN for ms in (0, 20, 80)}
    hot = np.argwhere(frames[80] > 50)
    assert len(hot) == pytest.approx(4e-4 * FRAME[0] * FRAME[1], abs=3)
    rows, columns = hot.T
    assert frames[0][rows, columns].max() < 10
    assert frames[80][rows, columns] == pytest.approx(4 * frames[20][rows, columns], rel=0.2)
    assert frames[80].max() > 4000
    assert np.median(frames[80]) == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("bits", "full"), [(16, 65535), (12, 4095)])
def test_the_sensor_saturates_at_its_range(bits: int, full: int) -> None:
    cam = camera({"bits": bits})
    bright = expose(cam, at(), 200)
    assert bright.min() == bright.max() == full
    usual = expose(cam, at(), 20)
    assert 0.4 * full < np.median(usual) < 0.5 * full
    assert usual.max() <= full
    assert expose(cam, at(), 40).max() <= full


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("light", [0.0, 0.003, 0.3, 1.0])
def test_the_noise_told_is_the_noise_seen(bits: int, light: float) -> None:
    cam = camera({"bits": bits, "hot_pixels": 0}, **EVEN)
    frame = expose(cam, at(), 20, light)
    signal = frame.mean() - OFFSET_DN * (1 if bits == 16 else 1 / 16)
    assert cam.noise_dn(max(signal, 0)) == pytest.approx(frame.std(), rel=0.04 if bits == 16 else 0.1)


# ---- functions of seed and view alone


def test_same_seed_same_pixels_and_every_view_its_own_noise() -> None:
    views = [at(field, plane, p) for field, plane, p in product((1, 2), (0, 1), ("crossed", "parallel"))]
    views += [replace(view, attempt=2) for view in views[:2]]
    one, other = camera(), camera()
    frames = [expose(one, view) for view in views]
    again = [expose(other, view) for view in reversed(views)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))
    noise = [(cv2.Laplacian(expose(camera(ALIKE, **EVEN), view), cv2.CV_64F)).ravel() for view in views]
    assert np.abs(np.corrcoef(noise) - np.eye(len(views))).max() < 0.05


def test_another_seed_is_another_dust_gain_and_noise() -> None:
    large = (768, 768)
    fields = [lit(seed, large, vignette=0, fringes=0).still(False) for seed in (5, 6)]
    assert all(field.min() < 0.97 for field in fields)
    assert abs(correlation(*fields)) < 0.1
    gains = [quiet(camera({"hot_pixels": 0}, seed, **EVEN)) for seed in (5, 6)]
    assert abs(correlation(*gains)) < 0.02


# ---- the lamp and the way of its light


def test_dust_and_fringes_stay_in_the_frame_when_the_stage_moves() -> None:
    cam = camera()
    assert np.array_equal(expose(cam, at(x_um=0.0)), expose(cam, at(x_um=430.0)))
    smooth = [cv2.GaussianBlur(expose(cam, at(field)), (0, 0), 2) for field in (1, 40)]
    fine = [one - cv2.GaussianBlur(one, (0, 0), 25) for one in smooth]
    assert correlation(*fine) > 0.9


def test_dust_takes_light_in_few_places_and_is_as_much_as_set() -> None:
    field, none, much = (
        lit(7, (1024, 1024), vignette=0, fringes=0, dust=dust).still(False) for dust in (1.0, 0.0, 4.0)
    )
    assert np.ptp(none) == 0
    assert np.median(field) == pytest.approx(1, abs=0.003)
    dark = [cv2.connectedComponents((one < 0.985).astype(np.uint8))[0] - 1 for one in (field, much)]
    assert 8 <= dark[0] <= 50
    assert dark[1] > 2 * dark[0]
    assert 0.002 < np.mean(field < 0.985) < 0.06
    assert 0.3 < field.min() < 0.95


def test_the_corners_lose_what_is_set() -> None:
    field = lit(dust=0, fringes=0, vignette=0.2, frame=(400, 400)).still(False)
    corners = [field[rows, columns].mean() for rows, columns in product((np.s_[:4], np.s_[-4:]), repeat=2)]
    assert 1 - np.mean(corners) == pytest.approx(0.2, abs=0.01)
    assert field.max() == pytest.approx(1, abs=1e-3)


def test_fringes_are_as_strong_as_set_and_weaker_between_crossed_polarizers() -> None:
    light = lit(dust=0, vignette=0, fringes=0.01, frame=(1024, 1024))
    parallel, crossed = (light.still(state) - 1 for state in (False, True))
    assert 0.6 * 0.01 < np.abs(parallel).max() <= 0.0101
    assert parallel.mean() == pytest.approx(0, abs=0.003)
    assert np.ptp(crossed) < 0.6 * np.ptp(parallel)
    # The finest are tens of pixels wide: beside each other pixels are alike, at half a period they are not.
    assert np.abs(np.diff(parallel, axis=0)).max() < 0.002


def test_each_state_has_some_dust_of_its_own() -> None:
    light = lit(9, (1024, 1024), vignette=0, fringes=0)
    states = [light.still(state) - 1 for state in (False, True)]
    assert 0.6 < correlation(*states) < 0.9999


def test_flicker_is_as_strong_as_set() -> None:
    light = lit(flicker=0.003, drift=0)
    powers = [
        light.power(at(field, plane, state))
        for field, plane, state in product(range(60), range(9), ("crossed", "parallel"))
    ]
    assert np.std(powers) == pytest.approx(0.003, rel=0.1)
    assert np.mean(powers) == pytest.approx(1, abs=0.0005)
    assert len(set(powers)) == len(powers)
    assert powers[17] == lit(flicker=0.003, drift=0).power(at(0, 8, "parallel"))


def test_the_lamp_drifts_slowly_by_what_is_set() -> None:
    light = lit(flicker=0, drift=0.03)
    power = np.array([light.power(at(field)) for field in range(1500)])
    assert np.abs(power - 1).max() <= 0.03
    assert np.ptp(power) > 0.02
    assert np.abs(np.diff(power)).max() < 0.001
    assert light.power(at(3, plane=8, polarization="crossed")) == power[3]
    assert light.power(at(3, slide=2)) != power[3]


# ---- the cover slip


def slip(seed: int = 5, position: int = 1, **emulation: Any) -> CoverSlip:
    window = Range(low=-60, high=60)
    mini = MiniSlide(position=position, centre_um=CENTRE, size_um=SIZE, z_um=2, z_window_um=window)
    return CoverSlip(Emulation(seed=seed, **emulation), mini)


def sag(of: CoverSlip, share: float = 1.0) -> float:
    """Mean height of four corners, or of places so far on the way to them, above the centre: no tilt is in it."""
    corners = [
        of.surface_z_um(CENTRE[0] + share * u * SIZE[0] / 2, CENTRE[1] + share * v * SIZE[1] / 2)
        for u, v in product((-1, 1), repeat=2)
    ]
    return float(np.mean(corners)) - of.surface_z_um(*CENTRE)


def test_bending_is_a_paraboloid_within_what_is_set_and_zero_at_the_centre() -> None:
    sags = [sag(slip(seed, bend_um=2.0)) for seed in range(30)]
    assert max(np.abs(sags)) <= 2.0 + 1e-9
    assert min(np.abs(sags)) > 0.5
    assert max(np.abs(sags)) > 1.7
    assert min(sags) < 0 < max(sags)
    assert sag(slip(bend_um=5.0)) == pytest.approx(2.5 * sag(slip(bend_um=2.0)))
    assert sag(slip(), 0.5) == pytest.approx(sag(slip()) / 4)
    assert sag(slip(bend_um=0)) == pytest.approx(0, abs=1e-9)
    assert slip(bend_um=3.0).surface_z_um(*CENTRE) == slip(bend_um=0).surface_z_um(*CENTRE)


def test_height_and_tilt_are_within_what_is_set() -> None:
    for position in range(1, 9):
        of = slip(position=position, bend_um=0, height_um=5.0, tilt_um_per_mm=2.0)
        z = of.surface_z_um(*CENTRE)
        assert abs(z - 2) <= 5.0
        slopes = [of.surface_z_um(CENTRE[0] + dx, CENTRE[1] + dy) - z for dx, dy in ((1000, 0), (0, 1000))]
        assert 0.5 < math.hypot(*slopes) <= 2.0 + 1e-9
    assert len({slip(position=position).surface_z_um(*CENTRE) for position in range(1, 9)}) == 8


SIDES = [(-1, 0), (1, 0), (0, -1), (0, 1)]


def place_on(side: tuple[int, int], inside_um: float, along_um: float = 300.0) -> tuple[float, float]:
    """A place so far inside the straight line of a side."""
    (u, v), (width, height) = side, SIZE
    x = CENTRE[0] + (u * (width / 2 - inside_um) if u else along_um)
    return x, CENTRE[1] + (v * (height / 2 - inside_um) if v else along_um)


def test_inside_there_is_no_edge() -> None:
    assert slip().edge(*CENTRE, (1024, 1024), PIXEL_UM) is None
    for side in SIDES:
        assert slip().edge(*place_on(side, 120.0), (1024, 1024), PIXEL_UM) is None
        assert slip().covers(*place_on(side, 120.0))
        assert not slip().covers(*place_on(side, -120.0))


@pytest.mark.parametrize("side", SIDES)
def test_across_the_edge_lie_a_dark_band_a_bright_line_and_the_bare_slide(side: tuple[int, int]) -> None:
    of = slip(6)
    depth = next(d for d in np.arange(-30, 60, 0.25) if of.covers(*place_on(side, float(d))))
    assert abs(depth) < 45
    x_um, y_um = place_on(side, float(depth))
    light = of.edge(x_um, y_um, (1024, 1024), PIXEL_UM)
    assert light is not None
    assert light.dtype == np.float32
    assert light.shape == (1024, 1024)
    across = light[512] if side[0] else light[:, 512]
    across = across if sum(side) > 0 else across[::-1]  # from inside to outside
    dark = np.flatnonzero(across < 0.5)
    assert 3 < len(dark) * PIXEL_UM < 16
    assert abs(dark.max() - 512) * PIXEL_UM < 2.5
    assert across.min() < 0.15
    assert across[dark.max() : dark.max() + 60].max() > 1.1
    beyond = across[dark.max() + 200 :]
    assert beyond.mean() == pytest.approx(1, abs=0.01)
    assert across[:100] == pytest.approx(1, abs=0.02)


def test_the_bare_slide_far_outside_is_bare() -> None:
    assert slip().edge(*place_on((1, 0), -300.0), FRAME, PIXEL_UM) is None


def test_the_edge_stays_on_the_slide_when_the_stage_moves() -> None:
    of = slip(6)
    x, y = place_on((1, 0), 10.0)
    before, after = (of.edge(x + dx, y, (1024, 1024), PIXEL_UM) for dx in (0.0, 100 * PIXEL_UM))
    assert before is not None
    assert after is not None
    assert np.abs(before[:, 100:] - after[:, :-100]).mean() < 0.01
    assert np.abs(before - after).mean() > 0.03


def test_the_edge_is_chipped_and_depends_on_the_seed() -> None:
    def line(seed: int) -> list[float]:
        of = slip(seed)
        places = [
            next(d for d in np.arange(-20, 60, 0.5) if of.covers(*place_on((1, 0), float(d), a)))
            for a in range(0, 2000, 80)
        ]
        return [float(place) for place in places]

    one, other = line(6), line(7)
    assert one == line(6)
    assert one != other
    straight = np.polyval(np.polyfit(np.arange(len(one)), one, 1), np.arange(len(one)))
    assert 0.5 < np.std(one - straight) < 12


# ---- under the objective


def specimens() -> NDArray[np.float32]:
    light = np.ones((512, 512), np.float32)
    for row, column in product(range(40, 512, 60), repeat=2):
        cv2.circle(light, (column, row), 8, 0.6, 2)
    return light


def test_without_oil_light_and_contrast_go_but_not_the_noise() -> None:
    light = specimens()
    lost = light.copy()
    Immersion(oil=False).disturb(lost)
    assert lost.mean() == pytest.approx(0.4 * light.mean(), rel=0.01)
    assert lost.std() / lost.mean() < 0.3 * light.std() / light.mean()
    cam = camera(ALIKE, frame=(512, 512), **EVEN)
    out = np.zeros((512, 512), np.uint16)
    cam.expose(lost, at(), 20, out)
    fine = cv2.Laplacian(out.astype(np.float64), cv2.CV_64F).std() / np.sqrt(20)
    assert fine == pytest.approx(np.sqrt(DN_PER_ELECTRON * (out.mean() - OFFSET_DN)), rel=0.05)


def test_a_bubble_is_a_wide_dark_ring_around_a_dim_window() -> None:
    light = np.ones((512, 512), np.float32)
    Immersion(bubble=True).disturb(light)
    assert light.min() < 0.05
    assert light[270, 240] == pytest.approx(0.4, rel=0.1)
    assert light[0, 511] > 0.7
    assert np.median(light) < 0.5
    assert np.abs(np.diff(light, axis=0)).max() < 0.02


def test_with_oil_nothing_changes() -> None:
    light = specimens()
    Immersion().disturb(light)
    assert np.array_equal(light, specimens())
