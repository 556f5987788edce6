"""Several workers on a list of requests: answers in the order of the requests, whoever of the workers dies."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace

from daemon.children.child import Child
from daemon.protocols.pipes import AnalysisReady, Close, CutField, FieldCut
from daemon.records.names import PROCESSES
from daemon.reprocessing.worker import Work, run_worker
from daemon.system.errors import ChildLost, NightStopped, RequestFailed
from daemon.system.process_table import ProcessTable

START_S = 600.0
"""Before the first stack the detector's model may have to be exported."""
STACK_S = 900.0
"""A stack of many large planes, each looked at, on a processor that is busy."""
ATTEMPTS = 3
DEATHS_NAMELESS = 2
"""Once workers have died so often as they named objects, none is named any more."""
AHEAD = 3
"""So many requests a worker may be under way, or wait for the one before them."""
CLOSE_S = 5.0


@asynccontextmanager
async def working(work: Work, count: int) -> AsyncIterator[Crew]:
    """Workers at work; they end with the context, at once where it ends by an exception."""
    table = ProcessTable(work.into)
    table.register("parent", os.getpid())

    def spawn(number: int) -> Child:
        role = f"worker-{number}"
        return Child(role, table, run_worker, role, work)

    crew = Crew(spawn, count, prepare_first=work.usual is not None)
    grace_s = 0.0
    try:
        await crew.start()
        yield crew
        grace_s = CLOSE_S
    finally:
        await crew.close(grace_s)
        (work.into / PROCESSES).unlink(missing_ok=True)


class Crew:
    """Workers that are started anew when they die or hang.

    Parameters
    ----------
    spawn
        makes worker number n, from 1.
    prepare_first
        let the first worker get ready before the others are started, which find prepared what it has.
    """

    def __init__(self, spawn: Callable[[int], Child], count: int, *, prepare_first: bool) -> None:
        self._spawn = spawn
        self._count = count
        self._prepare_first = prepare_first
        self._idle: asyncio.Queue[tuple[int, Child]] = asyncio.Queue()
        self._living: dict[int, Child] = {}
        self._deaths_naming = 0

    async def start(self) -> None:
        """Start the workers.

        Raises
        ------
        RequestFailed
            A worker refuses to work.
        NightStopped
            A worker does not start.
        """
        numbers = list(range(1, self._count + 1))
        if self._prepare_first:
            await self._start(numbers.pop(0))
        await asyncio.gather(*map(self._start, numbers))

    async def answers(self, requests: Iterable[CutField]) -> AsyncGenerator[tuple[CutField, FieldCut | str], None]:
        """Have requests done; close it before the workers.

        Gives each request with its answer, or with why there is none: it was the end of every worker.

        Raises
        ------
        RequestFailed
            A worker says that it cannot do what is asked.
        NightStopped
            A worker does not start again.
        """
        under_way: deque[tuple[CutField, asyncio.Task[FieldCut | str]]] = deque()
        try:
            for request in requests:
                under_way.append((request, asyncio.create_task(self._have_done(request))))
                if len(under_way) >= self._count * AHEAD:
                    first, task = under_way.popleft()
                    yield first, await task
            while under_way:
                first, task = under_way.popleft()
                yield first, await task
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)

    async def close(self, grace_s: float) -> None:
        """End the workers: those that work after `grace_s`, now if that is 0."""
        for child in self._living.values():
            with suppress(ChildLost):
                child.send(Close())
        await asyncio.gather(*(child.end(grace_s) for child in self._living.values()))

    async def _start(self, number: int) -> None:
        self._living[number] = self._spawn(number)
        try:
            await self._living[number].ready(AnalysisReady, START_S)
        except ChildLost as error:
            raise NightStopped(f"worker {number} cannot be started: {error}; its log says why") from error
        self._idle.put_nowait((number, self._living[number]))

    async def _have_done(self, request: CutField) -> FieldCut | str:
        told = ""
        for _attempt in range(ATTEMPTS):
            number, child = await self._idle.get()
            naming: list[int] = []
            child.on_naming = naming.append
            if self._deaths_naming >= DEATHS_NAMELESS and not request.nameless:
                request = replace(request, nameless=f"workers died {self._deaths_naming} times as they named objects")
            try:
                answer = await child.answer(child.ask(request), FieldCut, STACK_S)
            except ChildLost as error:
                told = f"its analysis ended {ATTEMPTS} times: {error}"
                if naming:  # it was well until then: only its names are left out
                    self._deaths_naming += 1
                    request = replace(request, nameless=f"its analysis ended as it named objects: {error}")
                await child.end()
                await self._start(number)
            except RequestFailed:
                self._idle.put_nowait((number, child))
                raise
            else:
                self._idle.put_nowait((number, child))
                return answer
        return told
