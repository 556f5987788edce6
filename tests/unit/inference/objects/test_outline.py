"""Outlines of drawn objects whose light is blurred as an objective does, against where their matter ends."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.objects.edges import Gradient, noise_of, to_crest
from inference.objects.outline import Outline, find_outline
from inference.objects.search import Search

PIXEL_UM, BLUR_PX, SIDE, FINE = 0.059, 0.082 / 0.059, 120, 4
Floats = NDArray[np.float32]


def distance(semi_px: tuple[float, float], centre: tuple[float, float], angle: float) -> NDArray[np.float64]:
    """Share of the way from the centre of an ellipse to its border, on a grid finer than pixels."""
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE
    x, y = x - centre[0], y - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(np.hypot(along / semi_px[0], across / semi_px[1]))


def seen(fine: NDArray[np.floating]) -> Floats:
    """An amplitude on the fine grid, blurred by the objective, on the camera's pixels."""
    blurred = cv2.GaussianBlur(fine.astype(np.float32), (0, 0), BLUR_PX * FINE)
    return np.asarray(cv2.resize(blurred, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def exposed(light: Floats, seed: int) -> Floats:
    return np.random.default_rng(seed).poisson(light).astype(np.float32)


def box_of(share: NDArray[np.float64]) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(share <= 1)
    return (
        int(columns.min() // FINE),
        int(rows.min() // FINE),
        -(-int(columns.max()) // FINE),
        -(-int(rows.max()) // FINE),
    )


def axes_of(outline: Outline | None) -> tuple[float, float]:
    assert outline is not None
    centred = outline.points - outline.points.mean(axis=0)
    angle = np.linspace(0, np.pi, 721)
    extents = np.ptp(centred @ np.stack([np.cos(angle), np.sin(angle)]), axis=0)
    return float(extents.max()), float(extents.min())


def plate(share: NDArray[np.float64]) -> tuple[Floats | None, Floats | None]:
    """A crystal plate: even light in the dark field."""
    return exposed(60 + 900 * seen((share <= 1) * 1.0) ** 2, 1), exposed(np.full((SIDE, SIDE), 30000, np.float32), 2)


def placolith(share: NDArray[np.float64]) -> tuple[Floats | None, Floats | None]:
    """A tube with a shield a third as thick around it."""
    amplitude = 0.35 * (share <= 1) + 0.65 * (np.abs(share - 0.6) < 0.12) - 0.3 * (share < 0.48)
    return exposed(60 + 900 * seen(amplitude) ** 2, 3), exposed(np.full((SIDE, SIDE), 30000, np.float32), 4)


def absorbing(share: NDArray[np.float64]) -> tuple[Floats | None, Floats | None]:
    """A brown disc: dark in the bright field, nothing in the dark one."""
    return exposed(np.full((SIDE, SIDE), 60, np.float32), 5), exposed(30000 * (1 - 0.1 * seen((share <= 1) * 1.0)), 6)


def transparent(share: NDArray[np.float64]) -> tuple[Floats | None, Floats | None]:
    """An edge out of focus: bright without, dark within, steepest between."""
    step = seen((share <= 1) * 1.0)
    bent = cv2.Laplacian(step, cv2.CV_32F, ksize=1)
    return None, exposed(30000 * (1 + 0.9 * bent), 7)


@pytest.mark.parametrize("angle", [0.0, 0.5, 2.2])
@pytest.mark.parametrize(
    ("drawn", "dark"), [(plate, True), (placolith, True), (absorbing, False), (transparent, False)]
)
def test_the_outline_is_where_the_matter_ends(
    drawn: Callable[..., tuple[Floats | None, Floats | None]], dark: bool, angle: float
) -> None:
    share = distance((34.3, 27.6), (60.4, 59.7), angle)
    outline = find_outline(*drawn(share), box_of(share), PIXEL_UM)
    assert outline is not None
    assert outline.dark == dark
    assert not outline.clipped
    assert axes_of(outline) == pytest.approx((68.6, 55.2), abs=2.2)
    assert outline.inside.sum() == pytest.approx(np.pi * 34.3 * 27.6, rel=0.06)
    centre = outline.points.mean(axis=0)
    assert centre == pytest.approx((60.4, 59.7), abs=0.6)


def test_nothing_is_outlined_in_noise() -> None:
    share = distance((30.0, 30.0), (60.0, 60.0), 0.0)
    nothing = exposed(np.full((SIDE, SIDE), 60, np.float32), 8), exposed(np.full((SIDE, SIDE), 30000, np.float32), 9)
    assert find_outline(*nothing, box_of(share), PIXEL_UM) is None


def test_a_neighbour_is_left_out_and_a_cut_object_told() -> None:
    share, beside = distance((20.0, 20.0), (50.0, 60.0), 0.0), distance((14.0, 14.0), (90.0, 60.0), 0.0)
    dark, bright = plate(np.minimum(share, beside))
    alone = find_outline(dark, bright, box_of(share), PIXEL_UM)
    assert axes_of(alone) == pytest.approx((40, 40), abs=2)
    part = find_outline(dark, bright, (30, 40, 50, 80), PIXEL_UM)
    assert part is not None
    assert part.clipped


def test_nothing_is_longer_than_its_box_from_corner_to_corner() -> None:
    """A box that leaves a little of a thin plate's ends out."""
    share = distance((40.0, 8.0), (60.0, 60.0), np.pi / 4)
    x0, y0, x1, y1 = box_of(share)
    box = x0 + 3, y0 + 3, x1 - 3, y1 - 3
    cut = find_outline(*plate(share), box, PIXEL_UM)
    assert cut is not None
    assert cut.dark
    assert 70 < axes_of(cut)[0] <= np.hypot(box[2] - box[0], box[3] - box[1]) < 76
    assert cut.doubtful


def valve(rim: NDArray[np.float64], beside: NDArray[np.float64] | float = 0.0) -> Floats:
    """A bright field in which a valve's rim, and what lies beside it, is dark."""
    return exposed(30000 * (1 - 0.3 * seen(np.clip(rim + beside, 0, 1) * 1.0)), 11)


def ring(share: NDArray[np.float64], width: float = 0.16) -> NDArray[np.float64]:
    return np.asarray((share <= 1) * (share > 1 - width) * 1.0)


def test_the_outer_edge_of_a_wide_rim_counts_on_all_sides() -> None:
    share = distance((36.0, 24.0), (60.0, 60.0), 0.4)
    x0, y0, x1, y1 = box_of(share)
    # The inner edge of the rim on one side fits this box better than the outer one.
    outline = find_outline(None, valve(ring(share, 0.25)), (x0 + 5, y0 + 4, x1, y1), PIXEL_UM, convex=True)
    assert axes_of(outline) == pytest.approx((72, 48), abs=2)


def test_horns_are_no_part_of_a_valve() -> None:
    share = distance((34.0, 17.0), (60.0, 72.0), 0.0)
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE
    horns = (np.minimum(abs(x - 45), abs(x - 75)) < 3.5) & (y > 38) & (y < 60)
    outline = find_outline(None, valve(ring(share), horns * 1.0), (26, 38, 94, 89), PIXEL_UM, convex=True)
    assert axes_of(outline) == pytest.approx((68, 34), abs=2)
    assert outline is not None
    assert not outline.doubtful


@pytest.mark.parametrize(("seen_share", "doubtful"), [(1.0, False), (0.6, True)])
def test_a_valve_whose_rim_is_not_seen_all_around_is_doubtful(seen_share: float, doubtful: bool) -> None:
    share = distance((36.0, 24.0), (60.0, 60.0), 0.0)
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE
    turn = np.arctan2(y - 60, x - 60) / (2 * np.pi) % 1
    outline = find_outline(None, valve(ring(share) * (turn < seen_share)), box_of(share), PIXEL_UM, convex=True)
    assert outline is not None
    assert outline.doubtful == doubtful


def haloed(share: NDArray[np.float64], halo: NDArray[np.float64]) -> Floats:
    """A slim valve out of focus: its end as steep as that of the halo around it."""
    return exposed(30000 * (1 + 0.2 * seen(((share > 1) & (halo <= 1)) * 1.0)), 12)


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_of_a_slim_valve_the_end_is_told_from_its_halos_where_the_brighter_side_is_known(angle: float) -> None:
    share, halo = (distance(semi, (60.0, 60.0), angle) for semi in ((46.0, 10.0), (54.0, 18.0)))
    light = haloed(share, halo)
    free = find_outline(None, light, box_of(halo), PIXEL_UM, convex=True)
    sided = find_outline(None, light, box_of(halo), PIXEL_UM, convex=True, lower=light)
    assert axes_of(free) == pytest.approx((108, 36), abs=3)
    assert axes_of(sided) == pytest.approx((92, 20), abs=3)


@pytest.mark.parametrize(("width", "doubtful"), [(10.0, False), (13.5, True)])
def test_a_slim_valve_that_is_seen_in_part_where_it_is_dark_is_sure_if_both_planes_show_the_same(
    width: float, doubtful: bool
) -> None:
    share, other = (distance((46.0, semi), (60.0, 60.0), 0.0) for semi in (10.0, width))
    x = (np.arange(SIDE * FINE) + 0.5) / FINE
    brightness = np.where((x < 30) | (x > 90), 0.2, 0.012)
    lower = exposed(30000 * (1 + seen(brightness * ((other > 1) & (other <= 1.5)))), 13)
    outline = find_outline(None, valve(ring(share, 0.3)), box_of(other), PIXEL_UM, convex=True, lower=lower)
    assert outline is not None
    assert outline.doubtful == doubtful


@pytest.mark.parametrize(("flank", "doubtful"), [(0.03, False), (0.0, True)])
def test_a_faint_flank_is_enough_where_the_brighter_side_is_known_and_the_rest_is_seen_well(
    flank: float, doubtful: bool
) -> None:
    share = distance((46.0, 10.0), (60.0, 60.0), 0.0)
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE] + 0.5) / FINE
    brightness = np.where((abs(x - 60) < 24) & (y < 60), 0.2 * flank, 0.2) * ((share > 1) & (share <= 1.5))
    one_half = valve(ring(share, 0.3) * (x < 60))
    lower = exposed(30000 * (1 + seen(brightness)), 13)
    outline = find_outline(None, one_half, box_of(share), PIXEL_UM, convex=True, lower=lower)
    assert outline is not None
    assert outline.doubtful == doubtful


def test_the_crest_of_what_is_known_to_be_darker_is_where_it_is_brighter_outside() -> None:
    share, halo = (distance((semi, semi), (60.0, 60.0), 0.0) for semi in (30.0, 34.0))
    light = haloed(share, halo)
    search = Search.around(box_of(halo), light.shape, PIXEL_UM)
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    along = 60 + 34.0 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for darker, radius in ((False, 34), (True, 30)):
        points = to_crest(Gradient(light, search, darker=darker), along, PIXEL_UM, one_sided=True)
        assert np.hypot(*(points - 60).T) == pytest.approx(radius, abs=0.7)


def test_a_broad_valve_is_outlined_where_it_is_shown_best() -> None:
    share, other = distance((36.0, 24.0), (60.0, 60.0), 0.0), distance((46.0, 10.0), (60.0, 60.0), 0.0)
    outline = find_outline(None, valve(ring(share)), box_of(share), PIXEL_UM, convex=True, lower=haloed(other, share))
    assert axes_of(outline) == pytest.approx((72, 48), abs=2)


def test_two_valves_in_one_box_are_doubtful() -> None:
    one, other = (distance((30.0, 12.0), (60.0, y), 0.0) for y in (44.0, 76.0))
    outline = find_outline(None, valve(ring(one), ring(other)), (30, 32, 90, 88), PIXEL_UM, convex=True)
    assert outline is not None
    assert outline.doubtful


def test_an_outline_of_a_shifted_dark_image_is_told_in_px_of_the_bright_one() -> None:
    share = distance((30.0, 25.0), (60.0, 60.0), 0.3)
    dark, bright = placolith(share)
    plain, told = (find_outline(dark, bright, box_of(share), PIXEL_UM, shift) for shift in ((0.0, 0.0), (3.0, -2.0)))
    assert plain is not None
    assert told is not None
    assert plain.dark
    assert np.allclose(told.points, plain.points - (3.0, -2.0))
    assert np.array_equal(told.inside[2:, :-3], plain.inside[:-2, 3:])


def test_the_same_crop_gives_the_same_outline() -> None:
    share = distance((30.0, 25.0), (60.0, 60.0), 0.3)
    one, other = (find_outline(*placolith(share), box_of(share), PIXEL_UM) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.points, other.points)


def test_noise_is_told_in_spite_of_an_object() -> None:
    share = distance((30.0, 25.0), (60.0, 60.0), 0.3)
    image = 1000 * seen((share <= 1) * 1.0) + np.random.default_rng(3).normal(0, 7, (SIDE, SIDE)).astype(np.float32)
    assert noise_of(image.astype(np.float32)) == pytest.approx(7, rel=0.06)


def test_an_outline_needs_an_image() -> None:
    with pytest.raises(ValueError, match="needs one"):
        find_outline(None, None, (0, 0, 4, 4), PIXEL_UM)
