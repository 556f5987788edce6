"""Folders of pictures as people keep them: a folder a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(seed: int, height: int = 40, width: int = 50) -> NDArray[np.uint8]:
    """Draw a picture that is like no other."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (9, 9)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, pixels: NDArray[np.unsignedinteger]) -> Path:
    """Save a picture, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def class_folders(root: Path, classes: Mapping[str, int], first: int = 0) -> Path:
    """Save so many different pictures of each class, named `DAY-number.png`, two of a day."""
    for place, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            day = f"2016-04-{1 + number // 2:02d}"
            save(root / name / f"{day}-{number}.png", picture(first + 1000 * place + number))
    return root
