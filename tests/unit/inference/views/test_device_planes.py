"""Two implementations of the same arithmetic, OpenCV's and torch's, on stacks of any shape."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.views.channels import Planes, Scale
from inference.views.device_planes import DevicePlanes
from tests.support import emulated_stacks


def both(stack: np.ndarray, scale: Scale) -> tuple[Planes, DevicePlanes]:
    count, depth, height, width = stack.shape
    planes = Planes(count, depth, height, width, scale)
    device = DevicePlanes(count, depth, height, width, scale, "cpu")
    for c, z in np.ndindex(stack.shape[:2]):
        planes.add(stack[c, z], c, z)
        device.add(stack[c, z], c, z)
    return planes, device


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 4), st.integers(16, 150), st.integers(16, 150)),
    st.sampled_from([("parallel",), ("crossed",), ("crossed", "parallel"), ("parallel", "crossed")]),
    st.sampled_from([(1, 1.0), (2, 0.8), (3, 2.0)]),
    st.integers(0, 99),
)
def test_the_device_sees_what_the_processor_sees(
    size: tuple[int, int, int], polarizations: tuple[str, ...], scale: tuple[int, float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (len(polarizations), size[0], size[1] * scale[0], size[2] * scale[0])
    smooth = random.normal(0, 1, shape).cumsum(axis=2).cumsum(axis=3)
    # Nowhere saturated: what is flat in several planes is equally sharp in them.
    stack = (1_000 + 60_000 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint16)
    planes, device = both(stack, Scale(*scale))
    for every_plane in (False, True):
        one = planes.look(polarizations, every_plane=every_plane)
        two = device.look(polarizations, every_plane=every_plane)
        np.testing.assert_allclose(two.sharpness, one.sharpness, rtol=2e-3, atol=1e-4 * one.sharpness.max())
        assert two.views.shape == one.views.shape
        # Where two planes are equally sharp, the last bits decide; elsewhere the views are the same.
        alike = np.isclose(np.asarray(two.views), np.asarray(one.views), rtol=1e-2, atol=2e-2)
        assert alike.mean() > (0.999 if every_plane else 0.98)
    assert device.backgrounds_dn() == pytest.approx(planes.backgrounds_dn(), rel=1e-3)


@pytest.mark.parametrize("covered", [0, 60, 100])
def test_what_is_cut_off_looks_the_same(covered: int) -> None:
    stack = np.random.default_rng(3).poisson(900, (2, 3, 128, 128)).astype(np.uint16)
    stack[0, :, :, :covered] = 0
    stack[1, :, :covered] = 4095
    one, two = (p.look(("crossed", "parallel"), every_plane=False) for p in both(stack, Scale(2, 1.0)))
    assert np.isfinite(one.fused).all()
    np.testing.assert_allclose(two.sharpness, one.sharpness, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("polarizations", [("crossed", "parallel"), ("parallel", "crossed")])
def test_a_margin_without_a_picture_looks_the_same(polarizations: tuple[str, str]) -> None:
    stack = np.random.default_rng(3).poisson(900, (2, 3, 128, 128)).astype(np.uint16)
    stack[..., 40:] = 0
    one, two = (p.look(polarizations, every_plane=True) for p in both(stack, Scale(1, 1.0)))
    np.testing.assert_allclose(two.views, one.views, rtol=1e-2, atol=1e-2)


def test_an_emulated_field_looks_the_same() -> None:
    config = emulated_stacks.night(frame_px=512, planes=5, seed=4)
    pixels, _ = emulated_stacks.stack(config, 2, 0.0)
    planes, device = both(pixels, Scale.of(config.instrument.pixel_um, 0.12))
    one, two = (p.look(config.scan.polarizations, every_plane=False) for p in (planes, device))
    assert np.abs(two.sharpest - one.sharpest).max() < 1e-2
    assert np.isclose(two.fused, one.fused, atol=1e-2).mean() > 0.999
    np.testing.assert_array_equal(np.asarray(two.views)[0], two.fused)


def test_a_stack_that_lands_again_leaves_nothing_of_the_one_before() -> None:
    random = np.random.default_rng(1)
    stacks = random.integers(0, 65_536, (2, 1, 3, 64, 64)).astype(np.uint16)
    fresh = both(stacks[1], Scale(1, 1.0))[1].look(("parallel",), every_plane=True)
    used = both(stacks[0], Scale(1, 1.0))[1]
    for z in range(3):
        used.add(stacks[1][0, z], 0, z)
    again = used.look(("parallel",), every_plane=True)
    assert torch.equal(torch.as_tensor(again.views), torch.as_tensor(fresh.views))
