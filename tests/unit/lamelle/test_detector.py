from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

import lamelle
from inference.analyser import Analyser
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from tests.support.emulated_stacks import night, stack


@pytest.fixture(scope="module")
def detector() -> lamelle.Detector:
    return lamelle.Detector(pixel_um=0.059, device="cpu")


@pytest.mark.slow
def test_an_array_shows_what_a_night_would_find(detector: lamelle.Detector) -> None:
    pixels, _ = stack(night(512, 5), 1, 0.0)
    found = detector.detect(pixels, ("crossed", "parallel"))
    expected = Analyser(
        DetectorSettings(runtime="torch", device="cpu", keep_above=0.5), CropSettings(), FocusSettings(), 0.059,
        ("crossed", "parallel"),
    ).analyse(pixels)  # fmt: skip
    assert len(found) == len(expected.objects) > 0
    assert [tuple(box) for box in found.boxes.tolist()] == [one.box for one in expected.objects]
    assert found.classes == tuple(one.class_name for one in expected.objects)
    assert found.scores.min() >= 0.5


def test_an_image_of_8_bit_without_polarizations_is_bright_field(detector: lamelle.Detector) -> None:
    empty = detector.detect(np.full((96, 128), 130, np.uint8))
    assert (len(empty), empty.boxes.shape, empty.classes) == (0, (0, 4), ())


@pytest.mark.parametrize(
    ("array", "states", "said"),
    [
        (np.zeros((64, 64)), (), "is float64; give 8 or 16 bit"),
        (np.zeros(64, np.uint8), (), "give pixels with the axes YX, ZYX, CYX or CZYX"),
        (np.zeros((2, 64, 64), np.uint8), (), "say its axes: axes='ZYX' or axes='CYX'"),
        (np.zeros((64, 64), np.uint16), "parallel", "polarizations is 'parallel'; give a list of names"),
        (np.zeros((2, 1, 64, 64), np.uint16), (), "for an array of 2 along C; name each of them"),
        (np.zeros((64, 64), np.uint16), ("dark",), "name each of them, once: crossed, parallel"),
        (np.zeros((8, 64), np.uint16), (), "too small to find anything in it; give at least 64 x 64 px"),
    ],
)
def test_what_cannot_be_looked_at_is_told(
    detector: lamelle.Detector, array: np.ndarray, states: tuple[str, ...] | str, said: str
) -> None:
    with pytest.raises(lamelle.LamelleError, match=said):
        detector.detect(array, states)


@pytest.mark.slow
def test_three_axes_are_what_they_are_said_to_be(detector: lamelle.Detector) -> None:
    pixels, _ = stack(night(512, 5), 1, 0.0)
    states = ("crossed", "parallel")
    np.testing.assert_array_equal(
        detector.detect(pixels[:, 2], states, axes="CYX").boxes, detector.detect(pixels[:, 2:3], states).boxes
    )
    np.testing.assert_array_equal(
        detector.detect(pixels[1], axes="ZYX").boxes, detector.detect(pixels[1:], ("parallel",)).boxes
    )
    with pytest.raises(lamelle.LamelleError, match="axes is 'CZYX' for an array"):
        detector.detect(pixels[1], axes="CZYX")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pixel_um": 0}, "pixel_um is 0; give the size of a pixel on the sample in um, from 0.005 to 50"),
        ({"pixel_um": "0.059"}, "pixel_um is '0.059'; give"),
        ({"pixel_um": None}, "pixel_um is None; give"),
        ({"pixel_um": 59}, "pixel_um is 59; give"),
        ({"pixel_um": float("nan")}, "pixel_um is nan; give"),
        ({"threshold": 2}, "threshold is 2; give"),
        ({"threshold": "x"}, "threshold is 'x'; give"),
        ({"mode": "x"}, "mode is 'x'; choose from fused, planes"),
        ({"device": "tpu"}, "device is 'tpu'; choose from auto, cpu, cuda"),
        ({"architecture": "x"}, "architecture is 'x'; choose from slim, resnet50"),
        ({"classes": "coccolith"}, "classes is 'coccolith'; give a list of names"),
        ({"classes": ["spore", "Spore"]}, "class 'Spore' is named beside 'spore', which differs in case alone"),
        ({"weights": None}, "weights is None; give a safetensors file"),
    ],
)
def test_settings_without_sense_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(lamelle.LamelleError, match=re.escape(said)):
        lamelle.Detector(**{"pixel_um": 0.1, **wrong})


def test_without_its_extra_the_detector_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(lamelle.LamelleError, match=r'add it with: pip install "lamelle\[detector\]"$'):
        lamelle.Detector(pixel_um=0.1)
