"""Coccoliths weigh what the literature says, grains are single crystals, and all are as long as they claim."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.virtual_slide.matter import CALCITE, QUARTZ, Body, Slice
from drivers.virtual_slide.optics.body_light import Mount, illuminate
from drivers.virtual_slide.specimens import coccoliths, crystals
from drivers.virtual_slide.specimens.canvas import Canvas, tilted
from drivers.virtual_slide.specimens.kinds import Kind

KINDS = {kind.name: kind for kind in coccoliths.KINDS + crystals.KINDS}
GRAINS = ["quartz", "shard"]


def variants(kind: Kind, count: int) -> list[tuple[float, Body]]:
    """Some bodies of a kind, from its smallest to its largest."""
    lengths = [kind.sizes.quantile(share) for share in np.linspace(0, 1, count)]
    return [(length, kind.draw(length, np.random.default_rng([5, n]))) for n, length in enumerate(lengths)]


def flat(angle: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert angle is not None
    return angle.ravel()


def mass_pg(body: Body, visible: bool = False) -> float:
    """Mass of its calcite; or that which circular polarization shows, an axis along the light being dark."""
    volume = 0.0
    for layer in body.slices:
        hidden = 0 if layer.inclination is None or not visible else np.sin(layer.inclination.astype(float)) ** 2
        volume += float((layer.thickness.astype(float) * (1 - hidden)).sum()) * body.pixel_um**2
    return 2.71 * volume


def feret_um(mask: NDArray[np.bool_], pixel_um: float) -> float:
    """Largest distance between two pixels' centres, and half a pixel at either end."""
    hull = cv2.convexHull(np.argwhere(mask).astype(np.int32))[:, 0].astype(float)
    return (float(np.max(np.linalg.norm(hull[:, None] - hull[None], axis=2))) + 1) * pixel_um


