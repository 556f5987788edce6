"""Which outlines of valves are doubted: less where nothing lies over them."""

import cv2
import numpy as np
import pytest

from daemon.records.records import ObjectRow
from tests.support.one_valve import PIXEL_UM, measure_valve

SIDE = 160


def measured(faintest: float, *, overlapping: bool) -> ObjectRow:
    """Measure a valve of which a third of the rim is so faint, beside the rest of it."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    share, turn = np.hypot((x - 80) / 56, (y - 80) / 36), np.arctan2(y - 80, x - 80) / (2 * np.pi) % 1
    rim = ((share <= 1) & (share > 0.86)) * np.where(turn < 0.35, faintest, 1.0)
    light = 20000 * (1 - 0.2 * cv2.GaussianBlur(rim, (0, 0), 1.4))
    return measure_valve(np.stack([light] * 3), (24, 44, 136, 116), 0.5, overlapping=overlapping)


@pytest.mark.parametrize(
    ("faintest", "overlapping", "usable"),
    [(1.0, False, True), (1.0, True, True), (0.135, False, True), (0.135, True, False), (0.0, False, False)],
)
def test_a_faint_part_of_a_rim_is_doubted_where_others_lie_over_it(
    faintest: float, overlapping: bool, usable: bool
) -> None:
    row = measured(faintest, overlapping=overlapping)
    assert row.usable_for_size == usable
    if usable:
        assert row.length_um == pytest.approx(112 * PIXEL_UM, rel=0.03)
        assert row.width_um == pytest.approx(72 * PIXEL_UM, rel=0.04)
