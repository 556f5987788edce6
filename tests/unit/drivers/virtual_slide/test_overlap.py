import numpy as np
import pytest

from drivers.virtual_slide.overlap import clear_contrast, overlapping


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float64)


def test_what_shares_area_overlaps_and_what_only_lies_near_does_not() -> None:
    outlines = [square(0, 0, 40), square(30, 30, 40), square(50, 0, 20), None]
    assert overlapping(outlines) == [{1}, {0}, set(), set()]


@pytest.mark.parametrize(
    ("side", "stronger", "clear"),
    [
        (80.0, (40.0, 0.0), 4.0),
        (80.0, (40.0, 20.0), 0.0),
        (80.0, (20.0, 0.0), 10.0),
        (54.0, (40.0, 20.0), 10.0),
    ],
    ids=["hidden in one polarization", "hidden in both", "not strong enough to hide", "lies over less than half"],
)
def test_an_object_is_lost_where_a_stronger_one_lies_over_it(
    side: float, stronger: tuple[float, float], clear: float
) -> None:
    outlines = [square(0, 0, 80), square(0, 0, side)]
    contrasts = np.array([(10.0, 4.0), stronger])
    assert clear_contrast(0, outlines, contrasts, {1}) == clear
    assert clear_contrast(1, outlines, contrasts, {0}) == max(stronger)


def test_two_that_hide_less_than_half_each_hide_it_together() -> None:
    outlines = [square(0, 0, 80), square(0, 0, 50), square(30, 30, 50)]
    contrasts = np.array([(2.0, 0.0), (9.0, 0.0), (9.0, 0.0)])
    assert clear_contrast(0, outlines, contrasts, {1}) == 2.0
    assert clear_contrast(0, outlines, contrasts, {1, 2}) == 0.0
