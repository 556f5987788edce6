"""The graph of fixed shapes against torchvision, whole and in its parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import MultiScaleRoIAlign, nms

from inference.network import network
from inference.network.static_graph import PyramidAlign, StaticDetector, suppress
from inference.network.weights_file import find_weights
from inference.settings import DetectorSettings

ROUNDS = 24


def chain(length: int, shift: float, side: float = 10.0) -> NDArray[np.float32]:
    """Boxes side by side, each over the next one by the same share."""
    x = np.arange(length) * shift
    return np.stack([x, np.zeros(length), x + side, np.full(length, side)], 1).astype(np.float32)


@st.composite
def crowds(draw: st.DrawFn) -> NDArray[np.float32]:
    """Boxes sorted by falling score: scattered, in chains, or all of nearly one place."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 60))
    kind = draw(st.sampled_from(["scattered", "chain", "pile"]))
    if kind == "chain":
        return chain(count, draw(st.floats(0.5, 9.5)))[random.permutation(count)]
    spread = 3.0 if kind == "pile" else 60.0
    corner, side = random.uniform(0, spread, (count, 2)), random.uniform(5, 25, (count, 2))
    return np.concatenate([corner, corner + side], 1).astype(np.float32)


@given(crowds(), st.floats(0.1, 0.9), st.data())
def test_suppression_is_the_greedy_one_whenever_it_says_it_converged(
    boxes: NDArray[np.float32], overlap: float, data: st.DataObject
) -> None:
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=len(boxes), max_size=len(boxes))))
    keep, converged = suppress(torch.from_numpy(boxes)[None], torch.from_numpy(valid)[None], overlap, ROUNDS)
    real = np.flatnonzero(valid)
    scores = torch.arange(len(real), 0, -1).float()
    greedy = real[nms(torch.from_numpy(boxes[real]), scores, overlap).numpy()]
    if converged.item():
        assert np.flatnonzero(keep[0].numpy()).tolist() == sorted(greedy.tolist())
    else:
        assert len(boxes) > ROUNDS


@pytest.mark.parametrize("overlap", [1 / 3, 0.2, 0.6])
def test_boxes_that_overlap_by_the_very_threshold_are_taken_as_torchvision_takes_them(overlap: float) -> None:
    """Of a third the float32 lies above the float64 that it is compared with, of a fifth and of three fifths too."""
    width, shared = 15.0, 15.0 * 2 * overlap / (1 + overlap)
    boxes = torch.tensor([[0.0, 0.0, width, 10.0], [width - shared, 0.0, 2 * width - shared, 10.0]])
    keep, _ = suppress(boxes[None], torch.ones(1, 2, dtype=torch.bool), overlap, ROUNDS)
    assert keep[0].nonzero().flatten().tolist() == nms(boxes, torch.tensor([2.0, 1.0]), overlap).sort().values.tolist()


@pytest.mark.parametrize(("length", "converges"), [(ROUNDS - 1, True), (ROUNDS + 2, False)])
def test_a_chain_longer_than_the_rounds_is_told(length: int, converges: bool) -> None:
    """Each box is suppressed by the one before it alone, so that what becomes of the last takes a round a box."""
    boxes = torch.from_numpy(chain(length, 4.0))[None]
    keep, converged = suppress(boxes, torch.ones(1, length, dtype=torch.bool), 0.3, ROUNDS)
    assert converged.item() is converges
    assert (keep[0].nonzero().flatten().tolist() == list(range(0, length, 2))) is converges


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_pooled_features_are_those_of_torchvision(seed: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    size = (96, 160)
    shapes: list[tuple[int, ...]] = [(12, 20), (6, 10), (3, 5)]
    pyramid = [torch.randn(2, 5, *shape, generator=random) for shape in shapes]
    corner = torch.rand(2, count, 2, generator=random) * torch.tensor([160.0, 96.0])
    far = (corner + torch.rand(2, count, 2, generator=random) ** 4 * 200).minimum(torch.tensor([160.0, 96.0]))
    boxes = torch.cat([corner, far], 2)
    pool = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    expected = pool({str(k): level for k, level in enumerate(pyramid)}, list(boxes), [size] * 2)
    found = PyramidAlign(shapes, size, 2, 7)(pyramid, boxes).permute(0, 3, 1, 2)
    # Where a corner lies is known to 1e-5 px at most, in fp32 beyond 128 px.
    torch.testing.assert_close(found, expected, atol=3e-5, rtol=1e-5)


def assert_same(model: FasterRCNN, views: Tensor) -> None:
    with torch.no_grad():
        expected = model(list(views))
        found = StaticDetector(model, (views.shape[2], views.shape[3]), len(views))(views)
    assert found.converged.all()
    for k, one in enumerate(expected):
        count = int(found.found[k])
        assert count == len(one["scores"]) > 10
        assert (found.boxes[k, :count] - one["boxes"]).abs().max() <= 0.05
        assert (found.scores[k, :count] - one["scores"]).abs().max() <= 1e-4
        assert torch.equal(found.labels[k, :count], one["labels"])
        assert not found.scores[k, count:].any()


@pytest.mark.parametrize(("batch", "size"), [(1, (256, 256)), (3, (130, 201))])
def test_trained_slim_finds_what_torchvision_finds(batch: int, size: tuple[int, int]) -> None:
    model = network.load(find_weights("slim"), "slim", DetectorSettings().classes)
    views = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))
    views[:, 1:, 40:60, 50:80] += 3
    assert_same(model, views)
