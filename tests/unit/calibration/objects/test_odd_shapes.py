"""No polygon and no label image, however odd, raises where it is measured."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibration.objects.shape import ShapeGroup
from calibration.objects.skeleton import skeleton_length
from tests.support.shapes import check_shape, check_weighed, label_images, polygons


@pytest.mark.slow
@settings(max_examples=200)
@given(points=polygons(), group=st.sampled_from(ShapeGroup))
@example(points=np.array([[0.0, 0.0], [10.0, 10.0], [10.0, 0.0], [0.0, 10.0]]), group=ShapeGroup.OTHER)
@example(points=np.array([[0.0, 0.0], [0.0, 0.0], [0.0, -0.0]]), group=ShapeGroup.COCCOLITH)
def test_any_polygon_has_a_possible_shape_or_none(points: np.ndarray, group: ShapeGroup) -> None:
    check_shape(points, group)


@settings(max_examples=60)
@given(points=polygons())
def test_any_polygon_has_a_skeleton_or_none(points: np.ndarray) -> None:
    assert 0 <= skeleton_length(points) < 1e5


@settings(max_examples=60)
@given(mask=label_images())
def test_any_label_image_has_surroundings(mask: np.ndarray) -> None:
    check_weighed(mask)
