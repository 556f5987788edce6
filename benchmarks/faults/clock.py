"""Time that passes as soon as somebody waits for it, one for the night, the drivers and the instrument."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from ctypes import c_double

from daemon.night.pause import NightClock
from drivers.waiting import Clock

STEP_S = 0.01
"""No wait is shorter, so that a deadline is reached after some hundred looks at a device."""


class TimeIsUp(BaseException):
    """A call has taken longer than whoever asked waits; as it hangs, nothing can answer instead of it."""


class SimulatedTime:
    """Seconds since the beginning of a night.

    Parameters
    ----------
    seconds
        where they are kept: in memory that another process sees too, where one takes part.

    Attributes
    ----------
    deadline
        when a call that is being carried out is given up.
    """

    def __init__(self, seconds: c_double | None = None) -> None:
        self._seconds = c_double(0.0) if seconds is None else seconds
        self.deadline = math.inf

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._seconds.value

    def sleep(self, seconds: float) -> None:
        """Let time pass; raises `TimeIsUp` at the deadline."""
        until_s = self._seconds.value + max(seconds, STEP_S)
        self._seconds.value = min(until_s, self.deadline)
        if until_s > self.deadline:
            raise TimeIsUp

    def of_drivers(self) -> Clock:
        """Give the clock that drivers go by."""
        return Clock(self.now, self.sleep)


class SimulatedNightClock(NightClock):
    """The night's clock; `look` is called whenever the night waits."""

    def __init__(self, time: SimulatedTime, look: Callable[[], None]) -> None:
        self._time = time
        self._look = look

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._time.now()

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and others go on."""
        self._time.sleep(seconds)
        self._look()
        await asyncio.sleep(0)
