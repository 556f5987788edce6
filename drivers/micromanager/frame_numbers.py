"""Numbers of the frames of a z sequence, from what their tags say: the camera's own counter, or else their times.

`ImageNumber` is counted by the core when it takes a frame in, so that it knows nothing of one that was lost on the way
from the camera. Some cameras count by themselves. Of the others the time tells: a camera that was told to deliver so
many frames goes on until they have arrived, and takes a frame's time longer for each that did not.
"""

from __future__ import annotations

from collections.abc import Mapping

from drivers.errors import FrameFault

OWN_COUNTER = "FrameNr"
"""End of the tag of a camera's own counter, as of PVCAM-FrameNr."""
ELAPSED = "ElapsedTime-ms"
LOST_SHARE, LEAST_MS = 0.75, 5.0
"""A sequence that took so much longer than the shortest of its like, as a share of a frame's time, lost a frame."""
TRUE_SHARE = 0.9
"""Of the exposures of a sequence, what its times must add up to at least to be believed."""


class FrameNumbers:
    """Numbers frames from 0 in every sequence; of the first and the last one the tags are asked for."""

    def __init__(self) -> None:
        self._frames = self._taken = 0
        self._exposure_ms = 0.0
        self._first: Mapping[str, str] = {}
        self._shortest_ms: dict[tuple[int, float], float] = {}

    def begin(self, frames: int, exposure_ms: float) -> None:
        """Begin a sequence."""
        self._frames, self._taken, self._exposure_ms = frames, 0, exposure_ms
        self._first = {}

    @property
    def wants_tags(self) -> bool:
        """Whether the next frame is the first or the last one."""
        return self._taken in (0, self._frames - 1)

    def number(self, tags: Mapping[str, str]) -> int:
        """Return the number of the next frame.

        Raises
        ------
        FrameFault
            The sequence took so long that a frame must have been lost.
        """
        number, self._taken = self._taken, self._taken + 1
        if "ImageNumber" in tags:
            number = int(tags["ImageNumber"])
        if self._taken == 1:
            self._first = tags
        elif self._taken == self._frames:
            own = next((name for name in tags if name.endswith(OWN_COUNTER) and name in self._first), None)
            if own is not None:
                return int(float(tags[own])) - int(float(self._first[own]))
            if ELAPSED in tags and ELAPSED in self._first:
                self._judge(float(tags[ELAPSED]) - float(self._first[ELAPSED]))
        return number

    def _judge(self, took_ms: float) -> None:
        alike = self._frames, self._exposure_ms
        shortest = self._shortest_ms[alike] = min(took_ms, self._shortest_ms.get(alike, took_ms))
        late_ms = took_ms - shortest
        if shortest < TRUE_SHARE * self._exposure_ms * (self._frames - 1):
            # The times are not those of exposures.
            return
        if late_ms > max(LOST_SHARE * shortest / (self._frames - 1), LEAST_MS):
            raise FrameFault(
                f"{self._frames} frames took {took_ms:.0f} ms, {late_ms:.0f} ms longer than before: one was lost on "
                "its way; check the camera's link"
            )
