import numpy as np
import pytest

from inference.views.overview import overview_in_frame


@pytest.mark.parametrize(
    ("height", "width", "pixel_um"), [(96, 128, 0.059), (97, 131, 0.059), (90, 100, 0.04), (64, 80, 0.2)]
)
def test_the_picture_has_the_pixels_of_the_frame_and_shows_things_where_they_are(
    height: int, width: int, pixel_um: float
) -> None:
    random = np.random.default_rng(1)
    stack = random.poisson(2000, (2, 3, height, width)).astype(np.uint16)
    stack[0] = random.poisson(50, stack[0].shape)
    stack[0, 1, 20:32, 60:72] += 3000
    picture = overview_in_frame(stack, ("crossed", "parallel"), pixel_um).astype(float)
    assert picture.shape == (height, width, 3)
    warm = np.clip(picture[..., 0] - picture[..., 2] - 30, 0, None)
    y, x = (float((warm * axis).sum() / warm.sum()) for axis in np.indices(warm.shape))
    assert (x, y) == pytest.approx((65.5, 25.5), abs=0.7)
    assert 110 < np.median(picture[..., 2]) < 170
