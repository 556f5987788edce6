"""Diatoms, other siliceous bodies and debris of the virtual slide: sizes, fine structure, and the light they make."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.virtual_slide.matter import CALCITE, GAS, OPAL, QUARTZ, Body
from drivers.virtual_slide.optics.body_light import BodyLight, Mount, illuminate
from drivers.virtual_slide.specimens import debris, diatoms, siliceous
from drivers.virtual_slide.specimens.kinds import Kind
from drivers.virtual_slide.specimens.relief import cut

ALL = {kind.name: kind for kind in (*diatoms.KINDS, *siliceous.KINDS, *debris.KINDS)}
OF_OPAL = [kind.name for kind in (*diatoms.KINDS, *siliceous.KINDS)]


def draw(name: str, length_um: float, seed: int) -> Body:
    return ALL[name].draw(length_um, np.random.default_rng(seed))


def thickness(body: Body) -> NDArray[np.float64]:
    return np.asarray(np.sum([layer.thickness for layer in body.slices], axis=0, dtype=np.float64))


def axes_um(body: Body) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = body.mask.shape
    y, x = np.mgrid[0:rows, 0:columns]
    return (x + 0.5 - columns / 2) * body.pixel_um, (y + 0.5 - rows / 2) * body.pixel_um


def longest_um(body: Body) -> float:
    contours, _ = cv2.findContours(body.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0].astype(np.float64)
    return float(np.hypot(*(hull[:, None] - hull[None]).transpose(2, 0, 1)).max() + 1) * body.pixel_um


def plane(light: BodyLight, z_um: float) -> int:
    return int(np.abs(light.planes_um - z_um).argmin())


def ring_period_um(image: NDArray[np.float64], pixel_um: float, low_um: float, high_um: float) -> float:
    """Period of the strongest ring of a hexagonal pattern's spectrum, turned into the distance of neighbours."""
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(
        np.fft.fftfreq(image.shape[0], pixel_um)[:, None], np.fft.fftfreq(image.shape[1], pixel_um)[None]
    )
    edges = np.linspace(1 / high_um, 1 / low_um, 40)
    share = [power[(frequency >= a) & (frequency < b)].sum() for a, b in pairwise(edges)]
    peak = int(np.argmax(share))
    return float(2 / np.sqrt(3) / ((edges[peak] + edges[peak + 1]) / 2))


@pytest.mark.parametrize("name", ALL)
def test_is_as_long_as_asked_and_lies_within_its_grid(name: str) -> None:
    sizes = ALL[name].sizes
    for seed, share in enumerate((0.0, 0.3, 0.6)):
        body = draw(name, sizes.quantile(share), seed)
        assert longest_um(body) == pytest.approx(sizes.quantile(share), rel=0.05)
        assert not body.mask[[0, -1]].any()
        assert not body.mask[:, [0, -1]].any()
        assert len(body.slices) <= 12


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_draws_the_same_body_and_another_seed_another(name: str) -> None:
    first, again, other = (draw(name, ALL[name].sizes.low_um, seed) for seed in (5, 5, 6))
    assert len(first.slices) == len(again.slices)
    for a, b in zip(first.slices, again.slices, strict=True):
        assert a.z_um == b.z_um
        np.testing.assert_array_equal(a.thickness, b.thickness)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.mask.shape != other.mask.shape or not np.array_equal(thickness(first), thickness(other))


@pytest.mark.parametrize("name", OF_OPAL)
def test_opal_stays_dark_between_crossed_polarizers(name: str) -> None:
    body = draw(name, ALL[name].sizes.low_um, 1)
    assert all(layer.material.birefringence == 0.0 for layer in body.slices)
    assert all(1.43 <= layer.material.index <= 1.46 for layer in body.slices)
    assert not body.birefringent


def test_kinds_are_what_the_catalogue_says() -> None:
    def of(kinds: tuple[Kind, ...]) -> set[tuple[str, bool]]:
        return {(kind.class_name, kind.junk) for kind in kinds}

    assert of(diatoms.KINDS) == {("diatom", False)}
    assert of(siliceous.KINDS) == {("silicoflagellate", False), ("radiolarian", False), ("spicule", False)}
    assert of(debris.KINDS) == {("aggregate", True), ("bubble", True), ("fluff", True)}


