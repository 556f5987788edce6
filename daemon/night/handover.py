"""The way from the journal to the recorder: a sender, and a recorder of the night's own where none is configured."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from daemon.children.child import Child
from daemon.config.model import Recorder
from daemon.delivery.sender import Sender, SenderStatus
from daemon.protocols.pipes import Close, RecorderReady, Reported
from daemon.recorder.process import run_local_recorder
from daemon.records.events import EmitEvent, EventName
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import ChildLost, Refused, RequestFailed
from daemon.system.process_table import ProcessTable

KEEP_S = 1.0
"""How often sender and recorder are looked after."""
RESTART_S = 5.0
"""How long they are left alone after they died."""
SENDER_RESTARTS = 5
MEET_S, MEET_POLL_S = 3.0, 0.05
"""How long a night that begins waits for the first word of a recorder elsewhere; one that is away may come later."""
START_S = 60.0
"""A first start from a cold disk, on a computer that is busy, takes a good part of it."""
END_S = 5.0
SLOW_S = 1.0
"""Delivery that stands still for this long at the end of a night is told."""

_log = logging.getLogger(__name__)


class Handover:
    """Delivers what is journalled, and starts again whoever of it dies; what is not acknowledged is sent again.

    Parameters
    ----------
    settings
        where the recorder is, and how much may be on the way.
    run
        the run folder.
    emit
        called in the thread of the event loop.
    """

    def __init__(
        self, settings: Recorder, run: Path, journal: Journal, spool: Spool, table: ProcessTable, emit: EmitEvent
    ) -> None:
        self._settings = settings
        self._run = run
        self._journal = journal
        self._spool = spool
        self._table = table
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._recorder: Child | None = None
        self._sender: Sender | None = None
        self._restarts = 0

    async def start(self) -> None:
        """Start a recorder, unless one is configured, and the sender."""
        endpoint = self._settings.endpoint
        self._start_sender(await self._start_recorder() if endpoint is None else endpoint)

    async def meet(self) -> None:
        """Wait a moment for the first word of a recorder elsewhere.

        Raises
        ------
        Refused
            It is of a version of lamelle that cannot take this night.
        """
        until_s = time.monotonic() + MEET_S
        while self._settings.endpoint is not None and time.monotonic() < until_s:
            status = self.status()
            if status.unfit is not None:
                raise Refused(status.unfit)
            if status.connected or status.refused or status.waiting or status.away:
                return
            await asyncio.sleep(MEET_POLL_S)

    async def keep(self) -> None:
        """Look after recorder and sender, for ever."""
        while True:
            await asyncio.sleep(KEEP_S)
            if self._recorder is not None and (lost := self._recorder.lost) is not None:
                await self._restart_recorder(self._recorder, lost)
            if self._sender is not None and not self._sender.is_alive() and self._restarts < SENDER_RESTARTS:
                self._restarts += 1
                self._emit("error", EventName.DELIVERY_RESTARTED, f"the sender died ({self._sender.error}); it goes on")
                self._sender.stop(0.0)
                self._start_sender(self._sender.endpoint)
                await asyncio.sleep(RESTART_S)

    def wake(self) -> None:
        """Note that the journal has grown."""
        if self._sender is not None:
            self._sender.wake()

    def status(self) -> SenderStatus:
        """How delivery stands."""
        return SenderStatus() if self._sender is None else self._sender.status()

    def explain(self) -> str:
        """Return why the spool does not grow emptier."""
        return "delivery has not begun" if self._sender is None else self._sender.explain()

    def sentence(self) -> str:
        """Say how delivery stands."""
        if self._sender is None:
            return "not started"
        whose = "the night's own recorder" if self._settings.endpoint is None else self._sender.endpoint
        status = self._sender.status()
        if status.whole:
            return f"{whose} has all of the night"
        if not status.connected:
            return f"not connected to {whose}: {self.explain()}"
        trouble = status.refused or status.waiting
        return f"connected to {whose}" if trouble is None else f"connected to {whose}, but {trouble}"

    async def drain(self, patience_s: float, slow: Callable[[str], None]) -> int:
        """Wait until the recorder has everything, or has taken nothing for `patience_s`.

        `slow` is told why it takes time. Returns the number of records that wait still.
        """
        if self._sender is None:
            return 0
        self.wake()
        held, since_s = -1, time.monotonic()
        while (backlog := self._journal.last_seq() - self.status().acknowledged_seq) > 0:
            if held != (held := self.status().acknowledged_seq):
                since_s = time.monotonic()
            stands_s = time.monotonic() - since_s
            if stands_s > patience_s:
                break
            if stands_s > SLOW_S:
                slow(self.explain())
            await asyncio.sleep(0.05)
        return backlog

    async def report(self, within_s: float) -> Reported:
        """Let a recorder of our own end, once it has made the report of the complete night or may take no longer.

        Neither page nor problem where the recorder is elsewhere, or has nothing to report.
        """
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return Reported()
        grace_s = 0.0
        try:
            told = await recorder.answer(recorder.ask(Close()), Reported, within_s + END_S)
            grace_s = END_S
        except (ChildLost, RequestFailed) as error:
            return Reported(problem=f"{error}; `lamelle report` makes it")
        finally:
            await recorder.end(grace_s)
        return told

    async def close(self) -> None:
        """End sender and recorder."""
        if self._sender is not None:
            await asyncio.to_thread(self._sender.stop, 1.0)
        if self._recorder is not None:
            with suppress(ChildLost):
                self._recorder.send(Close())
            await self._recorder.end(grace_s=END_S)

    async def _start_recorder(self) -> str:
        self._recorder = Child("recorder", self._table, run_local_recorder, self._run)
        return (await self._recorder.ready(RecorderReady, START_S)).endpoint

    async def _restart_recorder(self, dead: Child, lost: ChildLost) -> None:
        self._emit("warning", EventName.RECORDER_RESTARTED, f"{lost}; nothing is lost, it goes on")
        await dead.end()
        try:
            endpoint = await self._start_recorder()
        except (ChildLost, RequestFailed, OSError) as error:
            _log.error("the recorder does not start: %s", error)
            await asyncio.sleep(RESTART_S)
        else:
            if self._sender is not None:
                self._sender.redirect(endpoint)

    def _start_sender(self, endpoint: str) -> None:
        self._sender = Sender(
            self._journal.path,
            self._spool,
            endpoint,
            emit=self._emit_from_sender,
            keys=self._settings.keys,
            chunk_bytes=self._settings.chunk_kb * 1024,
            credit_bytes=self._settings.credit_mb * 1_000_000,
        )
        self._sender.start()

    def _emit_from_sender(self, level: str, name: EventName, message: str) -> None:
        self._loop.call_soon_threadsafe(self._emit, level, name, message)
