"""What a whole frame must not be: a repetition of the last one, all dark, or all saturated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.errors import FrameFault

STRIDE = 16
"""Every 16th row decides."""


class FrameCheck:
    """Compares a thin sample of every frame with the last one and with the range of the camera.

    A frame is dark when no pixel holds more than zero, as from a camera that lost its data: an empty field between
    crossed polarizers is nearly black, but never free of offset and noise. What is dark or full on purpose repeats
    the frame before it.
    """

    def __init__(self, bit_depth: int) -> None:
        self._full = (1 << bit_depth) - 1
        self._last: NDArray[np.uint16] | None = None
        self._may_be_dark = self._may_be_full = False

    def begin(self, *, may_be_dark: bool = False, may_be_full: bool = False) -> None:
        """Begin a stack: its first frame may equal the last one of another attempt.

        Parameters
        ----------
        may_be_dark, may_be_full
            whether a frame may hold nothing but zero, or be saturated all over.
        """
        self._last = None
        self._may_be_dark, self._may_be_full = may_be_dark, may_be_full

    def accept(self, frame: NDArray[np.uint16], name: str) -> None:
        """Take in the next frame.

        Raises
        ------
        FrameFault
            The frame cannot be a true one.
        """
        sample = frame[::STRIDE].copy()
        last, self._last = self._last, sample
        dark, full = not sample.any(), int(sample.min()) >= self._full
        if dark and not self._may_be_dark:
            raise FrameFault(f"{name} is all dark; check lamp, shutter and camera")
        if full and not self._may_be_full:
            raise FrameFault(f"{name} is saturated all over at {self._full} DN; lower the lamp or the exposure")
        if not (dark or full) and last is not None and np.array_equal(sample, last):
            raise FrameFault(f"{name} repeats the frame before it; check the camera's link")
