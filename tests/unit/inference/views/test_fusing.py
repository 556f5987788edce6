"""Which plane each pixel of a crop is taken from, on maps of sharpness drawn by hand."""

import numpy as np
import pytest

from inference.views.fusing import crop_index

PLANES, SIDE, BINNING = 9, 60, 2


def sharp_at(*places: tuple[int, slice]) -> np.ndarray:
    """A map (Z, H, W) of noise 1 that is sharp in some planes over some columns."""
    sharpness = np.ones((PLANES, SIDE, SIDE), np.float32)
    for plane, columns in places:
        sharpness[plane, :, columns] = 60
    return sharpness


def test_where_nothing_is_sharp_the_objects_own_plane_is_taken() -> None:
    assert (crop_index(sharp_at(), (10, 20, 90, 70), BINNING, 3.4) == 3).all()
    assert (crop_index(sharp_at(), (10, 20, 90, 70), BINNING, -2.0) == 0).all()


def test_an_index_jumps_at_once() -> None:
    index = crop_index(sharp_at((1, slice(0, 30)), (7, slice(30, 60))), (20, 0, 220, 100), BINNING, 1.0)
    assert index.shape == (100, 200)
    assert set(np.unique(index)) == {1, 7}
    assert (index[:, :80] == 1).all()
    assert (index[:, 120:] == 7).all()


def test_a_little_sharper_is_no_reason_for_another_plane() -> None:
    sharpness = sharp_at((4, slice(0, 60)))
    sharpness[5] = 75
    assert (crop_index(sharpness, (0, 0, 240, 240), BINNING, 4.0) == 4).all()


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (236, 236, 243, 241), (0, 0, 243, 243)])
def test_any_part_of_a_frame_has_an_index(box: tuple[int, int, int, int]) -> None:
    index = crop_index(sharp_at((2, slice(0, 60))), box, BINNING, 2.0)
    assert index.shape == (box[3] - box[1], box[2] - box[0])
    assert (index == 2).all()