@pytest.mark.parametrize("name", KINDS)
def test_body_is_as_long_as_asked(name: str) -> None:
    for length, body in variants(KINDS[name], 2 if name == "coccosphere" else 9):
        # the grid itself is uncertain by a pixel
        assert feret_um(body.mask, body.pixel_um) == pytest.approx(length, rel=0.05, abs=body.pixel_um)
        outside = cv2.dilate(body.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        for layer in body.slices:
            assert layer.thickness[outside].max() == 0


@pytest.mark.parametrize(("name", "ks"), [("emiliania", 0.02), ("gephyrocapsa", 0.05), ("coccolithus", 0.06)])
def test_coccolith_weighs_what_its_shape_factor_says(name: str, ks: float) -> None:
    deviation = [np.log(mass_pg(body) / (2.71 * ks * length**3)) for length, body in variants(KINDS[name], 40)]
    assert abs(np.mean(deviation)) < 0.06
    assert 0.07 < np.std(deviation) < 0.18


@pytest.mark.parametrize(
    ("name", "length", "pg", "mean_um"),
    [
        ("emiliania", 3.3, (1.3, 2.8), (0.06, 0.15)),
        ("gephyrocapsa", 3.6, (4.4, 9.2), (0.18, 0.4)),
        ("coccolithus", 10, (110, 235), (0.6, 1.3)),
    ],
)
def test_calcite_is_as_thin_as_measured(
    name: str, length: float, pg: tuple[float, float], mean_um: tuple[float, float]
) -> None:
    for seed in range(10):
        body = KINDS[name].draw(length, np.random.default_rng(seed))
        assert pg[0] < mass_pg(body) < pg[1]
        assert mean_um[0] < body.thickness_um(CALCITE)[body.mask].mean() < mean_um[1]


def test_half_of_coccolithus_is_invisible_and_nothing_of_emiliania() -> None:
    shares = [mass_pg(body, visible=True) / mass_pg(body) for _, body in variants(KINDS["coccolithus"], 12)]
    assert 0.4 < min(shares) <= max(shares) < 0.62
    for _, body in variants(KINDS["emiliania"], 12):
        assert mass_pg(body, visible=True) > 0.85 * mass_pg(body)


def test_optic_axes_of_a_rim_are_radial() -> None:
    body = KINDS["emiliania"].draw(3.3, np.random.default_rng(1))
    canvas = Canvas(3.3, 3.3)
    rows, columns = body.mask.shape
    y, x = (np.indices(body.mask.shape) - np.array([rows - 1, columns - 1])[:, None, None] / 2) * canvas.pixel_um
    layer = max(body.slices, key=lambda one: float(one.thickness.sum()))
    assert layer.azimuth is not None
    off = np.exp(2j * (layer.azimuth - np.arctan2(y, x)))
    assert abs(np.angle(np.average(off, weights=layer.thickness))) / 2 < np.deg2rad(25)
    assert abs(np.average(off, weights=layer.thickness)) > 0.9


def test_bridge_of_gephyrocapsa_crosses_its_central_area() -> None:
    for _, body in variants(KINDS["gephyrocapsa"], 8):
        thickness = body.thickness_um(CALCITE)
        rows, columns = thickness.shape
        centre = thickness[rows // 2 - 3 : rows // 2 + 3, columns // 2 - 3 : columns // 2 + 3]
        assert centre.max() > 0.15 * thickness.max()
        middle = thickness[rows // 2 - 8 : rows // 2 + 8, columns // 2 - 8 : columns // 2 + 8]
        assert middle.min() < 0.1 * thickness.max()


def test_florisphaera_is_one_crystal_with_its_axis_along_its_length() -> None:
    for _, body in variants(KINDS["florisphaera"], 10):
        azimuths = np.concatenate([flat(layer.azimuth) for layer in body.slices])
        assert np.ptp(azimuths) < 1e-6
        assert abs(np.rad2deg(azimuths[0])) < 15
        plate = body.thickness_um(CALCITE)[body.mask]
        assert 0.1 < np.median(plate) < 0.5


def test_coccosphere_is_hollow_and_as_deep_as_wide() -> None:
    length = 6.0
    body = KINDS["coccosphere"].draw(length, np.random.default_rng(3))
    low, high = body.depth_um
    step = length / len(body.slices)
    assert high - low + step == pytest.approx(length, rel=0.01)
    assert 5 <= len(body.slices) <= 9
    middle = min(body.slices, key=lambda layer: abs(layer.z_um)).thickness
    rows, columns = middle.shape
    assert middle[rows // 2 - 10 : rows // 2 + 10, columns // 2 - 10 : columns // 2 + 10].max() == 0
    # 15 to 28 liths of about 2 pg, seen from the side at the limb
    assert 20 < mass_pg(body) < 80
    assert 0.3 < mass_pg(body, visible=True) / mass_pg(body) < 0.75


@pytest.mark.parametrize("name", GRAINS)
def test_grain_is_a_single_crystal(name: str) -> None:
    bodies = [body for _, body in variants(KINDS[name], 12)]
    axes = set()
    for body in bodies:
        for angles in ([layer.azimuth for layer in body.slices], [layer.inclination for layer in body.slices]):
            assert np.ptp(np.concatenate([flat(angle) for angle in angles])) == 0
        axes.add(float(flat(body.slices[0].azimuth)[0]))
    assert len(axes) == len(bodies)


def test_thick_grains_are_deep() -> None:
    quartz = KINDS["quartz"].draw(30.0, np.random.default_rng(2))
    assert 2 <= len(quartz.slices) <= 4
    assert 5 < quartz.thickness_um(QUARTZ).max() <= 12.5
    shards = [body.thickness_um(CALCITE).max() for _, body in variants(KINDS["shard"], 30)]
    assert min(shards) >= 0.18
    assert max(shards) <= 10.5
    assert max(shards) > 3


def test_light_of_quartz_is_grey_and_that_of_emiliania_faint() -> None:
    # sin^2(pi dn d / lambda) of 0.3 um calcite is 0.08, of 10 um quartz 0.25
    lith = illuminate(KINDS["emiliania"].draw(3.3, np.random.default_rng(0)), Mount())
    assert lith.flipped is not None
    assert 0.02 < lith.flipped.max() < 0.2
    assert lith.kept.min() > 0.8
    for length in (3.0, 6.0, 10.0):
        grain = illuminate(KINDS["quartz"].draw(length, np.random.default_rng(6)), Mount())
        assert grain.flipped is not None
        assert grain.flipped.max() < 0.5


def test_a_tilted_plate_shows_no_bands() -> None:
    canvas = Canvas(8, 6)
    disc = canvas.inside((canvas.ellipse(4, 3) - 1) * 3)
    plate = Slice(0.0, CALCITE, 0.3 * disc, canvas.empty.copy())
    layers = tilted([plate], canvas, np.deg2rad(20))
    assert sum(float(layer.thickness.sum()) for layer in layers) == pytest.approx(
        float(plate.thickness.sum()), rel=0.01
    )
    light = illuminate(canvas.body(layers), Mount())
    assert light.flipped is not None
    focused = light.flipped[int(np.argmin(abs(light.planes_um)))]
    rows, columns = focused.shape
    inside = focused[rows // 2 - 12 : rows // 2 + 12, columns // 2 - 12 : columns // 2 + 12]
    assert np.ptp(inside.mean(axis=1)) < 0.25 * inside.mean()


@pytest.mark.parametrize("name", KINDS)
def test_same_seed_makes_the_same_body(name: str) -> None:
    kind = KINDS[name]
    length = kind.sizes.quantile(0.3)
    first, second, other = (kind.draw(length, np.random.default_rng(seed)) for seed in (4, 4, 5))
    for one, same in zip(first.slices, second.slices, strict=True):
        assert one.z_um == same.z_um
        np.testing.assert_array_equal(one.thickness, same.thickness)
        np.testing.assert_array_equal(one.azimuth, same.azimuth)
    assert first.thickness_um(CALCITE).sum() + first.thickness_um(QUARTZ).sum() != pytest.approx(
        other.thickness_um(CALCITE).sum() + other.thickness_um(QUARTZ).sum(), rel=1e-6
    )


@pytest.mark.parametrize("name", KINDS)
def test_numbers_are_finite_and_thickness_never_negative(name: str) -> None:
    for _, body in variants(KINDS[name], 2 if name == "coccosphere" else 6):
        for layer in body.slices:
            assert layer.thickness.dtype == np.float64
            assert layer.thickness.min() >= 0
            for values in (layer.thickness, layer.azimuth, layer.inclination):
                assert values is None or np.isfinite(values).all()
