"""Where the network computes."""

from __future__ import annotations

import ctypes
import sys
from typing import Literal

from inference.errors import WeightsRefused

DeviceName = Literal["cpu", "cuda"]
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""NVIDIA's, without which no CUDA device answers."""


def cuda_answers() -> bool:
    """Whether there is a CUDA device."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    # Not before: it takes a second and 200 MB, which a computer without a graphics card can do without.
    import torch

    return torch.cuda.is_available()


def pick_device(device: Literal["auto", "cpu", "cuda"]) -> DeviceName:
    """Device of a setting; `auto` takes the GPU where there is one.

    Raises
    ------
    WeightsRefused
        CUDA was asked for and is not there.
    """
    if device == "cpu":
        return "cpu"
    if cuda_answers():
        return "cuda"
    if device == "cuda":
        raise WeightsRefused("detector.device is 'cuda' but no CUDA device answers; set it to 'auto' or 'cpu'")
    return "cpu"
