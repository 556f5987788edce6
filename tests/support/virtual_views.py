"""Views of a small virtual slide, and digests of their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide import population
from drivers.virtual_slide.profiles import PROFILES
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View

PIXEL_UM = 0.059


FRAME = (1024, 1024)


X = 15000.0


Y = 20000.0


SHIFT_PX = (1.2, -0.7)


WINDOW = Range(low=-60, high=60)


MINI = [
    MiniSlide(position=n, centre_um=(X + 25000 * (n - 1), Y), size_um=(10000, 10000), z_um=2, z_window_um=WINDOW)
    for n in (1, 2, 3)
]


@contextmanager
def lying(kinds: Mapping[str, float]) -> Iterator[None]:
    """Let the profile `easy` hold these numbers of these kinds, and nobody remember afterwards what lay there."""
    with pytest.MonkeyPatch.context() as patch:
        population.cell.cache_clear()
        patch.setitem(PROFILES, "easy", dict(kinds))
        yield
    population.cell.cache_clear()


def make(frame: tuple[int, int] = FRAME, **emulation: object) -> VirtualSlide:
    return VirtualSlide(Emulation.model_validate({"seed": 11} | emulation), MINI, frame, PIXEL_UM)


def frame_of(
    slide: VirtualSlide, view: View, exposure_ms: float = 20, shape: tuple[int, int] = FRAME
) -> NDArray[np.uint16]:
    out = np.zeros(shape, np.uint16)
    slide.render(view, exposure_ms, out)
    return out


SOME_VIEWS = [
    View(s, f, k, p, X + 40 * f, Y, z)
    for s, f, k, p, z in product((1, 2), (0, 1), (0, 3), ("crossed", "parallel"), (3.0,))
]


def digests(slide: VirtualSlide, views: list[View]) -> dict[View, str]:
    return {v: hashlib.sha256(frame_of(slide, v, shape=(256, 320)).tobytes()).hexdigest() for v in views}
