"""Where torch computes."""

from __future__ import annotations

from typing import Literal

import torch

from inference.errors import WeightsRefused


def cuda_answers() -> bool:
    """Whether there is a CUDA device."""
    return torch.cuda.is_available()


def pick_device(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Torch device of a setting; `auto` takes the GPU where there is one.

    Raises
    ------
    WeightsRefused
        CUDA was asked for and is not there.
    """
    if device == "cuda" and not cuda_answers():
        raise WeightsRefused("detector.device is 'cuda' but no CUDA device answers; set it to 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and cuda_answers() else "cpu")
