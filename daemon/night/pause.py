"""Where the night stands still, light off and in oil, until what keeps it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from daemon.records.events import EmitEvent, EventName
from daemon.records.states import NightState

POLL_S = 0.5

Blocked = Callable[[], str | None]
"""Why something cannot go on at present; None once it can. Asked again and again, so it may also try."""


class Interrupt(Exception):
    """A person asked the night to stop; it did so at a field boundary."""


class Pause:
    """Waits with the light off; told once, however many wait at a time.

    Parameters
    ----------
    darken
        switches the light off once what is being exposed has ended.
    state
        takes state and reason of the night.
    emit
        takes level, name and message of an event.
    interrupted
        whether a person asked the night to stop.
    """

    def __init__(
        self,
        darken: Callable[[], Awaitable[None]],
        state: Callable[[NightState, str], None],
        emit: EmitEvent,
        interrupted: Callable[[], bool],
    ) -> None:
        self._darken = darken
        self._state = state
        self._emit = emit
        self._interrupted = interrupted
        self._waiting: list[Blocked] = []

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
        self._waiting.append(blocked)
        try:
            if self._waiting == [blocked]:
                self._state(NightState.PAUSED, reason)
                await self._darken()
                self._emit(
                    "warning", EventName.PAUSED, f"{reason}; the light is off, and the night goes on once that ends"
                )
            while (reason := blocked()) is not None:
                if self._waiting[0] is blocked:
                    self._state(NightState.PAUSED, reason)
                await self._sleep()
        finally:
            self._waiting.remove(blocked)
        if not self._waiting:
            self._state(NightState.SCANNING, "")
            self._emit("info", EventName.RESUMED, "what kept the night has gone")

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
        await asyncio.sleep(POLL_S)
