"""What holds against a flood: log lines that come ever more rarely, and acts that are allowed at a rate."""

from __future__ import annotations

import logging
from collections.abc import Callable


class Refusals:
    """Counts what is refused, and tells the log the first, second, fourth, eighth ... of it.

    So a flood cannot push other lines out of the log.

    Parameters
    ----------
    log
        where it is told.

    Attributes
    ----------
    count
        what was refused since this began.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.count = 0

    def add(self, why: str) -> None:
        """Count one, and tell why it is refused."""
        self.count += 1
        if self.count.bit_count() == 1:
            self._log.warning("refused, %d so far: %s", self.count, why, extra={"refused": self.count})


class Allowance:
    """So many acts at once, and then so many a second.

    Parameters
    ----------
    burst
        how many may come at once.
    per_s
        how many a second are given back.
    clock
        monotonic seconds.
    """

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._left = float(burst)
        self._filled_s = clock()

    def take(self) -> bool:
        """Whether one more is allowed, which is then used up."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
