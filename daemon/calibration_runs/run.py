"""`lamelle calibrate`: carries out a routine on the instrument and keeps what it found, or why it found nothing."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from calibration.record import CalibrationRecord
from calibration.steps import NotUsable, Outcome, Quantity
from daemon.calibration_runs.picture import draw
from daemon.calibration_runs.routines import ROUTINES, Procedure, saturation_dn
from daemon.calibration_runs.shots import Shots, carry_out
from daemon.calibration_store.quantities import numbers_of
from daemon.calibration_store.shelf import Shelf
from daemon.children.hold import Held, hold
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.loading import freeze
from daemon.config.model import NightConfig
from daemon.planning.check import Machine, check_calibration, check_instrument, check_shared_memory
from daemon.planning.installation import extras_for
from daemon.planning.software import software_of
from daemon.planning.specimens import make_specimens_of
from daemon.protocols.pipes import MicroscopeReady
from daemon.system.errors import ChildLost, Exit, NightStopped, Refused, RequestFailed
from daemon.system.extras import require
from daemon.system.progress import ShotsDisplay
from daemon.system.ring import ring_bytes
from drivers.settings import MiniSlide

INTERRUPTED = "interrupted by a person"


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
            "instrument.backend is 'replay', and a recording cannot be exposed again; "
            "calibrate on the microscope itself"
        )
    require(*extras_for(config.instrument))
    check_instrument(config)
    check_calibration(config)
    planes = max(procedure.planes, config.scan.planes)
    shape = (len(config.instrument.polarizations), planes, *config.instrument.frame_px)
    check_shared_memory("instrument.frame_px", list(config.instrument.frame_px), ring_bytes(1, shape), Machine())
    folder = config.calibration.folder
    busy = f"calibration.folder {str(folder)!r} is in use by another calibration; wait for it"
    with hold(config, folder, "calibrate", busy, shape) as held:
        make_specimens_of(config.instrument, console)
        shelf, taken = Shelf(folder), datetime.now(UTC).replace(microsecond=0)
        name = shelf.new_name(routine, taken)
        keep = shelf.frames(name) if keep_frames else None
        with ShotsDisplay(routine, console) as display:
            trial = _Trial(config, procedure, on, held, keep, display)
            asyncio.run(trial.run())
        draft = _record(config, routine, on, taken, trial)
        picture = arrays = None
        if trial.outcome is not None:
            arrays = trial.outcome.arrays
            picture = draw(f"{routine}, {config.instrument.name}, {taken:%Y-%m-%d %H:%M} UTC", trial.outcome)
        status = _print_outcome(draft, trial, console)
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
    held: Held
    keep: Path | None
    display: ShotsDisplay
    outcome: Outcome | None = None
    reason: str = ""
    ready: MicroscopeReady | None = None
    shots: Shots | None = None

    async def run(self) -> None:
        """Carry it out; what became of it stands in the attributes."""
        emit = lambda _level, name, message: self.display.print_line(f"{name}: {message}")  # noqa: E731
        try:
            async with self.held.microscope(emit) as (microscope, self.ready):
                outcome = await self._measure(microscope, self.ready.bits)
            self.outcome = outcome
        except asyncio.CancelledError:
            self.reason = INTERRUPTED
        except TimeoutError:
            self.reason = f"it took longer than the {self.procedure.deadline_s:g} s that it may take"
        except (NotUsable, ChildLost, RequestFailed, NightStopped) as error:
            self.reason = str(error)

    async def _measure(self, microscope: MicroscopeLink, bits: int) -> Outcome:
        self.shots = Shots(self.config, self.slide, microscope, self.held.ring, self.keep, self.display.print_line)
        routine = self.procedure.make(self.config, self.slide, saturation_dn(self.config, bits))
        async with asyncio.timeout(self.procedure.deadline_s):
            await microscope.open_slide(self.slide.position)
            outcome = await carry_out(routine, self.shots, self.display.show)
        numbers = [number for group in (outcome.values, outcome.residuals) for number in group.items()]
        for name, quantity in numbers:
            if not (math.isfinite(quantity.value) and math.isfinite(quantity.uncertainty)):
                raise NotUsable(
                    f"{name} came out as {quantity.value} {quantity.unit}, which is not a number; calibrate again"
                )
        return outcome


def _procedure(routine: str) -> Procedure:
    if routine not in ROUTINES:
        raise Refused(f"{routine!r} is not a calibration routine; choose from {', '.join(ROUTINES)}")
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
        versions={**software_of(config), **(ready.versions if ready else {})},
        shots=() if trial.shots is None else tuple(trial.shots.taken),
    )


def _plain(numbers: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the same numbers as Python's own, which numpy's are not."""
    return {name: Quantity(float(value), float(error), unit) for name, (value, error, unit) in numbers.items()}


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_outcome(record: CalibrationRecord, trial: _Trial, console: Console) -> Exit:
    _line(console, f"{record.routine}: {record.verdict}{f', {record.reason}' if record.reason else ''}")
    for number in numbers_of(record.values, record.residuals):
        _line(console, f"  {number}")
    if not trial.held.safe:
        _line(console, "not safe: the microscope could not be made safe; check shutter, lamp and objective")
    if trial.reason == INTERRUPTED:
        return Exit.INTERRUPTED
    return Exit.COMPLETE if record.usable and trial.held.safe else Exit.FAULT
