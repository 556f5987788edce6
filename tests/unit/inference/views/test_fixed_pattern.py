"""What camera and light do to every frame is gone before anything is looked for, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.analyser import Analyser
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from inference.views.channels import Planes, Scale
from inference.views.device_planes import DevicePlanes
from inference.views.fixed_pattern import FixedPattern

STATES = ("crossed", "parallel")
DARK_DN = 100


def a_pattern(random: np.random.Generator, height: int, width: int) -> FixedPattern:
    """Columns of their own offset, a corner in shadow, and dust with edges between pixels of the binned frame."""
    offset = np.tile(DARK_DN + random.normal(0, 3, width), (height, 1))
    shadow = 1 - 0.2 * np.linspace(0, 1, height)[:, None] * np.linspace(0, 1, width)
    flat = np.stack([shadow, shadow])
    flat[1, height // 8 * 2 : height // 4 * 2, width // 8 * 2 : width // 4 * 2] *= 0.7
    return FixedPattern(offset.astype(np.float32), (flat / flat.mean(axis=(1, 2), keepdims=True)).astype(np.float32))


def spoilt(clean: np.ndarray, pattern: FixedPattern) -> np.ndarray:
    seen = (clean - DARK_DN) * pattern.flat[:, None] + pattern.offset_dn
    return np.asarray(np.clip(np.rint(seen), 0, 65_535), np.uint16)


def landed(planes: Planes | DevicePlanes, stack: np.ndarray) -> Planes | DevicePlanes:
    for c, z in np.ndindex(stack.shape[:2]):
        planes.add(stack[c, z], c, z)
    return planes


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(40, 90), st.integers(40, 90), st.integers(0, 99))
def test_a_spoilt_stack_looks_like_the_clean_one(binning: int, height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    smooth = random.normal(0, 1, (2, 3, height, width)).cumsum(axis=2).cumsum(axis=3)
    clean = np.clip(20_000 + 100 * smooth, 1_000, 50_000).astype(np.uint16)
    pattern = a_pattern(random, height, width)
    scale = Scale(binning, 1.0)
    size = (2, 3, height, width, scale)
    expected = landed(Planes(*size), clean).look(STATES, every_plane=True)
    for planes in (
        Planes(*size, pattern.binned(binning)),
        DevicePlanes(*size, "cpu", pattern.binned(binning)),
    ):
        seen = landed(planes, spoilt(clean, pattern)).look(STATES, every_plane=True)
        np.testing.assert_allclose(np.asarray(seen.views)[:, :2], np.asarray(expected.views)[:, :2], atol=0.02)
    raw = landed(Planes(*size), spoilt(clean, pattern)).look(STATES, every_plane=True)
    assert np.abs(np.asarray(raw.views)[:, 0] - np.asarray(expected.views)[:, 0]).max() > 0.2


def test_crops_keep_the_pixels_as_they_were_exposed() -> None:
    random = np.random.default_rng(5)
    stack = random.integers(1_000, 2_000, (2, 3, 96, 96)).astype(np.uint16)
    stack[0, 1, 30:60, 30:60] += 20_000
    settings_of = DetectorSettings(keep_above=0.0, runtime="torch"), CropSettings(), FocusSettings()
    analyser = Analyser(*settings_of, 0.118, STATES, pattern=a_pattern(random, 96, 96))
    found = analyser.analyse(stack).objects
    assert found
    for one in found:
        x0, y0, x1, y1 = one.crop_box
        np.testing.assert_array_equal(one.crop, stack[:, :, y0:y1, x0:x1])


def test_a_pattern_of_other_frames_is_refused() -> None:
    pattern = a_pattern(np.random.default_rng(0), 64, 64)
    settings_of = DetectorSettings(runtime="torch"), CropSettings(), FocusSettings()
    analyser = Analyser(*settings_of, 0.118, STATES, pattern=pattern)
    with pytest.raises(ValueError, match=r"fixed pattern \(2, 64, 64\)"):
        analyser.analyse(np.zeros((2, 3, 96, 96), np.uint16))