def test_cutting_keeps_matter_and_its_mean_height() -> None:
    y, x = np.mgrid[-40:40, -40:40].astype(np.float32) / 10
    sheet, height = np.full_like(x, 0.05), (2 - 0.1 * (x**2 + y**2)).astype(np.float32)
    lump = np.full_like(x, 1.7)
    for matter in (sheet, lump):
        slices = cut([(matter, height)], OPAL, 0.5)
        np.testing.assert_allclose(sum(layer.thickness for layer in slices), matter, rtol=1e-4)
        mean = sum(layer.thickness * layer.z_um for layer in slices) / matter
        # A border between two slices may be anywhere in the lump, never more than a part of a step off.
        np.testing.assert_allclose(mean, height, atol=0.07)
        spacing = np.diff([layer.z_um for layer in slices])
        assert (spacing <= 0.5 + 1e-6).all()


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_thalassiosira_is_faint(seed: int) -> None:
    length = 13.0
    body = draw("thalassiosira", length, seed)
    light = illuminate(body, Mount())
    assert light.flipped is None
    x, y = axes_um(body)
    middle = np.hypot(x, y) < 0.33 * length
    low, high = body.depth_um
    near = (light.planes_um > low - 0.7) & (light.planes_um < high + 0.7)
    swing = [float(np.ptp(np.percentile(image[middle], [2, 98]))) / 2 for image in light.kept[near]]
    assert 0.01 <= max(swing) <= 0.10
    assert abs(float(light.kept[plane(light, 0.0)][middle].mean()) - 1) < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_thalassiosira_has_areolae_half_to_one_micrometre_apart(seed: int) -> None:
    body = draw("thalassiosira", 16.0, seed)
    x, y = axes_um(body)
    rows, columns = (np.abs(y[:, 0]) < 4.8), (np.abs(x[0]) < 4.8)
    web = np.minimum(thickness(body)[np.ix_(rows, columns)], 0.24)
    assert 0.45 <= ring_period_um(web, body.pixel_um, 0.3, 1.4) <= 1.1
    thin = thickness(body)[np.hypot(x, y) < 5.0]
    assert 0.019 <= np.percentile(thin, 10) <= 0.062


@pytest.mark.parametrize("seed", range(2))
def test_coscinodiscus_has_chambers_one_to_two_micrometres_wide(seed: int) -> None:
    body = draw("coscinodiscus", 42.0, seed)
    x, y = axes_um(body)
    rows, columns = (np.abs(y[:, 0]) < 14), (np.abs(x[0]) < 14)
    web = thickness(body)[np.ix_(rows, columns)]
    assert 1.0 <= ring_period_um(web, body.pixel_um, 0.7, 3.0) <= 2.1
    assert 1.0 <= np.percentile(web, 98) <= 2.0


@pytest.mark.parametrize("seed", range(4))
def test_nitzschia_has_a_keel_on_one_side_with_fibulae_half_to_one_micrometre_apart(seed: int) -> None:
    length = 40.0
    body = draw("nitzschia", length, seed)
    x, _ = axes_um(body)
    matter = thickness(body)
    columns = np.flatnonzero(np.abs(x[0]) < 0.35 * length)
    border = round(1.2 / body.pixel_um)
    upper, lower = [], []
    for column in columns:
        inside = np.flatnonzero(body.mask[:, column])
        lower.append(matter[inside[0] : inside[0] + border, column].sum())
        upper.append(matter[inside[-1] - border : inside[-1] + 1, column].sum())
    assert np.mean(upper) > 2 * np.mean(lower)
    beads = np.array(upper) - np.mean(upper)
    power = np.abs(np.fft.rfft(beads * np.hanning(len(beads)))) ** 2
    frequency = np.fft.rfftfreq(len(beads), body.pixel_um)
    range_ = frequency > 0.5
    assert 0.5 <= 1 / frequency[range_][power[range_].argmax()] <= 1.05


