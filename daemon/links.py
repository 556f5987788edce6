"""The supervisor's ends of the two children that matter to a field: the microscope and the analysis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from daemon.child import Child, Reply
from daemon.errors import ChildLost, LamelleError, NightStopped, RequestFailed
from daemon.messages import (
    Analysed,
    AnalysisReady,
    AnyMessage,
    Close,
    Done,
    Expose,
    Exposed,
    Finish,
    FrameLanded,
    Light,
    MeasureSharpness,
    MicroscopeReady,
    OpenSlide,
    Sharpness,
    StackBegins,
    Withdraw,
)
from drivers.errors import HardwareLost

START_S = 120.0
"""A first import of torch from a cold disk takes most of it."""
CLOSE_S = 5.0
ANALYSIS_S = 120.0
ANALYSIS_ATTEMPTS = 3
RESTARTS_IN_A_ROW = 5

Tell = Callable[[str, str, str], None]
"""Takes level, name and message of an event."""


class MicroscopeLink:
    """The microscope as the night sees it: a child that is started anew when it dies or hangs.

    `spawn` makes the child; `command_s` is the deadline of a single command, `expose_s` of a whole sweep.
    """

    def __init__(self, spawn: Callable[[], Child], command_s: float, expose_s: float, tell: Tell, *, mortal: bool):
        self._spawn = spawn
        self._command_s = command_s
        self._expose_s = expose_s
        self._tell = tell
        self._mortal = mortal
        self._child: Child | None = None
        self._slide: int | None = None
        self._light = False
        self._exposing = asyncio.Lock()
        self._failures = 0
        self.restarts = 0

    async def start(self) -> MicroscopeReady:
        """Start the child, whose first act is to make the hardware safe."""
        self._child = self._spawn()
        return await self._child.ready(MicroscopeReady, START_S)

    async def open_slide(self, slide: int) -> None:
        """Withdraw, and enforce the z window of another mini-slide."""
        await self._command(OpenSlide(slide=slide))
        self._slide = slide

    async def light(self, on: bool) -> None:
        """Lamp and shutter, once a sweep that is being exposed has ended."""
        async with self._exposing:
            await self._switch(on)

    async def expose(self, request: Expose) -> Exposed:
        """Move and expose into the ring; raises `RequestFailed`, also when the child was lost and replaced."""
        async with self._exposing:
            await self._switch(True)
            exposed = await self._ask(request, Exposed, self._expose_s)
        self._failures = 0
        return exposed

    async def withdraw(self) -> None:
        """Withdraw the objective."""
        await self._command(Withdraw())

    def abandon(self) -> None:
        """Stop waiting for what is being exposed: the child is killed, and `close` starts another to make safe."""
        if self._child is not None:
            self._child.kill()

    async def close(self) -> bool:
        """Make safe and end; a child that does not is killed, and another one started to make safe.

        Returns whether it is safe; may be called again.
        """
        child = self._child
        if child is None:
            return True
        for _attempt in range(2):
            try:
                await child.answer(child.ask(Close()), Done, CLOSE_S)
                await child.end(grace_s=CLOSE_S)
                self._child = None
                return True
            except (ChildLost, RequestFailed):
                await child.end()
                child = self._child = self._spawn()
                try:
                    await child.ready(MicroscopeReady, CLOSE_S)
                except (ChildLost, RequestFailed):
                    break
        await child.end()
        return False

    async def _switch(self, on: bool) -> None:
        if on != self._light:
            await self._command(Light(on=on))
            self._light = on

    async def _command(self, request: AnyMessage) -> None:
        await self._ask(request, Done, self._command_s)

    async def _ask(self, request: AnyMessage, kind: type[Reply], deadline_s: float) -> Reply:
        assert self._child is not None
        try:
            return await self._child.answer(self._child.ask(request), kind, deadline_s)
        except ChildLost as error:
            await self._replace(error)
            raise RequestFailed("ChildLost", str(error), again=True) from error
        except RequestFailed as error:
            if error.kind != HardwareLost.__name__:
                raise
            await self._replace(error)
            raise RequestFailed(error.kind, str(error), again=True) from error

    async def _replace(self, error: LamelleError) -> None:
        assert self._child is not None
        await self._child.end()
        if self._mortal:
            raise NightStopped(
                f"{error}; a call that hangs in the running Micro-Manager cannot be ended from here: call the operator"
            ) from error
        self._failures += 1
        if self._failures > RESTARTS_IN_A_ROW:
            raise NightStopped(f"{error}, for the {self._failures}th time in a row; check the microscope") from error
        self._tell("warning", "microscope restarted", str(error))
        self.restarts += 1
        self._light = False
        try:
            await self.start()
            if self._slide is not None:
                await self._child.answer(self._child.ask(OpenSlide(slide=self._slide)), Done, self._command_s)
        except (ChildLost, RequestFailed) as again:
            raise NightStopped(f"the microscope does not start again: {again}") from again


@dataclass
class _Job:
    slot: int
    landed: list[FrameLanded] = field(default_factory=list)
    finish: Finish | None = None
    answer: asyncio.Future[AnyMessage] | None = None

    def analysed(self) -> bool:
        """Whether the answer is there and has only to be fetched."""
        future = self.answer
        return future is not None and future.done() and not future.exception() and isinstance(future.result(), Analysed)


class AnalysisLink:
    """The analysis as the night sees it: what it has not answered yet it is told again after it died.

    The ring keeps the stacks, so no exposure is repeated.
    """

    def __init__(self, spawn: Callable[[], Child], tell: Tell) -> None:
        self._spawn = spawn
        self._tell = tell
        self._child: Child | None = None
        self._jobs: dict[int, _Job] = {}
        self._reviving = asyncio.Lock()
        self._starting = False

    async def start(self) -> AnalysisReady:
        """Start the child and await its detector."""
        self._child = self._spawn()
        return await self._child.ready(AnalysisReady, START_S)

    def begin(self, slot: int) -> None:
        """Planes of a new stack will land in this slot."""
        self._jobs.pop(slot, None)
        self._jobs[slot] = _Job(slot)
        self._pass_on(StackBegins(slot=slot))

    def landed(self, frame: FrameLanded) -> None:
        """Pass on that a plane has landed."""
        if frame.slot in self._jobs:
            self._jobs[frame.slot].landed.append(frame)
            self._pass_on(frame)

    def drop(self, slot: int) -> None:
        """Forget a stack that will not be finished."""
        self._jobs.pop(slot, None)

    def complete(self, request: Finish) -> None:
        """All planes of a slot have landed; comes before the next `begin`. Then await `result`."""
        job = self._jobs[request.slot]
        job.finish = request
        self._ask(job)

    async def result(self, slot: int) -> Analysed:
        """Await the analysis of a complete stack, its files written.

        Raises
        ------
        RequestFailed
            The spool could not be written (`again`: await the result once more), or the analysis died of this stack
            too often.
        """
        job = self._jobs[slot]
        for _attempt in range(ANALYSIS_ATTEMPTS):
            child = await self._present()
            try:
                if job.answer is None:
                    raise ChildLost("the analysis process has ended")
                analysed = await child.answer(job.answer, Analysed, ANALYSIS_S)
                self.drop(slot)
                return analysed
            except ChildLost as error:
                await self._revive(child, error)
            except RequestFailed:
                # Another stack may already have taken the session's buffers: a new child is told everything again.
                job.answer = None
                await child.end()
                raise
        self.drop(slot)
        raise RequestFailed("analysis", f"the analysis died {ANALYSIS_ATTEMPTS} times of this stack", again=False)

    async def sharpness(self, slot: int, planes: int) -> tuple[float, ...]:
        """Sharpness of the first planes of a slot's first channel."""
        request = MeasureSharpness(slot=slot, planes=planes)
        for _attempt in range(ANALYSIS_ATTEMPTS):
            child = await self._present()
            try:
                return (await child.answer(child.ask(request), Sharpness, ANALYSIS_S)).values
            except ChildLost as error:
                await self._revive(child, error)
        raise NightStopped(f"the analysis died {ANALYSIS_ATTEMPTS} times during a focus search")

    async def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._pass_on(Close())
            await self._child.end(grace_s=CLOSE_S)

    async def _present(self) -> Child:
        """Give the child, once a revival that is under way has ended."""
        async with self._reviving:
            assert self._child is not None
            return self._child

    def _ask(self, job: _Job) -> None:
        assert self._child is not None
        assert job.finish is not None
        if self._starting:
            return
        try:
            job.answer = self._child.ask(job.finish)
        except ChildLost:
            job.answer = None

    def _pass_on(self, message: AnyMessage) -> None:
        assert self._child is not None
        if self._starting:
            return
        try:
            self._child.tell(message)
        except ChildLost:
            # Whoever awaits an answer revives the child, and then it is told everything again.
            return

    async def _revive(self, dead: Child, error: ChildLost) -> None:
        async with self._reviving:
            if self._child is not dead:
                return
            # What is passed on meanwhile would reach the new child twice, and a field analysed twice be written twice.
            self._starting = True
            await dead.end()
            self._tell("warning", "analysis restarted", f"{error}; its stacks are analysed again from the ring")
            try:
                await self.start()
            except (ChildLost, RequestFailed) as again:
                raise NightStopped(f"the analysis does not start again: {again}") from again
            finally:
                self._starting = False
            for job in self._jobs.values():
                self._pass_on(StackBegins(slot=job.slot))
                for frame in job.landed:
                    self._pass_on(frame)
                if job.finish is not None and not job.analysed():
                    job.answer = None
                    self._ask(job)
