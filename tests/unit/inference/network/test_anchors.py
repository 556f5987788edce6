from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.network import network
from inference.network.anchors import Anchors
from inference.network.weights_file import find_weights
from inference.settings import Architecture

SIDES = st.lists(st.tuples(st.floats(1, 500), st.floats(1, 500)), min_size=1, max_size=50)


def best_overlap(anchors: Anchors, sides: NDArray[np.floating]) -> float:
    """Mean over boxes of the intersection over union with the best anchor about the same centre."""
    shapes = [
        (size / ratio**0.5, size * ratio**0.5) for level in anchors.sizes for size in level for ratio in anchors.ratios
    ]
    width, height = np.array(shapes).T
    common = np.minimum(sides[:, :1], width) * np.minimum(sides[:, 1:], height)
    return float((common / (sides.prod(axis=1)[:, None] + width * height - common)).max(axis=1).mean())


@given(SIDES)
@example([(1, 1), (1, 1), (1, 1), (1, 1), (124, 452), (124, 452), (124, 452), (173, 324), (227, 247)])
def test_fitted_anchors_are_as_many_rising_and_within_what_is_annotated(sides: list[tuple[float, float]]) -> None:
    known = network.ANCHORS["slim"]
    fitted = known.fitted(np.array(sides))
    assert [len(level) for level in fitted.sizes] == [len(level) for level in known.sizes]
    flat = [size for level in fitted.sizes for size in level]
    sizes = np.sqrt(np.array(sides).prod(axis=1))
    assert flat == sorted(flat)
    assert sizes.min() - 0.1 <= flat[0]
    assert flat[-1] <= sizes.max() + 0.1
    assert fitted.ratios[0] < 1 == fitted.ratios[1] < fitted.ratios[2]
    assert Anchors.from_json(fitted.to_json()) == fitted


@settings(max_examples=20)
@given(st.floats(4, 12), st.floats(1.2, 6), st.integers(0, 99))
def test_fitted_anchors_lie_better_on_small_or_long_boxes(size: float, ratio: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    area, long = size * random.uniform(0.8, 1.25, 200), ratio ** random.choice([-0.5, 0.5], 200)
    sides = np.stack([area * long, area / long], axis=1)
    known = network.ANCHORS["slim"]
    assert best_overlap(known.fitted(sides), sides) > best_overlap(known, sides) + 0.05


@pytest.mark.parametrize("architecture", ["slim", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_anchors_travel_with_the_weights(tmp_path: Path, architecture: Architecture) -> None:
    anchors = network.ANCHORS[architecture].fitted(np.array([[5.0, 9.0], [30.0, 20.0], [70.0, 100.0]]))
    path = tmp_path / "w.safetensors"
    path.write_bytes(network.to_bytes(network.build(architecture, ("a",), anchors), architecture, ("a",)))
    assert Anchors.of(network.load(find_weights(path), architecture, ("a",)).rpn.anchor_generator) == anchors
    state = safetensors.torch.load_file(path)
    safetensors.torch.save_file(state, path, {"architecture": architecture})
    before = network.load(find_weights(path), architecture, ("a",)).rpn.anchor_generator
    assert Anchors.of(before) == network.ANCHORS[architecture]
