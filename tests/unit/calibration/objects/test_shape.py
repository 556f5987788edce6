"""Shapes of drawn ellipses, rods and arcs, at any angle and place between pixels, against geometry."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from skimage.draw import polygon2mask
from skimage.measure import regionprops

from calibration.objects.shape import Measure, Shape, ShapeGroup, feret_diameters, shape_of
from calibration.objects.skeleton import skeleton_length

PIXEL_UM = 0.059
angles, places = st.floats(0, math.pi), st.floats(0, 1)


def placed(points: np.ndarray, angle: float, x: float, y: float) -> np.ndarray:
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return np.asarray(points @ turn + (200 + x, 180 + y))


def ellipse(length: float, width: float, count: int = 240) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([length / 2 * np.cos(turn), width / 2 * np.sin(turn)], axis=1)


def rod(length: float, width: float) -> np.ndarray:
    return np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2


def arc(radius: float, width: float, opening: float) -> np.ndarray:
    turn = np.linspace(-opening / 2, opening / 2, 120)
    outer, inner = radius + width / 2, radius - width / 2
    there = np.stack([outer * np.cos(turn), outer * np.sin(turn)], axis=1)
    return np.concatenate([there, np.stack([inner * np.cos(turn[::-1]), inner * np.sin(turn[::-1])], axis=1)])


def measured(points: np.ndarray, group: ShapeGroup = ShapeGroup.OTHER) -> Shape:
    shape = shape_of(points, PIXEL_UM, group)
    assert shape is not None
    return shape


@given(length=st.floats(20, 150), aspect=st.floats(0.3, 0.98), angle=angles, x=places, y=places)
def test_a_placolith_is_as_long_as_its_ellipse(length: float, aspect: float, angle: float, x: float, y: float) -> None:
    shape = measured(placed(ellipse(length, length * aspect), angle, x, y), ShapeGroup.COCCOLITH)
    assert shape.length_by == Measure.DISTAL_SHIELD
    assert shape.length_um == pytest.approx(length * PIXEL_UM, rel=1e-3)
    assert shape.width_um == pytest.approx(length * aspect * PIXEL_UM, rel=1e-3)
    area = math.pi / 4 * length**2 * aspect * PIXEL_UM**2
    assert shape.area_um2 == pytest.approx(area, rel=1e-3)
    assert shape.equivalent_diameter_um == pytest.approx(math.sqrt(4 * area / math.pi), rel=1e-3)
    assert shape.solidity == pytest.approx(1, abs=1e-3)
    off = (shape.orientation_deg - math.degrees(angle) + 90) % 180 - 90
    assert abs(off) * (1 - aspect) < 0.1


@given(length=st.floats(20, 300), width=st.floats(5, 18), angle=angles, x=places, y=places)
def test_the_feret_diameters_of_a_rod(length: float, width: float, angle: float, x: float, y: float) -> None:
    shape = measured(placed(rod(length, width), angle, x, y), ShapeGroup.COCCOLITH)
    assert shape.length_by == Measure.FERET
    assert shape.length_um == pytest.approx(math.hypot(length, width) * PIXEL_UM, rel=1e-4)
    assert shape.width_um == pytest.approx(width * PIXEL_UM, rel=1e-3)
    assert shape.perimeter_um == pytest.approx(2 * (length + width) * PIXEL_UM, rel=1e-4)


@given(radius=st.floats(60, 120), width=st.floats(8, 16), opening=st.floats(2.6, 4.5), angle=angles, x=places, y=places)
@example(radius=61.0, width=16.0, opening=2.734375, angle=2.734375, x=0.0, y=0.0)
def test_what_is_curved_is_as_long_as_its_middle_line(
    radius: float, width: float, opening: float, angle: float, x: float, y: float
) -> None:
    shape = measured(placed(arc(radius, width, opening), angle, x, y))
    assert shape.length_by == Measure.FERET
    assert shape.arc_length_um is not None
    # A skeleton runs into a corner of a square end, which is longer by (sqrt 2 - 1) / 2 of the width at either end.
    tolerance_px = (math.sqrt(2) - 1) * width + 0.02 * radius * opening
    assert shape.arc_length_um == pytest.approx(radius * opening * PIXEL_UM, abs=tolerance_px * PIXEL_UM)
    assert shape.length_um == shape.feret_um <= (2 * radius + 2 * width) * PIXEL_UM


def test_a_straight_rod_has_no_use_for_its_skeleton() -> None:
    assert measured(placed(rod(200, 14), 0.4, 0.2, 0.7)).arc_length_um is None
    assert skeleton_length(placed(rod(200, 14), 0.4, 0.2, 0.7)) == pytest.approx(200, rel=0.03)


def test_a_circle_is_round_and_a_plate_is_no_ellipse() -> None:
    assert measured(ellipse(60, 60)).circularity == pytest.approx(1, abs=1e-3)
    assert measured(placed(rod(90, 45), 1.0, 0, 0), ShapeGroup.COCCOLITH).length_by == Measure.FERET


def test_moments_are_those_of_scikit_image_on_a_fine_raster() -> None:
    points = placed(arc(60, 30, 2.0), 0.7, 0.3, 0.1)
    shape = measured(points)
    (region,) = regionprops(polygon2mask((3000, 3000), points[:, ::-1] * 8 - 0.5).astype(np.uint8))
    scale = PIXEL_UM / 8
    assert shape.area_um2 == pytest.approx(region.area * scale**2, rel=1e-3)
    assert shape.solidity == pytest.approx(region.solidity, rel=5e-3)
    assert shape.equivalent_diameter_um == pytest.approx(region.equivalent_diameter_area * scale, rel=1e-3)
    # scikit-image counts its angle from rows towards columns.
    assert shape.orientation_deg == pytest.approx((90 - math.degrees(region.orientation)) % 180, abs=0.2)


def test_tangents_of_a_triangle() -> None:
    longest, least = feret_diameters(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]]))
    assert (longest, least) == pytest.approx((5.0, 2.4))


def test_a_valve_has_a_diameter_or_an_apical_axis() -> None:
    centric, pennate = measured(ellipse(200, 196), ShapeGroup.DIATOM), measured(ellipse(200, 40), ShapeGroup.DIATOM)
    assert (centric.length_by, pennate.length_by) == (Measure.DIAMETER, Measure.APICAL_AXIS)
    assert centric.length_um == centric.width_um == pytest.approx(math.sqrt(200 * 196) * PIXEL_UM, rel=1e-3)
    assert (pennate.length_um, pennate.width_um) == pytest.approx((200 * PIXEL_UM, 40 * PIXEL_UM), rel=2e-3)


def test_a_basal_ring_is_measured_without_its_spines() -> None:
    turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    spines = np.abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4) < 0.04
    radius = np.where(spines, 130.0, 60.0)
    star = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)
    shape = measured(placed(star, 0.3, 0.2, 0.4), ShapeGroup.SILICOFLAGELLATE)
    assert shape.length_by == Measure.BASAL_RING
    assert shape.feret_um == pytest.approx(260 * PIXEL_UM, rel=0.01)
    assert (shape.length_um, shape.width_um) == pytest.approx((120 * PIXEL_UM, 120 * PIXEL_UM), rel=0.06)
