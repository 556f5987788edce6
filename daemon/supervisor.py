"""The supervisor: starts the processes of a night, keeps them, and leaves everything safe."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

from daemon.analysis import run_analysis
from daemon.child import Child
from daemon.config import Night as Config
from daemon.errors import ChildLost, NightStopped, Refused, RequestFailed
from daemon.journal import Journal
from daemon.links import AnalysisLink, MicroscopeLink
from daemon.messages import Close, RecorderReady
from daemon.microscope import run_microscope
from daemon.night import Interrupt, Night
from daemon.outlook import field_seconds
from daemon.plan import PlannedField
from daemon.processes import ProcessTable
from daemon.progress import ProgressDisplay
from daemon.recording import run_local_recorder
from daemon.reporting import Reporter
from daemon.ring import Ring
from daemon.sender import Sender
from daemon.spool import Spool
from drivers.errors import HardwareLost

KEEP_S = 1.0
"""How often the recorder is looked after."""
RECORDER_START_S = 20.0
DRAIN_S = 60.0
STACK_PATIENCE = 4.0
"""A sweep may take this many times what its moves and exposures add up to, plus the deadlines of its waits."""

_log = logging.getLogger(__name__)


class Exit(IntEnum):
    """Exit status of a night."""

    COMPLETE = 0
    FAULT = 1
    REFUSED = 2
    SKIPPED = 3
    INTERRUPTED = 130


class Supervisor:
    """The process that owns the night: its children, its journal, and what it tells the world."""

    def __init__(
        self,
        config: Config,
        run: Path,
        plan: tuple[PlannedField, ...],
        journal: Journal,
        spool: Spool,
        ring: Ring,
        display: ProgressDisplay,
    ) -> None:
        self._config = config
        self._run = run
        self._plan = plan
        self._journal = journal
        self._spool = spool
        self._ring = ring
        self._reporter = Reporter(config, run, plan, journal, spool, display)
        self._table = ProcessTable(run)
        self._table.register("supervisor", os.getpid())
        self._sender: Sender | None = None
        self._recorder: Child | None = None
        self._interrupts = 0

    async def run(self) -> Exit:
        """Start everything, run the night, stop everything."""
        self._reporter.start()
        self._loop = asyncio.get_running_loop()
        self._microscope = self._make_microscope()
        self._analysis = AnalysisLink(self._spawn_analysis, self._reporter.tell)
        self._background = [asyncio.create_task(self._reporter.beat())]
        try:
            exit_status = await self._until_safe()
            await self._drain()
            return exit_status
        finally:
            for task in self._background:
                task.cancel()
            await self._stop()

    async def _until_safe(self) -> Exit:
        """Run the night; whatever ends it, the hardware is made safe before anything else is waited for."""
        try:
            await self._start_children()
            self._background.append(asyncio.create_task(self._keep_recorder()))
            return await self._scan()
        except (ChildLost, RequestFailed, NightStopped) as error:
            self._reporter.tell("error", "night stopped", str(error))
            return Exit.FAULT
        finally:
            if await self._microscope.close():
                _log.info("microscope safe")
            else:
                told = "the microscope could not be made safe: check shutter, lamp and objective"
                self._reporter.tell("error", "not safe", told)

    async def _scan(self) -> Exit:
        reporter = self._reporter
        night = Night(self._config, self._plan, self._journal, self._spool, self._microscope, self._analysis, reporter)
        reporter.state("scanning")
        task = asyncio.create_task(night.run())
        with self._on_interrupt(night, task):
            try:
                await task
            except (Interrupt, asyncio.CancelledError):
                self._reporter.tell("warning", "interrupted", "stopped by a person; go on with --resume")
                reporter.state("interrupted")
                return Exit.INTERRUPTED
        reporter.state("complete")
        return Exit.SKIPPED if reporter.skipped else Exit.COMPLETE

    @contextmanager
    def _on_interrupt(self, night: Night, task: asyncio.Task[None]) -> Iterator[None]:
        """First Ctrl-C: at the field boundary. Second, or a termination: now."""

        def now() -> None:
            self._microscope.abandon()
            task.cancel()

        def interrupt(number: int, _frame: object) -> None:
            self._interrupts += 1
            night.stop_at_boundary = True
            if self._interrupts > 1 or number != signal.SIGINT:
                self._loop.call_soon_threadsafe(now)
            else:
                self._loop.call_soon_threadsafe(self._reporter.note, "stopping after this field; once more to stop now")

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # Children --------------------------------------------------------------------------------------------------------

    async def _start_children(self) -> None:
        endpoint = self._config.recorder.endpoint
        if endpoint is None:
            endpoint = await self._start_recorder()
        recorder = self._config.recorder
        self._sender = Sender(
            self._journal.path,
            self._spool,
            endpoint,
            tell=self._tell_from_sender,
            keys=recorder.keys,
            chunk_bytes=recorder.chunk_kb * 1024,
            credit_bytes=recorder.credit_mb * 1_000_000,
        )
        self._sender.start()
        self._reporter.delivery = self._sender
        try:
            await asyncio.gather(self._microscope.start(), self._analysis.start())
        except RequestFailed as error:
            if error.kind == HardwareLost.__name__:
                raise
            raise Refused(str(error)) from error

    def _make_microscope(self) -> MicroscopeLink:
        deadlines = self._config.instrument.deadlines
        command_s = deadlines.move_s + 2 * deadlines.focus_s + deadlines.switch_s
        expose_s = command_s + STACK_PATIENCE * field_seconds(self._config) + 2 * deadlines.frame_s
        bridge = self._config.instrument.backend == "bridge"
        return MicroscopeLink(self._spawn_microscope, command_s, expose_s, self._reporter.tell, mortal=bridge)

    def _spawn_microscope(self) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._run, ring.name, ring.slots, ring.shape)
        landed = lambda frame: self._analysis.landed(frame)  # noqa: E731
        return Child("microscope", self._table, run_microscope, *arguments, on_notice=landed)

    def _spawn_analysis(self) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._journal.started(), self._run, ring.name, ring.slots, ring.shape)
        return Child("analysis", self._table, run_analysis, *arguments)

    async def _start_recorder(self) -> str:
        self._recorder = Child("recorder", self._table, run_local_recorder, self._run)
        return (await self._recorder.ready(RecorderReady, RECORDER_START_S)).endpoint

    async def _keep_recorder(self) -> None:
        """Start the local recorder again whenever it dies; what it has not acknowledged is sent again."""
        while True:
            await asyncio.sleep(KEEP_S)
            if self._recorder is not None and self._recorder.lost:
                self._reporter.tell("warning", "recorder restarted", "the recorder died; nothing is lost, it goes on")
                await self._recorder.end()
                with suppress(ChildLost, RequestFailed):
                    endpoint = await self._start_recorder()
                    assert self._sender is not None
                    self._sender.redirect(endpoint)

    async def _drain(self) -> None:
        """Give the recorder time to take what is journalled; a local one always has it."""
        if self._sender is None:
            return
        until = time.monotonic() + DRAIN_S
        self._sender.wake()
        while time.monotonic() < until and self._sender.status().acknowledged_seq < self._journal.last_seq():
            await asyncio.sleep(0.05)

    async def _stop(self) -> None:
        """Let go of everything but the microscope, which is closed."""
        await self._analysis.close()
        if self._sender is not None:
            await asyncio.to_thread(self._sender.stop, 1.0)
        if self._recorder is not None:
            with suppress(ChildLost):
                self._recorder.tell(Close())
            await self._recorder.end(grace_s=5.0)
        self._reporter.close()

    def _tell_from_sender(self, level: str, name: str, message: str) -> None:
        self._loop.call_soon_threadsafe(self._reporter.tell, level, name, message)
