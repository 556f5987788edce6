"""What a frame must be: of the camera's size and type; no repetition of the last one, not dark, not all saturated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import CameraFault, FrameFault, NoLight
from drivers.microscope import Identity

STRIDE = 16
"""Every 16th row decides."""
NO_LIGHT = 0.1
"""Share of the light of the sweep before, in the same polarization, that neither a bubble nor lost oil falls below.

They leave 0.4 in emulated nights. Between crossed polarizers the camera's offset alone is more."""
ALIKE, FAINT = 1.05, 0.02
"""Light of `parallel` over that of `crossed`, and share of the camera's range, that an offset alone reaches.

Whatever lies on the sample and however unlike the exposures, parallel polarizers pass more."""


class FrameCheck:
    """Takes frames in, judging each; those of a recording were judged when they were exposed.

    A thin sample of every frame is compared with the last one and with the range of the camera. A frame is dark when
    no pixel holds more than zero, as from a camera that lost its data: an empty field between crossed polarizers is
    nearly black, but never free of offset and noise. What is dark or full on purpose repeats the frame before it.

    A lamp that fails need not say so: then nearly all of the light that the last complete sweep showed in the same
    polarization has gone, or, where none came before, parallel polarizers show no more than crossed ones.
    """

    def __init__(self, identity: Identity, recorded: bool = False) -> None:
        self._bit_depth = identity.bit_depth
        self._full = (1 << identity.bit_depth) - 1
        self._recorded = recorded
        self._type: np.dtype[Any] | None = None
        self._last: NDArray[np.uint16] | None = None
        self._may_be_dark = self._may_be_full = False
        self._compared = False
        self._usual: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def begin(self, *, may_be_dark: bool = False, may_be_full: bool = False, compared: bool = False) -> None:
        """Begin a stack: its first frame may equal the last one of another attempt.

        Parameters
        ----------
        may_be_dark
            whether a frame may hold nothing but zero.
        may_be_full
            whether a frame may be saturated all over.
        compared
            whether its light is that of other stacks, and is compared with theirs.
        """
        self._last = None
        self._may_be_dark, self._may_be_full, self._compared = may_be_dark, may_be_full, compared
        self._seen = {}

    def end(self) -> None:
        """Keep what light the stack showed: all of it was exposed as it was to be.

        Raises
        ------
        NoLight
            It showed none.
        """
        if not self._compared or self._recorded:
            return
        crossed, parallel = self._seen.get("crossed"), self._seen.get("parallel")
        if crossed is not None and parallel is not None and parallel < min(ALIKE * crossed, FAINT * self._full):
            raise NoLight(
                f"parallel polarizers show {parallel:.0f} DN and crossed ones {crossed:.0f}, of {self._full}, as "
                "without light; check lamp, shutter and light path"
            )
        self._usual |= self._seen

    def take(self, image: Any, into: NDArray[np.uint16], state: str, plane: int) -> None:
        """Take in the next frame.

        Parameters
        ----------
        image
            what the camera delivered.
        into
            where it is copied to.
        state
            its polarization.
        plane
            which of its planes it is.

        Raises
        ------
        CameraFault
            It is not a frame of this camera as the night set it up.
        FrameFault
            It cannot be a true one.
        NoLight
            The light has gone.
        """
        name = f"plane {plane} of {state}"
        self._refuse_another_kind(image, into, name)
        np.copyto(into, image.reshape(into.shape))
        if not self._recorded:
            self._judge(into, name)
            self._compare(into, name, state)

    def _refuse_another_kind(self, image: Any, into: NDArray[np.uint16], name: str) -> None:
        if not isinstance(image, np.ndarray) or not np.can_cast(image.dtype, into.dtype, "safe"):
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise CameraFault(f"{name} came as {kind}; set the camera to grey values of 16 bit or less, without sign")
        if 8 * image.dtype.itemsize < self._bit_depth or image.dtype != (self._type or image.dtype):
            was = self._type or f"{self._bit_depth} bit when the camera was asked"
            raise CameraFault(
                f"{name} came as {image.dtype}, before it was {was}; the camera's pixel type was changed: set it back"
            )
        self._type = image.dtype
        if image.size != into.size:
            raise CameraFault(
                f"{name} has {image.size} pixels instead of {into.shape[0]} x {into.shape[1]}; "
                "the camera's region of interest was changed: set it back"
            )
        if image.ndim > 1 and image.shape != into.shape:
            raise CameraFault(
                f"{name} has the shape {image.shape} instead of {into.shape}, rows and columns; "
                "the camera, or its back-end, turns its frames: set it back"
            )

    def _judge(self, frame: NDArray[np.uint16], name: str) -> None:
        sample = frame[::STRIDE].copy()
        last, self._last = self._last, sample
        dark, full = not sample.any(), int(sample.min()) >= self._full
        if dark and not self._may_be_dark:
            raise FrameFault(f"{name} is all dark; check lamp, shutter and camera")
        if full and not self._may_be_full:
            raise FrameFault(f"{name} is saturated all over at {self._full} DN; lower the lamp or the exposure")
        if not (dark or full) and last is not None and np.array_equal(sample, last):
            raise FrameFault(f"{name} repeats the frame before it; check the camera's link")

    def _compare(self, frame: NDArray[np.uint16], name: str, state: str) -> None:
        light = float(np.median(frame[::STRIDE, ::STRIDE]))
        self._seen[state] = light
        usual = self._usual.get(state, 0.0)
        if self._compared and light < NO_LIGHT * usual:
            raise NoLight(
                f"{name} shows {light:.0f} DN, where the sweep before showed {usual:.0f}; check lamp, shutter and "
                "light path"
            )
