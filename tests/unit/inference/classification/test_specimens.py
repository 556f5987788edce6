"""What can be looked at, and what is refused in a sentence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inference.classification.sight import BESIDE, ClassifierSight, look
from inference.classification.specimens import SpecimenStack, picture
from inference.errors import SpecimenRefused
from inference.views.channels import BRIGHT_GAIN
from tests.support.drawn_specimens import stack

SIGHT = ClassifierSight("stack", 32, (-0.8, 0.0, 0.8), 0.118)
ANY = SpecimenStack(np.full((2, 5, 9, 11), 900, np.uint16), ("crossed", "parallel"), 0.1, 0.4, 2.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"states": ("crossed",)}, "2 states along C, but 1"),
        ({"states": ("crossed", "crossed")}, "crossed, crossed"),
        ({"states": ("crossed", "LR")}, "crossed, LR"),
        ({"states": ()}, "0 are named"),
        ({"stack": np.zeros((2, 5, 9), np.uint16)}, "CZYX"),
        ({"stack": np.zeros((2, 0, 9, 9), np.uint16)}, "CZYX"),
        ({"stack": np.zeros((2, 5, 9, 9), np.float32)}, "float32"),
        ({"pixel_um": 0.0}, "pixel_um is 0.0"),
        ({"length_um": math.nan}, "length_um is nan"),
        ({"focus_plane": math.inf}, "focus_plane is inf"),
        ({"white_dn": 0}, "white_dn is 0"),
        ({"white_dn": 70000}, "white_dn is 70000"),
    ],
)
def test_what_is_no_specimen_is_refused_in_a_sentence_that_names_it(changed: dict[str, object], said: str) -> None:
    with pytest.raises(SpecimenRefused, match=said):
        replace(ANY, **changed)  # type: ignore[arg-type]


def test_states_in_another_order_are_seen_alike() -> None:
    seen = stack("ring", 3)
    swapped = replace(seen, stack=seen.stack[::-1], states=seen.states[::-1])
    np.testing.assert_array_equal(look(seen, SIGHT).view, look(swapped, SIGHT).view)


def test_a_state_that_was_not_exposed_is_empty_and_leaves_the_other_as_it_is() -> None:
    seen = stack("ring", 3)
    alone = replace(seen, stack=seen.stack[1:], states=seen.states[1:])
    assert not look(alone, SIGHT).view[3:].any()
    np.testing.assert_array_equal(look(alone, SIGHT).view[:3], look(seen, SIGHT).view[:3])
    crossed = replace(seen, stack=seen.stack[:1], states=seen.states[:1])
    assert not look(crossed, SIGHT).view[:3].any()
    assert look(crossed, SIGHT).view[3:].any()


def test_planes_beyond_the_stack_are_empty() -> None:
    seen = stack("ring", 3)
    assert seen.focus_plane is not None
    above = round(seen.focus_plane)
    cut = replace(seen, stack=seen.stack[:, above:], focus_plane=0.0)
    empty = look(cut, SIGHT).view.reshape(2, 3, -1).any(axis=2)
    assert empty.tolist() == [[False, True, True]] * 2


def test_twice_as_many_planes_half_as_far_apart_are_seen_about_alike() -> None:
    seen = stack("disc", 1)
    every_second = replace(seen, stack=seen.stack[:, ::2], step_um=0.8, focus_plane=(seen.focus_plane or 0) / 2)
    difference = np.abs(look(seen, SIGHT).view - look(every_second, SIGHT).view)
    assert difference.mean() < 0.1 * np.abs(look(seen, SIGHT).view).mean() + 0.05


def test_scale_is_kept_until_an_object_does_not_fit_and_its_size_stands_beside() -> None:
    small, large = stack("disc", 2, side=16), stack("disc", 2, side=32)
    views = [np.abs(look(one, SIGHT).view[1]) > 1 for one in (small, large)]
    assert views[1].sum() > 3 * views[0].sum()
    huge = replace(large, stack=large.stack.repeat(4, axis=2).repeat(4, axis=3))
    shrunk = look(huge, SIGHT)
    assert shrunk.beside[BESIDE.index("scale")] == pytest.approx(math.log2(0.118 * 4))
    assert shrunk.beside[0] == pytest.approx(math.log2(large.length_um or 0))


def test_a_brighter_lamp_is_left_out() -> None:
    seen = stack("ring", 5)
    darker = replace(seen, stack=seen.stack // 3)
    assert np.abs(look(seen, SIGHT).view - look(darker, SIGHT).view).max() < 0.35


def test_an_unknown_distance_between_planes_is_refused_but_one_plane_needs_none() -> None:
    with pytest.raises(SpecimenRefused, match="7 planes, but nobody says how far apart"):
        look(replace(stack("bar", 1), step_um=None), SIGHT)
    one = stack("bar", 1)
    view = look(replace(one, stack=one.stack[:, 3:4], step_um=None, focus_plane=None), SIGHT).view
    assert view.reshape(2, 3, -1).any(axis=2).tolist() == [[False, True, False]] * 2


def test_a_picture_is_not_a_stack() -> None:
    drawn = picture(np.zeros((5, 5), np.uint8))
    with pytest.raises(SpecimenRefused, match="a picture, but the classifier looks at stacks"):
        look(drawn, SIGHT)
    with pytest.raises(SpecimenRefused, match="a stack, but the classifier looks at pictures"):
        look(ANY, ClassifierSight("picture", 32))


def test_twelve_bits_in_sixteen_are_white_where_the_camera_is() -> None:
    assert picture(np.full((4, 4), 4000, np.uint16)).white_dn == 4095
    assert picture(np.full((4, 4), 200, np.uint16)).white_dn == 4095
    assert picture(np.full((4, 4), 5000, np.uint16)).white_dn == 16383
    assert picture(np.full((4, 4), 40, np.uint8)).white_dn == 255


def test_colours_become_grey_and_what_is_no_image_is_refused() -> None:
    red = picture(np.dstack([np.full((3, 3), 100), np.zeros((3, 3)), np.zeros((3, 3))]).astype(np.uint8))
    assert red.stack.max() == 30
    for wrong in (np.zeros((3, 3), np.float32), np.zeros((3, 3, 2), np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(SpecimenRefused, match="cannot be looked at"):
            picture(wrong)


def test_a_focus_far_off_leaves_an_empty_view() -> None:
    assert not look(stack("ring", 3), SIGHT, 30.0).view.any()


FINE = ClassifierSight("stack", 32, (0.0,), 0.05, fine=True)
WHOLE, TEXTURE, DETAIL = slice(0, 2), slice(2, 4), slice(4, 6)


def striped(period_px: int, side: int = 512, pixel_um: float = 0.05) -> SpecimenStack:
    """A square of even brightness in whose middle stripes alternate between 9000 and 11000 DN."""
    pixels = np.full((1, 1, side, side), 10000, np.uint16)
    inner = slice(side // 8, -side // 8)
    stripes = np.where(np.arange(side) // (period_px // 2) % 2, 11000, 9000).astype(np.uint16)
    pixels[0, 0, inner, inner] = stripes[inner]
    return SpecimenStack(pixels, ("parallel",), pixel_um, None, 0.0)


def test_what_shrinking_hides_is_seen_as_texture_and_in_detail() -> None:
    # 512 px become 32, 16 of them one: stripes of 8 px are even grey there.
    view = look(striped(8), FINE).view
    assert view.shape == (6, 32, 32)
    assert np.abs(view[WHOLE]).max() < 0.02
    # 1000 DN about 10000 are 5 about the root 100, and tones are what the root differs over it, times the gain.
    assert view[TEXTURE][0, 16, 16] == pytest.approx(5 / 100 * BRIGHT_GAIN, rel=0.02)
    assert view[TEXTURE][0, 1, 1] == 0
    # The detail has pixels of 0.2 um, 4 of the stack: a stripe each, so that they alternate from pixel to pixel.
    row = view[DETAIL][0, 16, 8:24]
    assert np.abs(np.diff(np.sign(row))).tolist() == [2.0] * 15
    assert not view[DETAIL][0, 0, 0]


def test_what_fits_at_the_finest_scale_has_neither_texture_nor_detail() -> None:
    view = look(striped(8, side=32), FINE).view
    assert view[WHOLE].any()
    assert not view[TEXTURE].any()
    assert not view[DETAIL].any()


def test_where_nobody_says_how_large_a_pixel_is_there_is_no_detail() -> None:
    """Then the view's pixel is known in px, 16 of the stack, which no length in um is to be compared with."""
    view = look(replace(striped(8), pixel_um=None), FINE).view
    assert view[TEXTURE].any()
    assert not view[DETAIL].any()


@given(
    arrays(np.uint16, st.tuples(st.just(2), st.integers(1, 6), st.integers(1, 40), st.integers(1, 40))),
    st.sampled_from(
        [
            SIGHT,
            FINE,
            replace(FINE, finest_um=0.01),
            ClassifierSight("fused", 24, finest_um=0.01, fine=True),
            ClassifierSight("stack", 20),
        ]
    ),
    st.one_of(st.none(), st.floats(-50, 50)),
)
def test_whatever_the_pixels_a_view_is_finite_and_as_large_as_it_must_be(
    pixels: np.ndarray, sight: ClassifierSight, focus: float | None
) -> None:
    seen = look(SpecimenStack(pixels, ("parallel", "crossed"), 0.06, 0.3, focus), sight)
    assert seen.view.shape == (sight.channels, sight.side_px, sight.side_px)
    assert np.isfinite(seen.view).all()
    assert np.isfinite(seen.beside).all()


@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90))))
def test_whatever_a_picture_it_lies_between_black_and_white(pixels: np.ndarray) -> None:
    seen = look(picture(pixels), ClassifierSight("picture", 32))
    assert seen.view.shape == (1, 32, 32)
    assert seen.view.min() >= 0
    assert seen.view.max() <= 1
