import re

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from inference.views import channels, sharpness
from inference.views.channels import ENERGY_BINNING, Planes, Scale
from tests.support import emulated_stacks
from tests.support.places import SHARED_DATA

MITOCHONDRIA = SHARED_DATA / "zstack-mitochondria-16bit"


def landed(stack: np.ndarray, pixel_um: float) -> Planes:
    count, depth, height, width = stack.shape
    planes = Planes(count, depth, height, width, Scale.of(pixel_um, 0.12))
    for c, z in np.ndindex(count, depth):
        planes.add(stack[c, z], c, z)
    return planes


@given(st.floats(1.0, 7.0), st.floats(0.1, 5.0), st.floats(0, 100))
def test_the_vertex_of_a_parabola_is_found(vertex: float, width: float, height: float) -> None:
    curve = (200 + height - width * (np.arange(9) - vertex) ** 2).astype(np.float32)
    plane, at_edge = sharpness.best_plane(curve)
    assert not at_edge
    assert plane == pytest.approx(vertex, abs=0.02)


@pytest.mark.parametrize(("curve", "plane"), [([5, 3, 2, 1], 0.0), ([1, 2, 3, 5], 3.0)])
def test_a_maximum_at_the_edge_is_told_and_not_interpolated(curve: list[float], plane: float) -> None:
    assert sharpness.best_plane(np.array(curve, np.float32)) == (plane, True)


def test_a_single_plane_does_not_say_that_focus_lies_beyond_it() -> None:
    assert sharpness.best_plane(np.array([4.0], np.float32)) == (0.0, False)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("state", [0, 1])
def test_light_that_is_cut_off_does_not_hide_what_is_in_focus(share: float, state: int) -> None:
    """Black below the offset fills any share of a dark field, light beyond the camera's top of a bright one."""
    pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=256, planes=7, seed=12), 3, 0.0)
    whole = sharpness.stack_focus(landed(pixels, 0.059).sharpness(), 1.2)
    cut = pixels.astype(np.int64)
    level = round(float(np.quantile(cut[state], 1 - share if state else share)))
    cut[state] = np.minimum(cut[state], level) if state else np.maximum(cut[state] - level, 0)
    found = sharpness.stack_focus(landed(cut.astype(np.uint16), 0.059).sharpness(), 1.2)
    assert np.isfinite(found.sharpness).all()
    assert whole.best_plane is not None
    assert found.best_plane == pytest.approx(whole.best_plane, abs=1.0)


def test_eight_bits_of_a_dark_field_are_in_focus_where_sixteen_are() -> None:
    """Most of such pixels are 0 or 1."""
    pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=512, planes=9, seed=12), 3, 0.0)
    crossed = pixels[:1]
    assert np.median(crossed // 256) == 0
    sixteen, eight = (sharpness.stack_focus(landed(one, 0.059).sharpness(), 1.2) for one in (crossed, crossed // 256))
    assert eight.best_plane == pytest.approx(sixteen.best_plane, abs=0.3)


@pytest.mark.parametrize("curve", [[0, 0, 0], [0, 0, 1e30, 0], [1e-38, 1e-38, 3e38], [2, 2, 2]])
def test_contrast_is_a_number_whatever_lies_in_the_other_planes(curve: list[float]) -> None:
    assert 1 <= sharpness.contrast_of(np.array(curve, np.float32)) <= sharpness.MOST_CONTRAST


@pytest.mark.slow
def test_an_objects_best_plane_is_near_the_truth() -> None:
    config = emulated_stacks.night(seed=31)
    errors = []
    for shift in (0.0, 300.0):
        pixels, truth = emulated_stacks.stack(config, 2, shift)
        planes = landed(pixels, config.instrument.pixel_um)
        sharp = planes.sharpness()
        for plane, known in truth:
            if known.junk or not known.whole:
                continue
            box = tuple(int(v) for v in known.box)
            curve = sharpness.box_sharpness(sharp, (box[0], box[1], box[2], box[3]), 2 * ENERGY_BINNING)
            errors.append(abs(sharpness.best_plane(curve)[0] - plane))
    assert len(errors) > 12
    assert np.median(errors) < 0.5, "in planes, 0.5 um apart"
    assert np.quantile(errors, 0.9) < 1.5


def test_a_field_without_objects_is_blank_and_one_with_objects_is_not() -> None:
    for profile, blank in (("blank", True), ("coccolith", False)):
        pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=512, profile=profile), 1, 0.0)
        found = sharpness.stack_focus(landed(pixels, 0.059).sharpness(), blank_contrast=1.15)
        assert (found.best_plane is None) is blank
        if not blank:
            assert found.best_plane == pytest.approx(4, abs=1.0)


@pytest.mark.skipif(not MITOCHONDRIA.is_dir(), reason=f"{MITOCHONDRIA} is not there")
def test_a_real_stack_is_sharpest_where_it_is_known_to_be() -> None:
    files = {int(re.findall(r"\d+", path.stem)[-1]): path for path in MITOCHONDRIA.glob("*.tif*")}
    numbers = sorted(files)
    pixels = np.stack([tifffile.imread(files[number]) for number in numbers])[None]
    found = sharpness.stack_focus(landed(pixels, 0.059).sharpness(), blank_contrast=1.15)
    assert found.best_plane is not None
    assert abs(numbers[round(found.best_plane)] - 51) <= 2


def test_views_of_one_polarization_leave_the_other_channel_empty() -> None:
    config = emulated_stacks.night(frame_px=256, planes=3)
    pixels, _ = emulated_stacks.stack(config, 1, 0.0)
    for c, name, empty in ((1, "parallel", 1), (0, "crossed", 0)):
        planes = landed(pixels[c : c + 1], 0.059)
        sharp = planes.sharpness()
        sharpest = channels.sharpest_plane(sharp)
        roots = channels.fused_roots(planes.roots, channels.plane_index(sharpest, 128, 128))
        view = channels.fused_input(roots, sharp, sharpest, (name,))
        assert view.shape == (3, 128, 128)
        assert not view[empty].any()
        assert view[1 - empty].std() > 0


@pytest.mark.parametrize("polarizations", [("crossed",), ("crossed", "parallel")])
def test_a_margin_without_a_picture_does_not_brighten_what_is_in_it(polarizations: tuple[str, ...]) -> None:
    picture = np.random.default_rng(5).poisson(400, (len(polarizations), 1, 256, 256)).astype(np.uint16)
    picture[:, :, 112:144, 112:144] += 150
    mosaic = np.zeros((len(polarizations), 1, 512, 512), np.uint16)
    mosaic[:, :, :256, :256] = picture
    alone, in_it = (Planes.of(one, Scale(1, 1.0)).look(polarizations, every_plane=False) for one in (picture, mosaic))
    inside = np.s_[1, 80:176, 80:176]
    np.testing.assert_allclose(in_it.fused[inside], alone.fused[inside], rtol=0.02, atol=0.02)


def test_the_fused_view_takes_each_place_from_its_own_plane() -> None:
    random = np.random.default_rng(0)
    stack = random.normal(10_000, 20, (1, 5, 256, 256))
    left, right = np.s_[0, 1, :, 20:100], np.s_[0, 3, :, 150:230]
    for place in (left, right):
        stack[place] += 3000 * (np.indices((256, 80)).sum(axis=0) // 4 % 2)
    planes = landed(stack.astype(np.uint16), 0.118)
    index = channels.plane_index(channels.sharpest_plane(planes.sharpness()), 256, 256)
    assert (index[:, 40:80] == 1).mean() > 0.98
    assert (index[:, 170:210] == 3).mean() > 0.98
