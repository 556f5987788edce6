"""A child process of the supervisor: spawned, spoken to over a pipe, killed when it misses a deadline."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from daemon.protocols.pipes import (
    AnyMessage,
    EndsWithError,
    Failed,
    FrameLanded,
    MadeSafe,
    NamingBegins,
    decode,
    encode,
)
from daemon.system.errors import ChildLost, RequestFailed, last_line
from daemon.system.process_table import ProcessTable

Reply = TypeVar("Reply")
END_S = 5.0
"""How long a killed process may take to be gone."""
CLOSE_S = 5.0
"""How long one that was told to end may take to let go of what it holds."""


class Child:
    """One child; it answers every request with one message, in the order of the requests, notices in between.

    `on_notice` is called with each frame that landed, `on_naming` with each slot whose objects are about to be named.

    `target(connection, *arguments)` runs in the new process; its first message answers the start.
    """

    def __init__(
        self,
        role: str,
        table: ProcessTable,
        target: Callable[..., None],
        *arguments: Any,
        on_notice: Callable[[FrameLanded], None] | None = None,
    ) -> None:
        self.role = role
        self._on_notice = on_notice
        self.on_naming: Callable[[int], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._answers: deque[asyncio.Future[AnyMessage]] = deque([self._loop.create_future()])
        self._lost: ChildLost | None = None
        self._error = ""
        self._safe: asyncio.Future[bool] = self._loop.create_future()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(target, theirs, *arguments), name=f"lamelle {role}")
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        table.register(role, self._process.pid)
        self._reader = threading.Thread(target=self._read, name=f"from {role}", daemon=True)
        self._reader.start()

    async def ready(self, kind: type[Reply], deadline_s: float) -> Reply:
        """Await the child's first message, which must be of this kind; see `answer`. A child without it is ended."""
        try:
            return await self.answer(self._answers[0], kind, deadline_s)
        except ChildLost:
            await self.end()
            raise

    async def made_safe(self, deadline_s: float) -> bool:
        """Whether the child says, before the deadline and before its end, that it has made safe."""
        await asyncio.wait({self._safe}, timeout=deadline_s)
        return self._safe.done() and self._safe.result()

    def send(self, message: AnyMessage) -> None:
        """Send a message that is not answered.

        Raises
        ------
        ChildLost
            The process has ended.
        """
        if self._lost is not None:
            raise self._lost
        try:
            self._connection.send_bytes(encode(message))
        except OSError as error:
            raise ChildLost(f"the {self.role} process has ended ({error})") from error

    def ask(self, message: AnyMessage) -> asyncio.Future[AnyMessage]:
        """Send a request; pass the future to `answer`. Raises `ChildLost`."""
        self.send(message)
        future = self._loop.create_future()
        self._answers.append(future)
        return future

    async def answer(self, future: asyncio.Future[AnyMessage], kind: type[Reply], deadline_s: float) -> Reply:
        """Await the answer to a request.

        Raises
        ------
        ChildLost
            The process ended, answered out of turn, or did not answer in time; `end` it.
        RequestFailed
            It answered that the request failed.
        """
        # Not `wait_for`, which in Python 3.11 swallows a cancellation that comes with the answer.
        done, _ = await asyncio.wait({future}, timeout=deadline_s)
        if not done:
            raise ChildLost(f"the {self.role} process did not answer within {deadline_s:g} s")
        return understood(self.role, future.result(), kind)

    @property
    def lost(self) -> ChildLost | None:
        """How the process has ended; None while it lives."""
        return self._lost

    async def end(self, grace_s: float = 0.0) -> None:
        """Wait `grace_s` for the process to end by itself, then kill it; may be called again."""
        if grace_s > 0:
            await asyncio.to_thread(self._process.join, grace_s)
        if self._process.is_alive():
            self._process.kill()
        await asyncio.to_thread(self._process.join, END_S)
        await asyncio.to_thread(self._reader.join, END_S)
        self._connection.close()

    def _read(self) -> None:
        while True:
            try:
                message = decode(self._connection.recv_bytes())
            except (EOFError, OSError):
                self._process.join(END_S)
                self._loop.call_soon_threadsafe(self._lose)
                return
            self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: AnyMessage) -> None:
        if isinstance(message, FrameLanded):
            if self._on_notice is not None:
                self._on_notice(message)
        elif isinstance(message, NamingBegins):
            if self.on_naming is not None:
                self.on_naming(message.slot)
        elif isinstance(message, MadeSafe):
            self._safe.set_result(True)
        elif isinstance(message, EndsWithError):
            self._error = message.error
        elif self._answers and not (future := self._answers.popleft()).done():
            future.set_result(message)

    def _lose(self) -> None:
        how = self._error or f"exit status {self._process.exitcode}"
        self._lost = ChildLost(f"the {self.role} process died ({how})")
        for future in self._answers:
            if not future.done():
                future.set_exception(self._lost)
                future.exception()
        self._answers.clear()
        if not self._safe.done():
            self._safe.set_result(False)


def understood(role: str, message: AnyMessage, kind: type[Reply]) -> Reply:
    """Take an answer for what it is; raises as `Child.answer` does."""
    if isinstance(message, Failed):
        raise RequestFailed(message.kind, message.message, again=message.again, fault_of=message.fault_of)
    if not isinstance(message, kind):
        raise ChildLost(f"the {role} process answered {type(message).__name__} where something else was expected")
    return message


def _main(target: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    # A Ctrl-C in the terminal reaches every process of its group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        target(connection, *arguments)
    except Exception as error:
        # Its traceback stands in the log of the process, whose logbook has seen the error pass.
        with suppress(OSError):
            connection.send_bytes(encode(EndsWithError(error=last_line(error))))
        raise
