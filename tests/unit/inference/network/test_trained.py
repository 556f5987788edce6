"""Weights in memory: what does not fit, or is no number, is refused before anything is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from inference.errors import WeightsRefused
from inference.network import network
from inference.network.trained import Trained
from inference.network.weights_file import find_weights
from inference.network.weights_proof import prove_weights
from inference.settings import DetectorSettings


def state() -> dict[str, Tensor]:
    return safetensors.torch.load_file(find_weights("slim").path)


def test_the_network_is_that_of_the_file_though_the_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(find_weights("slim").path.read_bytes())
    trained = Trained.of(DetectorSettings(weights=path))
    path.unlink()
    expected = network.load(find_weights("slim"), "slim", trained.classes).state_dict()
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_weights_of_another_network_are_refused_at_once(tmp_path: Path) -> None:
    """By another program, so that nothing in the header tells."""
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(state() | {"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(WeightsRefused, match=r"foreign\.safetensors' does not fit architecture 'slim'"):
        prove_weights(DetectorSettings(weights=path))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "diverged.safetensors"
    broken = state()
    broken["rpn.head.cls_logits.bias"][1] = torch.nan
    safetensors.torch.save_file(broken, path)
    with pytest.raises(
        WeightsRefused, match=r"holds values that are not numbers, in rpn\.head\.cls_logits\.bias; train"
    ):
        Trained.of(DetectorSettings(weights=path))
