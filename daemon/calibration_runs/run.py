"""`lamelle calibrate`: carries out a routine on the instrument and keeps what it found, or why it found nothing."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import platform
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from calibration.record import CalibrationRecord
from calibration.steps import NotUsable, Outcome, Quantity
from daemon.calibration_runs.picture import draw
from daemon.calibration_runs.routines import ROUTINES, Procedure
from daemon.calibration_runs.shots import Shots, carry_out
from daemon.calibration_store.quantities import numbers_of
from daemon.calibration_store.shelf import Shelf
from daemon.children.child import Child
from daemon.children.links import MicroscopeLink
from daemon.children.microscope import run_microscope
from daemon.config.loading import freeze
from daemon.config.model import NightConfig
from daemon.planning.check import Machine, check_calibration, check_instrument, check_shared_memory
from daemon.planning.installation import extras_for
from daemon.planning.specimens import make_specimens
from daemon.protocols.pipes import MicroscopeReady
from daemon.system import crash_points
from daemon.system.durable_files import make_folder
from daemon.system.errors import ChildLost, NightStopped, Refused, RequestFailed
from daemon.system.exit_status import Exit
from daemon.system.extras import require
from daemon.system.locks import sole, sole_on
from daemon.system.logbook import Logbook
from daemon.system.process_table import ProcessTable, end_stale
from daemon.system.progress import ShotsDisplay
from daemon.system.ring import Ring, ring_bytes
from drivers.errors import HardwareLost
from drivers.settings import Emulation, MiniSlide
from drivers.virtual_slide.profiles import kinds_shown
from drivers.virtual_slide.slide import cabinet_of

INTERRUPTED = "interrupted by a person"

_log = logging.getLogger(__name__)


def calibrate(config: NightConfig, routine: str, slide: int | None, *, keep_frames: bool, console: Console) -> Exit:
    """Carry out a routine and keep its record; returns when everything is safe.

    Parameters
    ----------
    slide
        position of the mini-slide it is carried out on; the first of the configuration if None.
    keep_frames
        whether the raw frames are kept beside the record.

    Raises
    ------
    Refused
        Bad input; no hardware was touched.
    """
    procedure, on = _procedure(routine), _slide(config, slide)
    if config.instrument.backend == "replay":
        raise Refused(
            "instrument.backend is 'replay', and a recording cannot be exposed anew; calibrate on the microscope itself"
        )
    require(*extras_for(config.instrument))
    check_instrument(config)
    check_calibration(config)
    planes = max(procedure.planes, config.scan.planes)
    shape = (len(config.instrument.polarizations), planes, *config.instrument.frame_px)
    check_shared_memory("instrument.frame_px", list(config.instrument.frame_px), ring_bytes(1, shape), Machine())
    folder = config.calibration.folder
    with ExitStack() as held:
        make_folder(folder)
        busy = f"calibration.folder {str(folder)!r} is in use by another calibration; wait for it"
        held.enter_context(sole(folder / "lock", busy))
        held.enter_context(sole_on(config.instrument.name))
        end_stale(folder)
        held.enter_context(Logbook(folder, "calibrate"))
        crash_points.arm(folder)
        if config.instrument.backend == "emulated":
            emulation = config.instrument.emulation or Emulation()
            make_specimens(cabinet_of(emulation), kinds_shown(emulation), console)
        ring = Ring.create(folder, 1, shape)
        held.callback(ring.close)
        shelf, taken = Shelf(folder), datetime.now(UTC).replace(microsecond=0)
        name = shelf.new_name(routine, taken)
        keep = shelf.frames(name) if keep_frames else None
        with ShotsDisplay(routine, console) as display:
            trial = _Trial(config, procedure, on, ring, keep, display)
            asyncio.run(trial.run())
        draft = _record(config, routine, on, taken, trial)
        picture = arrays = None
        if trial.outcome is not None:
            arrays = trial.outcome.arrays
            picture = draw(f"{routine}, {config.instrument.name}, {taken:%Y-%m-%d %H:%M} UTC", trial.outcome)
        status = _tell(draft, trial, console)
        try:
            path = shelf.put(name, draft, arrays, picture)
        except OSError as error:
            _line(console, f"the record cannot be kept in {folder} ({error.strerror}); make room and calibrate again")
            return Exit.FAULT
        _line(console, f"record {path}")
        return status


@dataclass
class _Trial:
    """One attempt at a routine: from the start of the microscope child to its end, whatever comes between."""

    config: NightConfig
    procedure: Procedure
    slide: MiniSlide
    ring: Ring
    keep: Path | None
    display: ShotsDisplay
    outcome: Outcome | None = None
    reason: str = ""
    safe: bool = True
    ready: MicroscopeReady | None = None
    shots: Shots = field(init=False)

    async def run(self) -> None:
        """Carry it out; what became of it stands in the attributes."""
        microscope = self._make_microscope()
        self.shots = Shots(self.config, self.slide, microscope, self.ring, self.keep, self.display.tell)
        task = asyncio.create_task(self._measure(microscope))
        try:
            with _on_interrupt(microscope, task):
                self.outcome = await task
        except asyncio.CancelledError:
            self.reason = INTERRUPTED
        except TimeoutError:
            self.reason = f"it took longer than the {self.procedure.deadline_s:g} s that it may take"
        except (NotUsable, ChildLost, RequestFailed, NightStopped) as error:
            self.reason = str(error)
        finally:
            self.safe = await microscope.close()
            _log.info("microscope safe" if self.safe else "microscope not safe")

    async def _measure(self, microscope: MicroscopeLink) -> Outcome:
        try:
            self.ready = await microscope.start()
        except RequestFailed as error:
            if error.kind == HardwareLost.__name__:
                raise
            raise Refused(str(error)) from error
        async with asyncio.timeout(self.procedure.deadline_s):
            await microscope.open_slide(self.slide.position)
            outcome = await carry_out(self.procedure.make(self.config, self.slide), self.shots, self.display.show)
        numbers = [number for group in (outcome.values, outcome.residuals) for number in group.items()]
        for name, quantity in numbers:
            if not (math.isfinite(quantity.value) and math.isfinite(quantity.uncertainty)):
                raise NotUsable(f"{name} came out as {quantity.value} {quantity.unit}, no number; calibrate again")
        return outcome

    def _make_microscope(self) -> MicroscopeLink:
        config, ring = self.config, self.ring
        deadlines, table = config.instrument.deadlines, ProcessTable(config.calibration.folder)
        command_s = deadlines.move_s + 2 * deadlines.focus_s + deadlines.switch_s
        arguments = (config, config.calibration.folder, ring.name, ring.slots, ring.shape)
        return MicroscopeLink(
            lambda: Child("microscope", table, run_microscope, *arguments),
            command_s,
            command_s,
            lambda _level, name, message: self.display.tell(f"{name}: {message}"),
            mortal=config.instrument.backend == "bridge",
        )


@contextmanager
def _on_interrupt(microscope: MicroscopeLink, task: asyncio.Task[Outcome]) -> Iterator[None]:
    """Ctrl-C or a termination: make safe at once, and end."""
    loop = asyncio.get_running_loop()

    def now() -> None:
        microscope.abandon()
        task.cancel()

    def interrupt(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(now)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _procedure(routine: str) -> Procedure:
    if routine not in ROUTINES:
        raise Refused(f"{routine!r} is no calibration routine; choose from {', '.join(ROUTINES)}")
    return ROUTINES[routine]


def _slide(config: NightConfig, position: int | None) -> MiniSlide:
    slides = {slide.position: slide for slide in config.scan.slides}
    if position is None:
        return config.scan.slides[0]
    if position not in slides:
        raise Refused(f"--slide {position} is not among scan.slides ({', '.join(map(str, slides))}); choose one")
    return slides[position]


def _record(config: NightConfig, routine: str, slide: MiniSlide, taken: datetime, trial: _Trial) -> CalibrationRecord:
    days = config.calibration.valid_days.get(routine, trial.procedure.valid_days)
    outcome, ready = trial.outcome, trial.ready
    versions = {"lamelle": version("lamelle"), "python": platform.python_version(), "system": platform.platform()}
    return CalibrationRecord(
        routine=routine,
        verdict="usable" if outcome else "not usable",
        reason=trial.reason,
        values=_plain(outcome.values) if outcome else {},
        residuals=_plain(outcome.residuals) if outcome else {},
        taken=taken,
        valid_until=taken + timedelta(days=days),
        instrument=config.instrument.name,
        camera=ready.camera if ready else "",
        frame_px=config.instrument.frame_px,
        slide=slide.position,
        configuration_sha256=hashlib.sha256(freeze(config).encode()).hexdigest(),
        versions={**versions, **(ready.versions if ready else {})},
        shots=tuple(trial.shots.taken),
    )


def _plain(numbers: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the same numbers as Python's own, which numpy's are not."""
    return {name: Quantity(float(value), float(error), unit) for name, (value, error, unit) in numbers.items()}


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _tell(record: CalibrationRecord, trial: _Trial, console: Console) -> Exit:
    _line(console, f"{record.routine}: {record.verdict}{f', {record.reason}' if record.reason else ''}")
    for number in numbers_of(record.values, record.residuals):
        _line(console, f"  {number}")
    if not trial.safe:
        _line(console, "not safe: the microscope could not be made safe; check shutter, lamp and objective")
    if trial.reason == INTERRUPTED:
        return Exit.INTERRUPTED
    return Exit.COMPLETE if record.usable and trial.safe else Exit.FAULT
