"""The supervisor: starts the processes of a night, keeps them, and leaves everything safe."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.children.analysis import run_analysis
from daemon.children.child import Child
from daemon.children.links import AnalysisLink, MicroscopeLink
from daemon.children.microscope import run_microscope
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
from daemon.records.fields import PlannedField
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.awake import KeptAwake
from daemon.system.errors import ChildLost, JournalDamaged, NightStopped, Refused, RequestFailed
from daemon.system.exit_status import Exit
from daemon.system.process_table import ProcessTable
from daemon.system.progress import ProgressDisplay
from daemon.system.ring import Ring
from drivers.errors import HardwareLost

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
        self._steering = Steering(self._reporter.tell, journal.events())
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
        self._analysis = AnalysisLink(self._spawn_analysis, self._reporter.tell, self._journal.device())
        recorder, tell = self._config.recorder, self._reporter.tell
        self._handover = Handover(recorder, self._run, self._journal, self._spool, self._table, tell)
        self._reporter.delivery = self._handover
        self._reporter.hardware = self._tell_hardware
        beating = asyncio.create_task(self._reporter.beat(self._table.write))
        self._background: list[asyncio.Task[None]] = []
        if self._config.alerts.wanted:
            self._background.append(asyncio.create_task(GuardKeeper(self._run, tell).keep()))
        awake = KeptAwake(self._run)
        try:
            with self._ended_by_the_system():
                if (complaint := await asyncio.to_thread(awake.hold)) is not None:
                    tell("warning", "not kept awake", complaint)
                return await self._report(await self._deliver_the_rest(await self._until_safe()))
        except asyncio.CancelledError:
            # While processes start, or the rest is delivered; what comes while scanning never gets so far.
            self._tell_interrupted()
            self._reporter.state(self._interrupted_state)
            return Exit.INTERRUPTED
        finally:
            awake.release()
            for task in self._background:
                task.cancel()
            await self._stop()
            beating.cancel()
            self._reporter.close()

    def _tell_hardware(self) -> Hardware:
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
            self._reporter.tell("error", "night stopped", str(error))
            self._why = str(error)
            return Exit.FAULT
        except Refused as error:
            self._reporter.state("refused", str(error))
            raise
        finally:
            self._steering.scans = False
            await self._make_safe()

    async def _make_safe(self) -> None:
        """Close the microscope; whoever ends the night meanwhile has to wait for it."""
        closing, ended = asyncio.create_task(self._microscope.close()), None
        while not closing.done():
            try:
                await asyncio.wait({closing})
            except asyncio.CancelledError as error:
                ended = error
        if closing.result():
            _log.info("microscope safe")
        else:
            told = "the microscope could not be made safe: check shutter, lamp and objective"
            self._reporter.unsafe = told
            self._reporter.tell("error", "not safe", told)
        if ended is not None:
            raise ended

    async def _scan(self) -> Exit:
        reporter = self._reporter
        parts = self._journal, self._spool, self._microscope, self._analysis, reporter, self._steering
        night = Night(self._config, self._plan, *parts)
        reporter.state("scanning")
        task = asyncio.create_task(night.run())
        with self._on_interrupt(task):
            try:
                await task
            except (Interrupt, asyncio.CancelledError):
                self._tell_interrupted()
                return Exit.INTERRUPTED
        return Exit.SKIPPED if reporter.skipped or reporter.not_analysed else Exit.COMPLETE

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

        with _handling(interrupt):
            yield

    @contextmanager
    def _ended_by_the_system(self) -> Iterator[None]:
        """Let a termination end the night as Ctrl-C does, also where nothing is scanned."""
        night = asyncio.current_task()
        assert night is not None

        def end(_number: int, _frame: object) -> None:
            self._terminated = True
            self._loop.call_soon_threadsafe(night.cancel)

        with _handling(end, signal.SIGTERM):
            yield

    @property
    def _interrupted_state(self) -> str:
        return "terminated" if self._terminated else "interrupted"

    def _tell_interrupted(self) -> None:
        who = "the system" if self._terminated else "a person"
        self._reporter.tell("warning", "interrupted", f"stopped by {who}; go on with --resume")

    # Children --------------------------------------------------------------------------------------------------------

    async def _start_children(self) -> None:
        await self._handover.start()
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

    def _spawn_analysis(self, device: Device | None) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._journal.started(), self._run, ring.name, ring.slots, ring.shape, device)
        return Child("analysis", self._table, run_analysis, *arguments)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _deliver_the_rest(self, ended: Exit) -> Exit:
        """Give the recorder time to take what is journalled, for as long as it takes any; returns the exit status."""
        reporter, interrupted = self._reporter, ended is Exit.INTERRUPTED
        patience_s = INTERRUPTED_DRAIN_S if interrupted else DRAIN_S
        backlog = await self._handover.drain(patience_s, lambda reason: reporter.state("delivering", reason))
        if backlog and not interrupted:
            reason = f"{backlog} records wait in the run folder: {self._handover.explain()}; deliver them with --resume"
            reporter.tell("error", "not delivered", reason)
            reporter.state("not delivered", reason)
            return Exit.FAULT
        match ended:
            case Exit.INTERRUPTED:
                reporter.state(self._interrupted_state)
            case Exit.FAULT:
                reporter.state("stopped", self._why)
            case _:
                reporter.state("complete")
        return ended

    async def _report(self, ended: Exit) -> Exit:
        """Wait for the report of a complete night that our own recorder makes; it never changes how the night ended."""
        settings = self._config.report
        if self._config.recorder.endpoint is not None or settings.make == "never" or not self._journal.night_closed():
            return ended
        self._reporter.state("complete", "writing the report; Ctrl-C skips it")
        waiting = asyncio.create_task(self._handover.report(settings.within_s))

        def leave_out(_number: int, _frame: object) -> None:
            self._loop.call_soon_threadsafe(waiting.cancel)

        with _handling(leave_out):
            await asyncio.wait({waiting})
        left_out = "there is no report: a person skipped it; `lamelle report` makes it"
        if told := left_out if waiting.cancelled() else words_of(waiting.result()):
            self._reporter.note(told)
        self._reporter.state("complete")
        return ended

    async def _stop(self) -> None:
        """End the processes of analysis and recorder; that of the microscope has ended."""
        await self._analysis.close()
        await self._handover.close()
        if self._control is not None:
            await asyncio.to_thread(self._control.close)


@contextmanager
def _handling(handler: Callable[[int, object], None], *signals: signal.Signals) -> Iterator[None]:
    """Let a handler take signals: interruptions and terminations, if none are named."""
    before = {number: signal.signal(number, handler) for number in signals or (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)
