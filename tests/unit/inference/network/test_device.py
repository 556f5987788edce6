"""A graphics card is looked for where its driver is, and where the settings let it be used."""

from __future__ import annotations

from ctypes.util import find_library

import pytest
import torch

from inference.errors import WeightsRefused
from inference.network import device
from inference.network.device import pick_device


def test_torch_is_asked_for_a_graphics_card_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: answers.pop())
    monkeypatch.setattr(device, "DRIVER", find_library("c") or "kernel32")
    assert pick_device("cpu") == "cpu"
    answers[:] = [False, True, True]
    assert (pick_device("auto"), pick_device("cuda"), pick_device("auto")) == ("cuda", "cuda", "cpu")
    answers[:] = [False]
    with pytest.raises(WeightsRefused, match="no CUDA device answers; set it to 'auto' or 'cpu'"):
        pick_device("cuda")


def test_without_a_driver_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it was asked"))
    monkeypatch.setattr(device, "DRIVER", "of-no-graphics-card")
    assert (pick_device("auto"), pick_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(WeightsRefused, match="no CUDA device answers"):
        pick_device("cuda")
