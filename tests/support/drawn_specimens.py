"""Specimens that are drawn, not exposed: shapes that a small network tells apart in seconds, pictures and stacks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.classification.specimens import Example, SpecimenStack, picture
from inference.training.checkpoint import History

PIXEL_UM, STEP_UM, PLANES = 0.118, 0.4, 7
SHAPES = "ring", "bar", "disc"


class Silent:
    """Follows a training without keeping anything."""

    def checkpoint(self, content: bytes) -> None:
        """Keep nothing."""

    def judged(self, history: History) -> None:
        """Note nothing."""


def mask(shape: str, side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw a shape, 0 to 1, somewhere near the middle of a square."""
    drawn = np.zeros((side, side), np.float32)
    centre = (int(side / 2 + random.integers(-1, 2)), int(side / 2 + random.integers(-1, 2)))
    radius = int(side * random.uniform(0.25, 0.35))
    if shape == "bar":
        turned = cv2.boxPoints((centre, (2 * radius, radius / 2), float(random.uniform(0, 180))))
        cv2.fillPoly(drawn, [np.rint(turned).astype(np.int32)], 1.0)
    else:
        cv2.circle(drawn, centre, radius, 1.0, -1 if shape == "disc" else max(2, radius // 4))
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 0.8), np.float32)


def stack(shape: str, seed: int, side: int = 32) -> SpecimenStack:
    """Draw a stack: dark in the parallel state, bright between crossed polarizers, blurred away from its own plane."""
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    drawn = mask(shape, side, random)
    focus = float(random.uniform(2, 4))
    frames = np.zeros((2, PLANES, side, side), np.float32)
    for z in range(PLANES):
        seen = cv2.GaussianBlur(drawn, (0, 0), 0.5 + 0.8 * abs(z - focus))
        frames[0, z], frames[1, z] = 300 + 6000 * seen, 30000 - 9000 * seen
    noisy = frames + random.normal(size=frames.shape) * np.sqrt(frames)
    length_um = side * PIXEL_UM * 0.6
    return SpecimenStack(
        noisy.clip(0, 65535).astype(np.uint16), ("crossed", "parallel"), PIXEL_UM, STEP_UM, focus, length_um, length_um
    )


def grey(shape: str, seed: int, sides: tuple[int, int] = (40, 56)) -> NDArray[np.uint8]:
    """Draw a bright shape on black, as bytes."""
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    drawn = mask(shape, max(sides), random)
    top = (max(sides) - sides[0]) // 2
    noisy = 20 + 180 * drawn[top : top + sides[0], : sides[1]] + random.normal(0, 4, sides)
    return noisy.clip(0, 255).astype(np.uint8)


def examples(read: Callable[[str, int], SpecimenStack], each: int, first: int = 0) -> list[Example]:
    """Give so many examples of each shape, on four days."""
    return [
        Example(
            key=f"{shape} {seed}",
            sha256=hashlib.sha256(f"{shape} {seed}".encode()).hexdigest(),
            taxon=shape,
            sample=f"sample {seed % 4}",
            slide=f"slide {seed % 4}",
            day=f"2026-05-0{1 + seed % 4}",
            read=partial(read, shape, seed),
        )
        for shape in SHAPES
        for seed in range(first, first + each)
    ]


def drawn_picture(shape: str, seed: int) -> SpecimenStack:
    """Give a drawn picture as a specimen."""
    return picture(grey(shape, seed))


def kept_in(folder: Path) -> Path:
    """Folder for exported models, so that a test leaves nothing in the user's cache."""
    return folder / "exported"
