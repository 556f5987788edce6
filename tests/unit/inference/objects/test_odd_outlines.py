"""No picture, however odd and however coarse its pixels, raises; an outline is simple, and inside box and margin."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference.objects.contour import crosses_itself, even, inside, outward, signed_area, simple
from tests.support.shapes import any_sides_cross, check_outline, label_images, polygons


@pytest.mark.slow
@settings(max_examples=60)
@given(mask=label_images(), pixel_um=st.sampled_from([0.03, 0.059, 0.12, 0.5, 2.0, 20.0]), convex=st.booleans())
def test_any_label_image_is_outlined_or_not(mask: np.ndarray, pixel_um: float, convex: bool) -> None:
    check_outline(mask, pixel_um, convex)


@pytest.mark.slow
@settings(max_examples=150)
@given(points=polygons(), deviation=st.floats(0.001, 4))
@example(
    points=np.array([[100.5, 90], [104, 90], [101, 90], [102.16120922, 93.36588394], [101.70197311, 84.24645435]]),
    deviation=1.0,
)
def test_any_contour_is_evened_out_and_made_simple(points: np.ndarray, deviation: float) -> None:
    line = even(points, deviation)
    assert np.isfinite(outward(line, deviation)).all()
    found = simple(line, (300, 300))
    assert found is None or (inside(found, (300, 300)).any() and np.isfinite(signed_area(found)))


@settings(max_examples=150)
@given(points=polygons())
def test_crossings_are_those_of_all_pairs_of_sides(points: np.ndarray) -> None:
    assert crosses_itself(points) == any_sides_cross(points)
