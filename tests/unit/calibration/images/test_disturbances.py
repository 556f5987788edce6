"""What disturbs a whole field, against the truth of the virtual slide and against light that is made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from calibration.images.disturbances import FieldLook, look_at_field
from drivers.virtual_slide.optics.immersion import Immersion
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from tests.support.emulated_stacks import night

PIXEL_UM, FRAME_PX, PLANES, STEP_UM, OFFSET_DN, FULL_DN = 0.059, 1024, 3, 1.0, 100.0, 65535
Stack = NDArray[np.uint16]
FLAGS = ("is_dark", "is_saturated", "shows_edge", "shows_bubble", "is_blank", "is_blurred")
_config = night(FRAME_PX, profile="easy")


def exposed(
    seed: int,
    off_um: tuple[float, float] = (300.0, -200.0),
    immersion: Immersion | None = None,
    exposure_ms: float = 20.0,
    lit: bool = True,
    profile: str = "easy",
) -> Stack:
    """Expose a field of mini-slide 1, somewhere off its middle."""
    assert _config.instrument.emulation is not None
    emulation = _config.instrument.emulation.model_copy(update={"seed": seed, "profile": profile})
    slide = VirtualSlide(emulation, _config.scan.slides, (FRAME_PX, FRAME_PX), PIXEL_UM)
    x_um, y_um = (middle + off for middle, off in zip(_config.scan.slides[0].centre_um, off_um, strict=True))
    first_um = slide.surface_z_um(1, x_um, y_um) + 0.5 - (PLANES - 1) / 2 * STEP_UM
    stack = np.empty((2, PLANES, FRAME_PX, FRAME_PX), np.uint16)
    for c, state in enumerate(("crossed", "parallel")):
        for z in range(PLANES):
            view = View(1, 1, z, state, x_um, y_um, first_um + STEP_UM * z)
            if lit:
                slide.render(view, exposure_ms, stack[c, z], immersion or Immersion())
            else:
                slide.dark(view, exposure_ms, stack[c, z])
    return stack


def look(stack: Stack, offset_dn: float = OFFSET_DN, full_dn: int | None = FULL_DN) -> FieldLook:
    return look_at_field(stack, PLANES // 2, 1, PIXEL_UM, offset_dn, full_dn)


def seen(found: FieldLook) -> set[str]:
    return {name for name in FLAGS if getattr(found, name)}


@pytest.mark.slow
def test_an_ordinary_field_has_no_flag_and_one_without_oil_shows_nothing_sharp() -> None:
    assert seen(look(exposed(3))) == set()
    without = exposed(3, immersion=Immersion(oil=False))
    assert seen(look(without)) == seen(look(without, offset_dn=0.0)) == {"is_blurred"}


@pytest.mark.slow
def test_bubble_edge_and_too_much_or_too_little_light_are_told_apart() -> None:
    half_um = _config.scan.slides[0].size_um[0] / 2
    assert "shows_bubble" in seen(look(exposed(3, immersion=Immersion(bubble=True))))
    for off_um in ((half_um - 14, 250.0), (100.0, -half_um + 14)):
        found = seen(look(exposed(3, off_um=off_um)))
        assert "shows_edge" in found
        assert "shows_bubble" not in found
    assert seen(look(exposed(3, exposure_ms=50.0))) == {"is_saturated"}
    assert "is_dark" in seen(look(exposed(3, lit=False)))


@pytest.mark.slow
def test_an_empty_field_is_blank_and_never_blurred() -> None:
    for immersion in (Immersion(), Immersion(oil=False)):
        assert seen(look(exposed(3, immersion=immersion, profile="blank"))) == {"is_blank"}


def test_without_a_bright_state_or_a_known_camera_nothing_is_called_dark() -> None:
    stack = np.random.default_rng(1).poisson(150, (2, 3, 64, 64)).astype(np.uint16)
    assert look_at_field(stack, 1, 1, PIXEL_UM, 100.0, FULL_DN).is_dark
    assert not look_at_field(stack, 1, 1, PIXEL_UM, 100.0, None).is_dark
    unknown = look_at_field(stack, 1, None, PIXEL_UM, 100.0, FULL_DN)
    assert seen(unknown) <= {"is_blank", "is_blurred"}


def test_a_single_plane_says_nothing_of_sharpness() -> None:
    found = look_at_field(np.full((1, 1, 300, 300), 20_000, np.uint16), 0, 0, PIXEL_UM, 0.0, FULL_DN)
    assert (found.fine, found.seen, found.is_blank, found.is_blurred) == (None, None, False, False)


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2])
def test_a_straight_dark_band_is_an_edge_and_a_ring_or_a_clump_is_none(angle: float) -> None:
    y, x = np.mgrid[:FRAME_PX, :FRAME_PX] - FRAME_PX / 2
    band = np.abs(x * np.cos(angle) + y * np.sin(angle)) < 90
    clump = np.hypot(x, y) < 200
    ring = np.abs(np.hypot(x, y) - 330) < 130

    def judged(dark: NDArray[np.bool_]) -> set[str]:
        light = np.where(dark, 1_000, 20_000).astype(np.float64)
        stack = np.random.default_rng(2).normal(light, np.sqrt(light), (1, 2, FRAME_PX, FRAME_PX)).astype(np.uint16)
        return seen(look_at_field(stack, 0, 0, PIXEL_UM, 0.0, FULL_DN)) - {"is_blank", "is_blurred"}

    assert judged(band) == {"shows_edge"}
    assert judged(clump) == set()
    assert judged(ring) == {"shows_bubble"}


@settings(max_examples=40)
@given(
    arrays(
        np.uint16,
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 70), st.integers(1, 70)),
        elements=st.sampled_from([0, 1, 99, 100, 4095, 65535]),
    ),
    st.data(),
)
def test_whatever_a_camera_gives_is_judged(stack: Stack, data: st.DataObject) -> None:
    sharpest = data.draw(st.integers(0, stack.shape[1] - 1))
    bright = data.draw(st.none() | st.integers(0, stack.shape[0] - 1))
    found = look_at_field(stack, sharpest, bright, data.draw(st.sampled_from([0.02, 0.059, 1.0, 9.0])), 100.0, 4095)
    assert not (found.is_blank and found.is_blurred)
    assert not (found.shows_bubble and found.shows_edge)


def test_pixels_too_wide_for_fine_structure_say_nothing_of_oil_and_focus() -> None:
    random, spots = np.random.default_rng(4), np.zeros((300, 300))
    spots[60::90, 60::90] = 600_000
    soft = gaussian_filter(spots, 5)
    planes = [random.normal(20_000 + light, 140) for light in (soft, np.zeros_like(soft))]
    stack = np.stack(planes)[None].astype(np.uint16)
    near, wide = (look_at_field(stack, 0, 0, pixel_um, 0.0, FULL_DN) for pixel_um in (0.1, 0.32))
    assert seen(near) == {"is_blurred"}
    assert (wide.fine, seen(wide)) == (None, set())
