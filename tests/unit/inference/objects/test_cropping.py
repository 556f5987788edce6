import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.objects import cropping
from inference.views import channels

HEIGHT, WIDTH = 60, 90


def coded() -> np.ndarray:
    """Each pixel says where it is: 1000 c + 100 z in one half of the range, row and column by the other."""
    c, z, y, x = np.indices((2, 3, HEIGHT, WIDTH))
    return np.asarray(c * 30_000 + z * 10_000 + y * WIDTH + x, np.uint16)


boxes = st.tuples(st.floats(-20, WIDTH + 10), st.floats(-20, HEIGHT + 10), st.floats(0, 80), st.floats(0, 80)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]], np.float32)
)


@given(boxes)
def test_a_pixel_box_lies_in_the_frame_and_holds_what_is_seen_of_the_fractional_one(box: np.ndarray) -> None:
    x0, y0, x1, y1 = cropping.pixel_box(box, HEIGHT, WIDTH)
    assert 0 <= x0 < x1 <= WIDTH
    assert 0 <= y0 < y1 <= HEIGHT
    if box[0] < WIDTH and box[2] > 0:
        assert x0 <= max(box[0], 0)
        assert x1 >= min(box[2], WIDTH)
        assert x1 - x0 <= max(min(box[2], WIDTH) - max(box[0], 0), 0) + 2
    if box[1] < HEIGHT and box[3] > 0:
        assert y0 <= max(box[1], 0)
        assert y1 >= min(box[3], HEIGHT)


@given(boxes, st.integers(0, 30))
def test_a_crop_holds_the_pixels_of_its_box_through_the_whole_stack(box: np.ndarray, margin: int) -> None:
    stack = coded()
    inner = cropping.pixel_box(box, HEIGHT, WIDTH)
    x0, y0, x1, y1 = outer = cropping.with_margin(inner, margin, HEIGHT, WIDTH)
    cut = cropping.crop(stack, outer)
    assert cut.shape == (2, 3, y1 - y0, x1 - x0)
    for c, z in np.ndindex(2, 3):
        assert cut[c, z, 0, 0] == c * 30_000 + z * 10_000 + y0 * WIDTH + x0
        assert cut[c, z, -1, -1] == c * 30_000 + z * 10_000 + (y1 - 1) * WIDTH + x1 - 1
    assert x0 == max(inner[0] - margin, 0)
    assert y1 == min(inner[3] + margin, HEIGHT)
    assert not np.shares_memory(cut, stack)


@given(st.integers(0, 2**32 - 1))
def test_a_fused_crop_takes_both_polarizations_from_the_same_plane(seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, 3, (HEIGHT, WIDTH))
    fused = channels.gather(coded(), index)
    rows, columns = np.indices((HEIGHT, WIDTH))
    np.testing.assert_array_equal(fused[0], index * 10_000 + rows * WIDTH + columns)
    np.testing.assert_array_equal(fused[1], fused[0] + 30_000)


def test_only_boxes_at_the_edge_touch_it() -> None:
    assert not cropping.touches_edge((1, 1, WIDTH - 1, HEIGHT - 1), HEIGHT, WIDTH)
    for box in [(0, 1, 5, 5), (1, 0, 5, 5), (5, 5, WIDTH, 9), (5, 5, 9, HEIGHT)]:
        assert cropping.touches_edge(box, HEIGHT, WIDTH)
