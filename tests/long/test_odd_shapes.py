"""Ten thousand random polygons, contours and label images; the suite tries some hundreds of them."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.objects.shape import ShapeGroup
from tests.support.shapes import check_outline, check_shape, check_weighed, label_images, polygons

MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(points=polygons(), group=st.sampled_from(ShapeGroup))
def test_any_polygon_has_a_possible_shape_or_none(points: np.ndarray, group: ShapeGroup) -> None:
    check_shape(points, group)


@MANY
@given(mask=label_images(), pixel_um=st.floats(0.03, 20), convex=st.booleans())
def test_any_label_image_is_outlined_or_not(mask: np.ndarray, pixel_um: float, convex: bool) -> None:
    check_weighed(mask)
    check_outline(mask, pixel_um, convex)
