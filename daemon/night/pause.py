"""Where the night stands still, light off and in oil, until what keeps it has gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from daemon.records.events import EmitEvent, EventName
from daemon.records.states import NightState
from daemon.system.errors import RequestFailed

POLL_S = 0.5
DARKEN_AGAIN_S = 30.0
"""How long after the light could not be switched off that is tried again."""

Blocked = Callable[[], str | None]
"""Why something cannot go on at present; None once it can. Asked again and again, so it may also try."""


class NightClock:
    """The computer's clock; another one lets hours be tried in seconds."""

    def now(self) -> float:
        """Seconds, monotonic."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let others go on for some seconds."""
        await asyncio.sleep(seconds)


class Interrupt(Exception):
    """A person asked the night to stop; it did so at a field boundary."""


class Pause:
    """Waits with the light off; told once, however many wait at a time.

    Parameters
    ----------
    darken
        switches the light off once what is being exposed has ended; whether that could be done.
    state
        takes state and reason of the night.
    emit
        takes level, name and message of an event.
    interrupted
        whether a person asked the night to stop.
    """

    def __init__(
        self,
        darken: Callable[[], Awaitable[bool]],
        state: Callable[[NightState, str], None],
        emit: EmitEvent,
        interrupted: Callable[[], bool],
        clock: NightClock,
    ) -> None:
        self._darken = darken
        self._state = state
        self._emit = emit
        self._interrupted = interrupted
        self._clock = clock
        self._waiting: list[Callable[[], str]] = []
        self._darken_again_s: float | None = None

    async def until_free(self, blocked: Blocked) -> None:
        """Wait as long as `blocked` gives a reason.

        Raises
        ------
        Interrupt
            A person asked the night to stop meanwhile.
        """
        reason = blocked()
        if reason is None:
            return

        told = reason

        def lasts() -> bool:
            nonlocal told
            now = blocked()
            told = now or told
            return now is not None

        async with self.lasting(lambda: told):
            await self.wait(lasts)

    @asynccontextmanager
    async def lasting(self, reason: Callable[[], str]) -> AsyncIterator[None]:
        """Stand still meanwhile, whatever is done; `reason` says why."""
        self._waiting.append(reason)
        goes_on = ""
        try:
            if self._waiting == [reason]:
                self._tell_state()
                await self._try_darkening()
                light = "is off" if self._darken_again_s is None else "could not be switched off"
                told = f"{reason()}; the light {light}, and the night goes on once that ends"
                self._emit("warning", EventName.PAUSED, told)
            yield
            goes_on = "what kept the night has gone"
        except RequestFailed:
            goes_on = "the field is skipped, and the night goes on"
            raise
        finally:
            self._waiting.remove(reason)
            if goes_on and not self._waiting:
                self._darken_again_s = None
                self._state(NightState.SCANNING, "")
                self._emit("info", EventName.RESUMED, goes_on)

    async def wait(self, lasts: Callable[[], bool]) -> None:
        """Wait within `lasting`, the light off; raises `Interrupt` as `until_free` does."""
        if self._darken_again_s is None:
            # What was tried meanwhile may have switched it on.
            await self._try_darkening()
        while lasts():
            self._tell_state()
            if self._darken_again_s is not None and self._clock.now() >= self._darken_again_s:
                await self._try_darkening()
            await self._sleep()

    @property
    def lasts(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    async def over(self) -> None:
        """Wait until nobody waits any more; raises `Interrupt` as `until_free` does."""
        while self._waiting:
            await self._sleep()

    async def _sleep(self) -> None:
        if self._interrupted():
            raise Interrupt
        await self._clock.sleep(POLL_S)

    async def _try_darkening(self) -> None:
        self._darken_again_s = self._clock.now() + DARKEN_AGAIN_S
        if await self._darken():
            self._darken_again_s = None

    def _tell_state(self) -> None:
        self._state(NightState.PAUSED, self._waiting[0]())
