"""The supervisor: starts the processes of a night, keeps them, and leaves everything safe."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.children.analysis import run_analysis
from daemon.children.analysis_link import AnalysisLink
from daemon.children.child import Child
from daemon.children.hold import link_microscope, refusing_at_start
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig as Config
from daemon.live.order_server import Controller
from daemon.live.steering import Steering
from daemon.night.guard_process import GuardKeeper
from daemon.night.handover import Handover
from daemon.night.night import Night
from daemon.night.pause import Interrupt
from daemon.night.reporter import Reporter
from daemon.planning.estimate import field_seconds
from daemon.protocols.pipes import Device
from daemon.protocols.watching import Hardware
from daemon.recorder.process import words_of
from daemon.records.events import EventName
from daemon.records.fields import PlannedField
from daemon.records.states import EndedBy, NightState
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.awake import KeptAwake
from daemon.system.errors import ChildLost, Exit, JournalDamaged, NightStopped, Refused, RequestFailed
from daemon.system.process_table import ProcessTable
from daemon.system.progress import ProgressDisplay
from daemon.system.ring import Ring
from daemon.system.signals import handling

DRAIN_S = 60.0
"""How long delivery may stand still at the end of a night that is complete here."""
INTERRUPTED_DRAIN_S = 3.0
STACK_PATIENCE = 4.0
"""A sweep may take this many times what its moves and exposures add up to, plus the deadlines of its waits."""

_log = logging.getLogger(__name__)


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
        self._control = None if config.control.endpoint is None else Controller(config.control)
        try:
            endpoint = None if self._control is None else self._control.endpoint
            self._reporter = Reporter(config, run, plan, journal, spool, display, endpoint)
        except BaseException:
            if self._control is not None:
                self._control.close()
            raise
        self._steering = Steering(self._reporter.emit, journal.events())
        self._table = ProcessTable(run)
        self._table.register("supervisor", os.getpid())
        self._interrupts = 0
        self._terminated = False
        self._why = ""

    async def run(self) -> Exit:
        """Start everything, run the night, stop everything."""
        self._reporter.start()
        self._loop = asyncio.get_running_loop()
        if self._control is not None:
            self._control.listen(self._loop, self._steering.carry_out, self._reporter.standing)
        self._microscope = self._make_microscope()
        self._analysis = AnalysisLink(self._spawn_analysis, self._reporter.emit, self._journal.device())
        recorder, emit = self._config.recorder, self._reporter.emit
        self._handover = Handover(recorder, self._run, self._journal, self._spool, self._table, emit)
        self._reporter.delivery = self._handover
        self._reporter.hardware = self._describe_hardware
        beating = asyncio.create_task(self._reporter.beat(self._table.write))
        self._background: list[asyncio.Task[None]] = []
        if self._config.alerts.wanted:
            self._background.append(asyncio.create_task(GuardKeeper(self._run, emit).keep()))
        awake = KeptAwake(self._run)
        try:
            with self._ended_by_the_system():
                if (complaint := await asyncio.to_thread(awake.hold)) is not None:
                    emit("warning", EventName.NOT_KEPT_AWAKE, complaint)
                return await self._report(await self._deliver_the_rest(await self._until_safe()))
        except asyncio.CancelledError:
            # While processes start, or the rest is delivered; what comes while scanning never gets so far.
            self._emit_interrupted()
            self._reporter.state(self._interrupted_state)
            return Exit.INTERRUPTED
        finally:
            awake.release()
            for task in self._background:
                task.cancel()
            await self._stop()
            beating.cancel()
            self._reporter.close()

    def _describe_hardware(self) -> Hardware:
        microscope = self._microscope
        x_um, y_um, z_um = microscope.reached_um or (None, None, None)
        return Hardware(
            x_um=x_um,
            y_um=y_um,
            z_um=z_um,
            light=microscope.light_is_on,
            microscope=microscope.stands,
            analysis=self._analysis.stands,
        )

    async def _until_safe(self) -> Exit:
        """Run the night; whatever ends it, the hardware is made safe before anything else is waited for."""
        try:
            await self._start_children()
            self._background.append(asyncio.create_task(self._handover.keep()))
            return await self._scan()
        except (ChildLost, RequestFailed, NightStopped, JournalDamaged) as error:
            self._reporter.emit("error", EventName.NIGHT_STOPPED, str(error), by=EndedBy.FAULT)
            self._why = str(error)
            return Exit.FAULT
        except Refused as error:
            self._reporter.state(NightState.REFUSED, str(error))
            raise
        finally:
            self._steering.scans = False
            await self._make_safe()

    async def _make_safe(self) -> None:
        """Close the microscope; whoever ends the night meanwhile has to wait for it."""
        try:
            await self._microscope.close()
        finally:
            if self._microscope.safe:
                _log.info("microscope safe")
            else:
                told = "the microscope could not be made safe: check shutter, lamp and objective"
                self._reporter.unsafe = told
                self._reporter.emit("error", EventName.NOT_SAFE, told)

    async def _scan(self) -> Exit:
        reporter = self._reporter
        parts = self._journal, self._spool, self._microscope, self._analysis, reporter, self._steering
        night = Night(self._config, self._plan, *parts)
        reporter.state(NightState.SCANNING)
        task = asyncio.create_task(night.run())
        with self._on_interrupt(task):
            try:
                await task
            except (Interrupt, asyncio.CancelledError):
                self._emit_interrupted()
                return Exit.INTERRUPTED
        return Exit.SKIPPED if reporter.totals.skipped or reporter.totals.not_analysed else Exit.COMPLETE

    @contextmanager
    def _on_interrupt(self, task: asyncio.Task[None]) -> Iterator[None]:
        """First Ctrl-C: at the field boundary. Second, or a termination: now."""

        def now() -> None:
            self._microscope.abandon()
            task.cancel()

        def interrupt(number: int, _frame: object) -> None:
            self._interrupts += 1
            self._terminated = self._terminated or number == signal.SIGTERM
            self._steering.stopping = True
            if self._interrupts > 1 or number != signal.SIGINT:
                self._loop.call_soon_threadsafe(now)
            else:
                self._loop.call_soon_threadsafe(
                    self._reporter.note, "stopping after this field; press Ctrl-C again to stop now"
                )

        with handling(interrupt):
            yield

    @contextmanager
    def _ended_by_the_system(self) -> Iterator[None]:
        """Let a termination end the night as Ctrl-C does, also where nothing is scanned."""
        night = asyncio.current_task()
        assert night is not None

        def end(_number: int, _frame: object) -> None:
            self._terminated = True
            self._loop.call_soon_threadsafe(night.cancel)

        with handling(end, signal.SIGTERM):
            yield

    @property
    def _interrupted_state(self) -> NightState:
        return NightState.TERMINATED if self._terminated else NightState.INTERRUPTED

    def _emit_interrupted(self) -> None:
        by = self._interrupted_state.by
        who = "the system" if by is EndedBy.SYSTEM else "a person"
        self._reporter.emit("warning", EventName.INTERRUPTED, f"stopped by {who}; go on with --resume", by=by)

    # Children --------------------------------------------------------------------------------------------------------

    async def _start_children(self) -> None:
        await self._handover.start()
        await self._handover.meet()
        with refusing_at_start():
            await asyncio.gather(self._microscope.start(), self._analysis.start())

    def _make_microscope(self) -> MicroscopeLink:
        config, parts = self._config, (self._run, self._ring, self._table, self._reporter.emit)
        sweep_s = STACK_PATIENCE * field_seconds(config) + 2 * config.instrument.deadlines.frame_s
        landed = lambda frame: self._analysis.landed(frame)  # noqa: E731 - which is linked after it
        return link_microscope(config, *parts, sweep_s=sweep_s, on_landed=landed)

    def _spawn_analysis(self, device: Device | None) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._journal.started(), self._run, ring.name, ring.slots, ring.shape, device)
        return Child("analysis", self._table, run_analysis, *arguments)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _deliver_the_rest(self, ended: Exit) -> Exit:
        """Give the recorder time to take what is journalled, for as long as it takes any; returns the exit status."""
        reporter, interrupted = self._reporter, ended is Exit.INTERRUPTED
        patience_s = INTERRUPTED_DRAIN_S if interrupted else DRAIN_S
        backlog = await self._handover.drain(patience_s, lambda reason: reporter.state(NightState.DELIVERING, reason))
        if backlog and not interrupted:
            reason = f"{backlog} records wait in the run folder: {self._handover.explain()}; deliver them with --resume"
            reporter.emit("error", EventName.NOT_DELIVERED, reason, by=EndedBy.FAULT)
            reporter.state(NightState.NOT_DELIVERED, reason)
            return Exit.FAULT
        match ended:
            case Exit.INTERRUPTED:
                reporter.state(self._interrupted_state)
            case Exit.FAULT:
                reporter.state(NightState.STOPPED, self._why)
            case _:
                reporter.state(NightState.COMPLETE)
        return ended

    async def _report(self, ended: Exit) -> Exit:
        """Wait for the report of a complete night that our own recorder makes; it never changes how the night ended."""
        settings = self._config.report
        if self._config.recorder.endpoint is not None or settings.make == "never" or not self._journal.night_closed():
            return ended
        self._reporter.state(NightState.COMPLETE, "writing the report; Ctrl-C skips it")
        waiting = asyncio.create_task(self._handover.report(settings.within_s))

        def leave_out(_number: int, _frame: object) -> None:
            self._loop.call_soon_threadsafe(waiting.cancel)

        with handling(leave_out):
            await asyncio.wait({waiting})
        left_out = "there is no report: a person skipped it; `lamelle report` makes it"
        if told := left_out if waiting.cancelled() else words_of(waiting.result()):
            self._reporter.note(told)
        self._reporter.state(NightState.COMPLETE)
        return ended

    async def _stop(self) -> None:
        """End the processes of analysis and recorder; that of the microscope has ended."""
        await self._analysis.close()
        await self._handover.close()
        if self._control is not None:
            await asyncio.to_thread(self._control.close)
