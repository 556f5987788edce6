"""The supervisor's end of the microscope: a child that is started anew, and made safe whatever becomes of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from daemon.children.child import CLOSE_S, Child, Reply
from daemon.children.rescue import OPEN_S, make_safe_at_last
from daemon.protocols.pipes import (
    AnyMessage,
    Close,
    Done,
    Expose,
    Exposed,
    MicroscopeReady,
    OpenSlide,
    Prepare,
    SwitchLight,
    Withdraw,
)
from daemon.records.events import EmitEvent, EventName
from daemon.system.errors import ChildLost, LamelleError, RequestFailed
from drivers.errors import HardwareLost

START_S = 120.0
"""A first import of torch from a cold disk takes most of it."""
SAFE_S = 3.0
"""What making safe may take in a child that serves: a slow z drive, but no driver call that blocks it."""
RESCUE_S = 600.0
"""How long it is tried to make safe what was not safe at the end: Micro-Manager may be frozen, and come back."""


class MicroscopeLink:
    """The microscope as the night sees it: a child that is started anew when it dies or hangs.

    `spawn` makes the child; `command_s` is the deadline of a single command, `expose_s` of a whole sweep. A child that
    cannot be started now is a fault like any other, and what is asked next starts one again. `rescue_s` is how long
    hardware that is not safe in the end is tried; `now` and `sleep` say how that time passes.

    Attributes
    ----------
    reached_um
        x, y and z of the last plane that was exposed; None before the first one.
    light_is_on
        what lamp and shutter were last switched to; None where nobody knows.
    stands
        what the child does, in words.
    safe
        whether all was made safe when it was closed.
    """

    def __init__(
        self,
        spawn: Callable[[], Child],
        command_s: float,
        expose_s: float,
        emit: EmitEvent,
        rescue_s: float = RESCUE_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spawn = spawn
        self._now = now
        self._sleep = sleep
        self._command_s = command_s
        self._expose_s = expose_s
        self._emit = emit
        self._rescue_s = rescue_s
        self._hurried = False
        self._child: Child | None = None
        self._serves = False
        self._touched = False
        self._lost = False
        self._lost_for, self._tells_lost = "", True
        self._slide: int | None = None
        self._exposing = asyncio.Lock()
        self.restarts = 0
        self.reached_um: tuple[float, float, float] | None = None
        self.light_is_on: bool | None = None
        self.stands = "not started"
        self.safe = True

    async def start(self) -> MicroscopeReady:
        """Start the child, whose first act is to make the hardware safe, and prepare it for exposures."""
        self._child, self._serves = self._spawn(), False
        self.stands = "starting" if self.restarts == 0 else self.stands
        try:
            ready = await self._child.ready(MicroscopeReady, START_S)
        except RequestFailed as error:
            if not self._touched and error.kind != HardwareLost.__name__:
                # It was refused before anything moved, so nothing has to be made safe.
                child, self._child = self._child, None
                await child.end(CLOSE_S)
            raise
        self._serves, self._touched, self._lost, self.light_is_on = True, True, False, False
        await self._child.answer(self._child.ask(Prepare()), Done, START_S)
        for note in ready.notes if self.restarts == 0 else ():
            self._emit("info", EventName.MICROSCOPE_NOTED, note)
        self.stands = "runs" if self.restarts == 0 else f"runs; started again {self.restarts} times"
        return ready

    async def open_slide(self, slide: int) -> None:
        """Withdraw, and enforce the z window of another mini-slide."""
        await self._command(OpenSlide(slide=slide))
        self._slide = slide

    async def light(self, on: bool) -> None:
        """Lamp and shutter, once a sweep that is being exposed has ended."""
        async with self._exposing:
            await self._switch(on)

    async def expose(self, request: Expose, within_s: float | None = None) -> Exposed:
        """Move and expose into the ring; raises `RequestFailed`, also when the child was lost and replaced.

        `within_s` is the deadline of a sweep that is not one of a night.
        """
        async with self._exposing:
            await self._switch(request.sweep.lit)
            exposed = await self._ask(request, Exposed, within_s or self._expose_s)
        self._lost_for, self._tells_lost = "", True
        sweep = request.sweep
        self.reached_um = exposed.x_um, exposed.y_um, sweep.first_z_um + (sweep.planes - 1) * sweep.step_um
        return exposed

    async def withdraw(self) -> None:
        """Withdraw the objective."""
        await self._command(Withdraw())

    def abandon(self) -> None:
        """Make safe at once, whatever is being exposed; nothing but `close` may follow."""
        if self._child is not None:
            with suppress(ChildLost):
                self._child.send(Close())

    async def close(self) -> bool:
        """Make safe and end; whether it is safe. May be called again.

        A child that cannot make safe is killed, and another one started which does nothing else, again and again until
        all is safe, for `rescue_s`. Whoever is cancelled meanwhile has to wait for the one that tries.
        """
        closing, cancelled = asyncio.create_task(self._close()), None
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as error:
                cancelled, self._hurried = error, True
        self.safe = closing.result()
        if cancelled is not None:
            raise cancelled
        return self.safe

    async def _close(self) -> bool:
        child, self._child = self._child, None
        if await self._end(child, CLOSE_S) if child is not None else not self._lost:
            self.stands, self.light_is_on = "safe and closed", False
            return True
        self.stands, self.light_is_on = "could not be made safe at once", None
        within_s = self._rescue_s if self._touched else 0.0
        not_safe = partial(self._emit, "error", EventName.NOT_SAFE)
        safe = await make_safe_at_last(self._spawn, within_s, not_safe, self._rescue_clock, self._sleep)
        self.stands = "safe and closed" if safe else "not safe"
        if safe:
            self._emit("info", EventName.MADE_SAFE, "the hardware is safe")
        return safe

    def _rescue_clock(self) -> float:
        """Time, of which none is left once somebody wants an end."""
        return math.inf if self._hurried else self._now()

    async def _end(self, child: Child, grace_s: float) -> bool:
        """Make safe, and end the child; whether it said that all is safe. It may take `grace_s` to let go."""
        with suppress(ChildLost):
            child.send(Close())
        safe = await child.made_safe(SAFE_S if self._serves else OPEN_S)
        await child.end(grace_s if safe else 0.0)
        return safe

    async def _switch(self, on: bool) -> None:
        if on != self.light_is_on:
            self.light_is_on = None
            await self._command(SwitchLight(on=on))
            self.light_is_on = on

    async def _command(self, request: AnyMessage) -> None:
        await self._ask(request, Done, self._command_s)

    async def _ask(self, request: AnyMessage, kind: type[Reply], deadline_s: float) -> Reply:
        if self._child is None:
            await self._start_again()
        assert self._child is not None
        try:
            return await self._child.answer(self._child.ask(request), kind, deadline_s)
        except ChildLost as error:
            await self._replace(error)
            raise RequestFailed("ChildLost", str(error), again=True, fault_of="instrument") from error
        except RequestFailed as error:
            if error.kind != HardwareLost.__name__:
                raise
            await self._replace(error)
            raise RequestFailed(error.kind, str(error), again=True, fault_of="instrument") from error

    async def _replace(self, error: LamelleError) -> None:
        """Start another child, whose first act is to make safe; a fault where that cannot be done now.

        What is lost again for the same reason before anything was exposed is told once.
        """
        assert self._child is not None
        self._tells_lost, self._lost_for = str(error) != self._lost_for, str(error)
        if self._tells_lost:
            self._emit("warning", EventName.MICROSCOPE_LOST, str(error))
        child, self._child, self._lost, self.light_is_on = self._child, None, True, None
        self.stands = f"starts again: {error}"
        # What does not hang gives an operator back what was set before.
        await self._end(child, CLOSE_S)
        await self._start_again()

    async def _start_again(self) -> None:
        self.restarts += 1
        try:
            await self.start()
            assert self._child is not None
            if self._slide is not None:
                await self._child.answer(self._child.ask(OpenSlide(slide=self._slide)), Done, self._command_s)
        except (ChildLost, RequestFailed) as error:
            child, self._child, self._lost, self.light_is_on = self._child, None, True, None
            if child is not None:
                await self._end(child, grace_s=0.0)
            self.stands = f"cannot be started: {error}"
            kind = error.kind if isinstance(error, RequestFailed) else "ChildLost"
            told = f"the microscope cannot be started again: {error}"
            raise RequestFailed(kind, told, again=True, fault_of="instrument") from error
        if self._tells_lost:
            self._emit("info", EventName.MICROSCOPE_RESTARTED, "the hardware was made safe, and the night goes on")
