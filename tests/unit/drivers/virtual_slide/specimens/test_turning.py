"""Specimens on their other face: the same body, seen from below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drivers.virtual_slide.matter import CALCITE, Body, Pose, Slice
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.specimens.cabinet import Cabinet
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.specimen import Specimen, collect
from drivers.virtual_slide.specimens.turning import turned_over

KIND = KINDS["calcidiscus-leptoporus"]


def test_what_was_up_is_down_and_what_was_left_of_the_length_is_right() -> None:
    low = Slice(-1.0, CALCITE, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    high = Slice(2.0, CALCITE, np.eye(2), None, np.array([[0.5, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 0.7]]))
    body = Body(0.1, (low, high), np.array([[True, True], [False, False]]), Pose("face", "outer", 2))
    other = turned_over(Specimen(KIND, 3, body)).body
    assert [layer.z_um for layer in other.slices] == [1.0, -2.0]
    assert other.slices[0].thickness.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert other.slices[0].azimuth is not None
    assert other.slices[0].azimuth.tolist() == [[-0.3, -0.4], [-0.1, -0.2]]
    assert other.slices[1].inclination is not None
    assert other.slices[1].inclination.tolist() == [[0.0, 0.0], [-0.5, 0.0]]
    assert other.slices[1].absorption is not None
    assert other.slices[1].absorption.tolist() == [[0.0, 0.7], [0.0, 0.0]]
    assert other.mask.tolist() == [[False, False], [True, True]]
    assert other.pose == Pose("face", "inner", 2)
    assert other.depth_um == (-2.0, 1.0)


@pytest.mark.parametrize("name", ["calcidiscus-leptoporus", "actinoptychus-senarius", "rhizosolenia-styliformis"])
def test_turned_twice_a_specimen_lies_as_before(name: str) -> None:
    specimen = collect(KINDS[name], 1, 0)
    again = turned_over(turned_over(specimen)).body
    for before, after in zip(specimen.body.slices, again.slices, strict=True):
        assert before.z_um == after.z_um
        assert np.array_equal(before.thickness, after.thickness)
    assert again.pose == specimen.body.pose


def test_a_cabinet_keeps_both_sides_apart_and_their_matter_is_the_same(tmp_path: Path) -> None:
    one, other = Cabinet(1, Mount(), tmp_path), Cabinet(1, Mount(), tmp_path, turned_over=True)
    assert one.folder != other.folder
    card, turned = one.card(KIND.name, 2), other.card(KIND.name, 2)
    assert {card.face, turned.face} <= {"", "inner", "outer"}
    assert turned.mass_pg == pytest.approx(card.mass_pg)
    assert turned.length_um == pytest.approx(card.length_um, abs=card.pixel_um)
    assert turned.depth_um == (-card.depth_um[1], -card.depth_um[0])
    light, mirrored = one.drawer(KIND.name, 2).light, other.drawer(KIND.name, 2).light
    assert light.shape == mirrored.shape
    assert not np.array_equal(light, mirrored)
