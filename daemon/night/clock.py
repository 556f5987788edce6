"""Where a night's waits get their time from, so that hours can be tried in seconds."""

from __future__ import annotations

import asyncio
import time


class NightClock:
    """The computer's clock."""

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others go on for some seconds."""
        await asyncio.sleep(seconds)
