import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.training import corner_around

SIDE, SIZE = 96, (128, 160)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    height, width = SIZE
    x0, y0 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    return x0, y0, draw(st.floats(x0, width)), draw(st.floats(y0, height))


@given(boxes(), st.integers(0, 2**32 - 1))
def test_a_crop_around_an_object_holds_it_if_it_fits(box: tuple[float, float, float, float], seed: int) -> None:
    one = np.array([box], np.float64)
    top, left = corner_around(one, np.array([1]), SIZE, SIDE, np.random.default_rng(seed))
    assert 0 <= top <= SIZE[0] - SIDE
    assert 0 <= left <= SIZE[1] - SIDE
    x0, y0, x1, y1 = box
    for low, high, first in ((x0, x1, left), (y0, y1, top)):
        # The edges fall between pixels: a box of nearly the crop's side may stand out by less than one of them.
        if high - low <= SIDE:
            assert first - 1 < low
            assert high < first + SIDE + 1
        else:
            assert low < first + SIDE
            assert first < high


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    rare, common = (10.0, 10.0, 14.0, 14.0), (140.0, 110.0, 150.0, 120.0)
    labels = np.array([3, *[1] * 30])
    places = np.array([rare, *[common] * 30])
    random = np.random.default_rng(0)
    corners = [corner_around(places, labels, SIZE, SIDE, random) for _ in range(400)]
    around_rare = sum(left <= 10 for _, left in corners)
    assert 150 < around_rare < 250
