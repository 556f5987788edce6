"""Variations that an object might as well have had, and none that it could not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inference.classification.sight import ClassifierSight
from inference.classifier_training.varying import varied
from tests.support.drawn_specimens import drawn_picture, stack

SIGHT = ClassifierSight("stack", 32, (-1.2, 0.0, 1.2), 0.118)


def test_what_is_sharp_above_is_never_shown_below() -> None:
    seen = stack("disc", 3)
    pixels = seen.stack.copy()
    pixels[:, :5] = np.median(pixels[:, :, 0], axis=(1, 2)).astype(np.uint16)[:, None, None, None]
    above = replace(seen, stack=pixels, focus_plane=3.0)
    random = np.random.default_rng(0)
    shown = 0
    for _ in range(60):
        view = np.abs(varied(above, SIGHT, random).view).reshape(2, 3, -1).mean(axis=(0, 2))
        assert view[0] <= view[2] or view[2] == 0
        shown += view[2] > 5 * view[0]
    assert shown > 30


def test_states_and_planes_are_missing_now_and_then_and_nothing_is_made_up_for_them() -> None:
    random = np.random.default_rng(1)
    exposed = np.array([varied(stack("ring", k), SIGHT, random).view.reshape(6, -1).any(axis=1) for k in range(240)])
    whole_state_missing = (~exposed[:, :3].any(axis=1)) | (~exposed[:, 3:].any(axis=1))
    assert 0.03 < whole_state_missing.mean() < 0.4
    # Without anything left out half of these stacks reach to all heights.
    assert 0.15 < exposed.all(axis=1).mean() < 0.45


def test_pictures_stay_between_black_and_a_little_above_white_and_sizes_follow_the_zoom() -> None:
    random = np.random.default_rng(2)
    looks = [varied(drawn_picture("ring", k), ClassifierSight("picture", 32), random) for k in range(40)]
    assert min(one.view.min() for one in looks) > -0.8
    assert max(one.view.max() for one in looks) < 2.2
    assert np.std([one.beside[0] for one in looks]) > 0.03
    unsized = ClassifierSight("picture", 32, sized=False)
    assert not varied(drawn_picture("ring", 1), unsized, random).beside.any()


def test_some_are_cut_off_as_at_the_edge_of_a_frame_and_then_nobody_knows_their_length() -> None:
    random = np.random.default_rng(3)
    long = replace(stack("ring", 5), length_um=1000.0, width_um=1000.0)
    told = np.array([varied(long, SIGHT, random).beside[:2].min() for _ in range(300)])
    measured = np.abs(told - np.log2(1000)) < 1
    assert 0.03 < 1 - measured.mean() < 0.25
    tiny = replace(long, stack=long.stack[:, :, :3, :2])
    assert varied(tiny, SIGHT, random).view.shape == (6, 32, 32)