def test_thalassionema_is_narrow_with_thicker_margins() -> None:
    for seed in range(6):
        body = draw("thalassionema", 30.0, seed)
        rows = np.flatnonzero(body.mask[:, body.mask.shape[1] // 2])
        assert 1.5 <= rows.size * body.pixel_um <= 4.3
        across = thickness(body)[:, body.mask.shape[1] // 2]
        assert across[rows[:3]].max() > 3 * across[rows].min()
        assert 0.018 <= across[rows[3:-3]].min() <= 0.085


def test_a_spore_is_rimmed_by_its_wall_seen_edge_on() -> None:
    for seed in range(4):
        body = draw("chaetoceros_spore", 10.0, seed)
        contour, _ = cv2.findContours(body.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        inside = cv2.distanceTransform(body.mask.astype(np.uint8), cv2.DIST_L2, 5) * body.pixel_um
        matter = thickness(body)
        face = np.median(matter[inside > 1.2])
        # Two faces of 50 to 100 nm, more where they are inclined to the light.
        assert 0.05 <= face <= 0.30
        assert matter[(inside > 0) & (inside < 0.4)].mean() > 2 * face
        assert len(contour) == 1


def test_deep_bodies_are_as_deep_as_known() -> None:
    def depth(name: str, length_um: float, seed: int) -> float:
        low, high = draw(name, length_um, seed).depth_um
        return high - low

    for seed in range(3):
        assert 4 <= depth("dictyocha", 22.0, seed) <= 15
        assert 4 <= depth("radiolarian", 45.0, seed) <= 20
        assert 5 <= depth("aggregate", 22.0, seed) <= 20
        assert depth("thalassionema", 30.0, seed) <= 3
    # A silicoflagellate stands on its basal ring (bars of up to 2 um, a little tilted): most of it is there, an apical
    # structure is well above.
    skeleton = draw("dictyocha", 30.0, 3)
    volume = np.array([layer.thickness.sum() for layer in skeleton.slices])
    z = np.array([layer.z_um for layer in skeleton.slices])
    assert volume[np.abs(z) < 2].sum() > 0.5 * volume.sum()
    assert volume[z > 4].sum() > 0.05 * volume.sum()


def test_bars_of_skeletons_are_as_thick_as_known() -> None:
    # Bars are round: as thick along the light as they are wide, less a hollow core, more where they slope.
    for name, length, low, high in (("dictyocha", 25.0, 0.9, 2.1), ("radiolarian", 45.0, 1.6, 6.0)):
        for seed in range(3):
            body = draw(name, length, seed)
            matter = thickness(body)
            inside = cv2.distanceTransform((matter > 0.05).astype(np.uint8), cv2.DIST_L2, 5) * body.pixel_um
            middle = (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8)) - 1e-6) & (inside > 0.3)
            wide = 2 * float(np.median(inside[middle]))
            assert low <= wide <= high
            assert 0.5 * wide <= np.median(matter[middle]) <= 1.3 * wide


def test_a_spicule_has_a_canal_along_its_axis() -> None:
    for seed in range(3):
        body = draw("spicule", 80.0, seed)
        across = thickness(body)[:, body.mask.shape[1] // 2]
        rows = np.flatnonzero(body.mask[:, body.mask.shape[1] // 2])
        assert 3.0 <= rows.size * body.pixel_um <= 15.3
        middle = (rows[0] + rows[-1]) // 2
        canal = across.max() - across[middle - 1 : middle + 2].min()
        assert 0.3 <= canal <= 1.1


def test_an_aggregate_is_dark_and_sparkles_between_crossed_polarizers() -> None:
    body = draw("aggregate", 14.0, 3)
    light = illuminate(body, Mount())
    assert light.flipped is not None
    here = plane(light, 0.0)
    assert 0.2 <= light.kept[here][body.mask].mean() <= 0.85
    speckle = light.flipped.max(axis=0)[body.mask]
    assert speckle.max() > 0.02
    assert np.median(speckle) < 0.25 * speckle.max()
    grains = [layer for layer in body.slices if layer.material in (CALCITE, QUARTZ)]
    azimuths = np.concatenate([np.unique(layer.azimuth[layer.thickness > 0]) for layer in grains])  # type: ignore[index]
    assert azimuths.size > 10
    assert np.ptp(azimuths) > 2


def test_a_bubble_is_a_thick_black_ring_around_a_clear_middle() -> None:
    radius = 7.0
    body = draw("bubble", 2 * radius, 0)
    light = illuminate(body, Mount())
    assert light.flipped is not None
    x, y = axes_um(body)
    share = np.hypot(x, y) / radius
    here = plane(light, 0.0)
    assert light.kept[here][share < 0.3].mean() > 0.8
    # 1 / 1.56 of the radius is where total reflection begins.
    assert light.kept[here][(share > 0.7) & (share < 0.93)].max() < 0.1
    rim = light.flipped[here][(share > 0.48) & (share < 0.64)]
    assert 0.003 < rim.max() < 0.06
    assert light.flipped[here][share < 0.3].max() < 0.1 * rim.max()
    assert float(body.thickness_um(GAS).max()) == pytest.approx(2 * radius, rel=0.02)


def test_fluff_takes_a_few_percent_and_has_no_edge() -> None:
    body = draw("fluff", 30.0, 2)
    taken = np.sum([layer.absorption for layer in body.slices if layer.absorption is not None], axis=0)
    assert 0.02 <= np.percentile(taken[body.mask], 90) <= 0.12
    steps = np.hypot(*np.gradient(taken)) / body.pixel_um
    assert steps[~body.mask].max() < 0.05
    assert taken[~body.mask].max() < 0.3 * taken.max()
