"""Waiting with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

POLL_S = 0.0005
"""Micro-Manager's own wait polls every 10 ms, longer than a short move takes."""


@dataclass(frozen=True)
class Clock:
    """Where time comes from."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, done: Callable[[], bool], deadline_s: float) -> bool:
        """Poll until `done`; False once `deadline_s` have passed without it."""
        end = self.now() + deadline_s
        while not done():
            if self.now() >= end:
                # Once more: on a busy computer the deadline may have passed between the look and the clock.
                return done()
            self.sleep(POLL_S)
        return True
