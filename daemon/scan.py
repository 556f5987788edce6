"""`lamelle scan`: sets up the run folder, starts the children, runs the night, leaves everything safe."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir

from filelock import FileLock, Timeout
from rich.console import Console

from daemon import crashpoints
from daemon.analysis_entry import start_analysis
from daemon.broadcast import Broadcaster
from daemon.check import check
from daemon.child import Child
from daemon.config import Night as Config
from daemon.durable import make_folder, replacing
from daemon.errors import ChildLost, NightStopped, Refused, RequestFailed
from daemon.heartbeat import Heartbeat, write_heartbeat
from daemon.journal import Journal
from daemon.links import AnalysisLink, MicroscopeLink
from daemon.loading import freeze, load, require_same
from daemon.logbook import Logbook
from daemon.messages import Close, RecorderReady
from daemon.microscope import run_microscope
from daemon.night import Interrupt, Night, Observer, tell
from daemon.outlook import field_seconds, shape_of
from daemon.plan import PlannedField, make_plan
from daemon.processes import ProcessTable, end_stale
from daemon.progress import NightProgress, ProgressDisplay
from daemon.recording import run_local_recorder
from daemon.records import AnyRecord, Event, FieldSecured, FieldSkipped, NightStarted, SlideClosed
from daemon.ring import Ring
from daemon.samples import SAMPLE, read_samples
from daemon.sender import Sender
from daemon.spool import Spool
from daemon.watchwire import About, Counters, Overview, SeenObject, State, Told
from drivers.errors import HardwareLost
from inference.weights_file import find_weights

BEAT_S = 1.0
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


@dataclass(frozen=True)
class RunFolder:
    """The run folder: names of what lies in it."""

    path: Path

    @property
    def configuration(self) -> Path:
        """The frozen configuration."""
        return self.path / "run.yaml"

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / "journal.sqlite"

    @property
    def spool(self) -> Path:
        """The spool."""
        return self.path / "spool"


def scan(config: Config, run: Path, *, resume: bool, console: Console) -> Exit:
    """Run a night, or go on with one; returns when everything is safe.

    Raises
    ------
    Refused
        Bad input; no hardware was touched.
    """
    folder = RunFolder(run.resolve())
    check(config, run)
    samples = read_samples(config.scan.samples, [slide.position for slide in config.scan.slides])
    plan = make_plan(config, samples)
    with ExitStack() as held:
        if resume and not folder.journal.exists():
            raise Refused(f"--resume {str(run)!r} holds no night; leave --resume out to begin one")
        make_folder(folder.path)
        held.enter_context(_sole(FileLock(folder.path / "lock"), f"--run {str(run)!r} is in use by another scan"))
        if resume:
            require_same(load(folder.configuration), config, run)
            end_stale(folder.path)
        elif folder.journal.exists() or folder.configuration.exists():
            raise Refused(f"--run {str(run)!r} holds another night; choose a new folder, or --resume to go on with it")
        busy = f"instrument.name {config.instrument.name!r} is in use by another scan; wait for it, or stop it"
        held.enter_context(_sole(FileLock(Path(gettempdir()) / f"lamelle-{_word(config.instrument.name)}.lock"), busy))
        held.enter_context(Logbook(folder.path, "supervisor"))
        crashpoints.arm(folder.path)
        journal = _open_journal(folder, config, samples)
        held.callback(journal.close)
        spool = Spool(folder.spool, config.recorder.spool_mb * 1_000_000)
        for name in spool.sweep(journal):
            _log.info("removed %s, which no record speaks of", name)
        ring = Ring.create(folder.path, config.ring_stacks, shape_of(config))
        held.callback(ring.close)
        display = held.enter_context(ProgressDisplay(console))
        return asyncio.run(_Supervisor(config, folder, plan, journal, spool, ring, display).run())


def _open_journal(folder: RunFolder, config: Config, samples: dict[int, dict[str, str]]) -> Journal:
    if folder.journal.exists():
        journal = Journal.open(folder.journal)
        if journal.started().samples != samples:
            journal.close()
            raise Refused(
                f"scan.samples {str(config.scan.samples)!r} has changed since the night began; "
                "put the sheet back to resume that night, or give --run a new folder"
            )
        return journal
    versions = {"lamelle": version("lamelle"), "python": platform.python_version(), "system": platform.platform()}
    frozen = freeze(config, versions)
    with replacing(folder.configuration) as stream:
        stream.write(frozen.encode())
    planned = {slide.position: config.scan.fields for slide in config.scan.slides}
    started = NightStarted(
        utc=time.time(),
        night=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.urandom(3).hex()}",
        configuration=frozen,
        samples=samples,
        planned=planned,
        versions=versions,
        weights_sha256=find_weights(config.detector.weights).sha256,
    )
    return Journal.create(folder.journal, started)


@contextmanager
def _sole(lock: FileLock, complaint: str) -> Iterator[None]:
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Refused(complaint) from error
    try:
        yield
    finally:
        lock.release()


def _word(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


class _Supervisor:
    """The process that owns the night: its children, its journal, and what it tells the world."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        plan: tuple[PlannedField, ...],
        journal: Journal,
        spool: Spool,
        ring: Ring,
        display: ProgressDisplay,
    ) -> None:
        self._config = config
        self._folder = folder
        self._plan = plan
        self._journal = journal
        self._spool = spool
        self._ring = ring
        self._display = display
        self._table = ProcessTable(folder.path)
        self._table.register("supervisor", os.getpid())
        self._started = journal.started()
        done = journal.done()
        self._secured = sum(kind == "field" for kind in done.values())
        self._skipped = len(done) - self._secured
        self._before = len(done)
        self._objects = sum(
            not row.below_threshold
            for slide in config.scan.slides
            for record in journal.slide_fields(slide.position)
            if isinstance(record, FieldSecured)
            for row in record.objects
        )
        self._slide: int | None = None
        self._state = ("starting", "")
        self._begun_s: float | None = None
        self._interrupts = 0
        samples = {position: columns[SAMPLE] for position, columns in self._started.samples.items()}
        about = About(night=self._started.night, samples=samples, planned=self._started.planned)
        self._broadcast = Broadcaster(config.watch, about)

    async def run(self) -> Exit:
        """Start everything, run the night, stop everything."""
        self._broadcast.start()
        _log.info("watch at %s, snapshot at %s", self._broadcast.publish_endpoint, self._broadcast.snapshot_endpoint)
        self._loop = asyncio.get_running_loop()
        self._microscope = self._make_microscope()
        self._analysis = AnalysisLink(self._spawn_analysis, self._tell)
        self._sender: Sender | None = None
        self._recorder: Child | None = None
        self._background = [asyncio.create_task(self._beat())]
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
            self._tell("error", "night stopped", str(error))
            return Exit.FAULT
        finally:
            if await self._microscope.close():
                _log.info("microscope safe")
            else:
                told = "the microscope could not be made safe: check shutter, lamp and objective"
                self._tell("error", "not safe", told)

    async def _scan(self) -> Exit:
        observer = Observer(self._on_record, self._on_overview, self._on_state)
        night = Night(self._config, self._plan, self._journal, self._spool, self._microscope, self._analysis, observer)
        self._begun_s = time.monotonic()
        self._on_state("scanning", "")
        task = asyncio.create_task(night.run())
        with self._on_interrupt(night, task):
            try:
                await task
            except (Interrupt, asyncio.CancelledError):
                self._tell("warning", "interrupted", "stopped by a person; go on with --resume")
                self._on_state("interrupted", "")
                return Exit.INTERRUPTED
        self._on_state("complete", "")
        return Exit.SKIPPED if self._skipped else Exit.COMPLETE

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
                self._loop.call_soon_threadsafe(self._display.tell, "stopping after this field; once more to stop now")

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
            self._folder.journal,
            self._spool,
            endpoint,
            tell=self._tell_from_thread,
            keys=recorder.keys,
            chunk_bytes=recorder.chunk_kb * 1024,
            credit_bytes=recorder.credit_mb * 1_000_000,
        )
        self._sender.start()
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
        return MicroscopeLink(self._spawn_microscope, command_s, expose_s, self._tell, mortal=bridge)

    def _spawn_microscope(self) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._folder.path, ring.name, ring.slots, ring.shape)
        landed = lambda frame: self._analysis.landed(frame)  # noqa: E731
        return Child("microscope", self._table, run_microscope, *arguments, on_notice=landed)

    def _spawn_analysis(self) -> Child:
        config, ring = self._config, self._ring
        arguments = (config, self._started, self._folder.path, ring.name, ring.slots, ring.shape)
        return Child("analysis", self._table, start_analysis, *arguments)

    async def _start_recorder(self) -> str:
        self._recorder = Child("recorder", self._table, run_local_recorder, self._folder.path)
        return (await self._recorder.ready(RecorderReady, RECORDER_START_S)).endpoint

    async def _keep_recorder(self) -> None:
        """Start the local recorder again whenever it dies; what it has not acknowledged is sent again."""
        while True:
            await asyncio.sleep(BEAT_S)
            if self._recorder is not None and self._recorder.lost:
                self._tell("warning", "recorder restarted", "the recorder died; nothing is lost, it goes on")
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
        self._write_heartbeat()
        self._broadcast.close()

    # What is told ----------------------------------------------------------------------------------------------------

    def _tell(self, level: str, name: str, message: str) -> None:
        event = tell(level, name, message)
        self._journal.append(event)
        self._on_record(event)

    def _tell_from_thread(self, level: str, name: str, message: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, level, name, message)

    def _on_record(self, record: AnyRecord) -> None:
        match record:
            case FieldSecured():
                self._secured += 1
                self._objects += sum(not row.below_threshold for row in record.objects)
                self._slide = record.slide
            case FieldSkipped():
                self._skipped += 1
                self._slide = record.slide
            case SlideClosed():
                _log.info("mini-slide %d closed: %d fields, %d skipped", record.slide, record.recorded, record.skipped)
            case Event(level=level, name=name, message=message):
                _log.log(logging.getLevelNamesMapping()[level.upper()], "%s: %s", name, message)
                told = Told(level=level, name=name, message=message, slide=record.slide, field=record.field)
                self._broadcast.publish(told)
                if level != "info":
                    self._display.tell(f"{name}: {message}")
            case _:
                _log.info("%s", type(record).__name__)
        if self._sender is not None:
            self._sender.wake()

    def _on_overview(self, record: FieldSecured, jpeg: bytes) -> None:
        objects = tuple(
            SeenObject(box=row.box, class_name=row.class_name, score=row.score, below_threshold=row.below_threshold)
            for row in record.objects
        )
        overview = Overview(
            slide=record.slide,
            field=record.field,
            sample=record.sample,
            frame_px=self._config.instrument.frame_px,
            focus_z_um=record.focus.z_um,
            objects=objects,
        )
        self._broadcast.publish(overview, jpeg)
        self._show()

    def _on_state(self, state: str, reason: str) -> None:
        self._state = (state, reason)
        self._broadcast.publish(State(state=state, reason=reason))
        self._show()

    def _pace(self) -> tuple[float, float | None]:
        """Fields a second since this process began, and seconds left at that rate."""
        done = self._secured + self._skipped - self._before
        if self._begun_s is None or done == 0:
            return 0.0, None
        rate = done / (time.monotonic() - self._begun_s)
        return rate, (len(self._plan) - self._before - done) / rate

    def _show(self) -> None:
        rate, left = self._pace()
        state, reason = self._state
        self._display.show(
            NightProgress(
                planned=len(self._plan),
                secured=self._secured,
                skipped=self._skipped,
                objects=self._objects,
                fields_per_s=rate,
                seconds_left=left,
                slide=self._slide,
                sample=self._started.samples[self._slide][SAMPLE] if self._slide else "",
                state="" if state == "scanning" else f"{state}: {reason}" if reason else state,
            )
        )

    async def _beat(self) -> None:
        while True:
            self._write_heartbeat()
            self._publish_counters()
            self._show()
            await asyncio.sleep(BEAT_S)

    def _write_heartbeat(self) -> None:
        state, reason = self._state
        heartbeat = Heartbeat(
            utc=time.time(),
            monotonic_s=time.monotonic(),
            pid=os.getpid(),
            state=state,
            reason=reason,
            planned=len(self._plan),
            secured=self._secured,
            skipped=self._skipped,
            slide=self._slide,
        )
        try:
            write_heartbeat(self._folder.path, heartbeat)
        except OSError as error:
            _log.warning("the heartbeat cannot be written: %s", error)

    def _publish_counters(self) -> None:
        rate, left = self._pace()
        counters = Counters(
            planned=len(self._plan),
            secured=self._secured,
            skipped=self._skipped,
            objects=self._objects,
            fields_per_s=rate,
            seconds_left=left,
            slide=self._slide,
            spool_bytes=self._spool.used_bytes(),
            spool_limit_bytes=self._spool.bound_bytes,
            acknowledged=0 if self._sender is None else self._sender.status().acknowledged_seq,
        )
        self._broadcast.publish(counters)
