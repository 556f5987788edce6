"""Takes the shots of a calibration routine with the microscope child: checked before they are sent, bounded in time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import tifffile

from calibration.record import TakenShot
from calibration.steps import NotUsable, Outcome, Routine, Shot, ShotResult, Stack
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.model import NightConfig
from daemon.planning.estimate import timing_of
from daemon.protocols.pipes import Expose, Exposed
from daemon.records.fields import PlannedField
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import RequestFailed
from daemon.system.retry import persist
from daemon.system.ring import Ring
from drivers.errors import OutsideWindow
from drivers.limits import Limits
from drivers.microscope import Sweep
from drivers.settings import MiniSlide

PATIENCE = 4.0
"""A shot may take this many times what its moves and exposures add up to, plus the deadlines of its waits."""
LONGEST_WAIT_S = 120.0
LONGEST_EXPOSURE_MS = 10_000.0
MOST_SHOTS = 5000

OnShot = Callable[[int, int], None]
"""Told the number of shots and of frames taken so far."""


class Shots:
    """Takes shots on one mini-slide; each is hashed, and kept where a folder is given.

    Parameters
    ----------
    slide
        the open mini-slide; no shot leaves it.
    ring
        of one slot, large enough for every shot.
    on_fault
        told of a shot that is taken again.
    """

    def __init__(
        self,
        config: NightConfig,
        slide: MiniSlide,
        microscope: MicroscopeLink,
        ring: Ring,
        keep: Path | None,
        on_fault: Callable[[str], None],
    ) -> None:
        self._config = config
        self._slide = slide
        self._microscope = microscope
        self._ring = ring
        self._keep = keep
        self._on_fault = on_fault
        self._limits = Limits(config.instrument, (slide,))
        self._limits.open(slide.position)
        # A child that hangs and is killed may write into the ring for as long as it lives.
        self._frames: Stack = np.empty(ring.shape, np.uint16)
        self.taken: list[TakenShot] = []
        self.frames = 0

    async def take(self, shot: Shot) -> ShotResult:
        """Take a shot, again after a fault.

        Raises
        ------
        NotUsable
            It asks for what may not be done, or could not be taken.
        """
        shot = _plain(shot)
        sweep = self._sweep(shot)
        await asyncio.sleep(shot.wait_s)
        exposed, utc = await self._expose(shot, sweep), datetime.now(UTC)
        states = len(shot.polarizations)
        stack = self._frames[:states, : shot.planes]
        np.copyto(stack, self._ring.stack(0)[:states, : shot.planes])
        try:
            await asyncio.to_thread(self._note, shot, stack, utc)
        except OSError as error:
            raise NotUsable(
                f"the frames cannot be kept in {self._keep} ({error.strerror or error}); make room"
            ) from error
        return ShotResult(stack, exposed.x_um, exposed.y_um, np.array(exposed.read_s, np.float64))

    def _sweep(self, shot: Shot) -> Sweep:
        """Sweep of a shot that may be taken."""
        known = self._config.instrument.polarizations
        exposures_ms = self._exposures_ms(shot)
        most_states, most_planes = self._ring.shape[:2]
        states = f"polarizations are {shot.polarizations}"
        exposures = f"exposures are {exposures_ms} ms"
        wrong = (
            (f"{len(self.taken)} shots were taken and more are wanted", len(self.taken) >= MOST_SHOTS),
            (
                f"{shot.planes} planes are wanted, and there is room for {most_planes}",
                not 1 <= shot.planes <= most_planes,
            ),
            (states, not 1 <= len(shot.polarizations) <= most_states or bool(set(shot.polarizations) - set(known))),
            (exposures, len(exposures_ms) != len(shot.polarizations)),
            (exposures, not all(0 < ms <= LONGEST_EXPOSURE_MS for ms in exposures_ms)),
            (f"a wait of {shot.wait_s:g} s is wanted", not 0 <= shot.wait_s <= LONGEST_WAIT_S),
        )
        for told, is_so in wrong:
            if is_so:
                raise NotUsable(f"the routine asked for a shot that cannot be taken: {told}")
        channels = tuple(range(len(shot.polarizations)))
        given = None if shot.exposures_ms is None else exposures_ms
        sweep = Sweep(
            shot.first_z_um,
            shot.step_um,
            shot.planes,
            shot.polarizations,
            channels,
            exposures_ms=given,
            lit=shot.lit,
            by_sequence=shot.by_sequence,
        )
        try:
            self._limits.check_xy(shot.x_um, shot.y_um, withdrawn=False)
            self._limits.check_sweep(sweep)
        except OutsideWindow as error:
            raise NotUsable(f"the routine asked for a shot that cannot be taken: {error}") from error
        return sweep

    def _exposures_ms(self, shot: Shot) -> tuple[float, ...]:
        known = self._config.instrument.polarizations
        return shot.exposures_ms or tuple(known[s].exposure_ms for s in shot.polarizations if s in known)

    async def _expose(self, shot: Shot, sweep: Sweep) -> Exposed:
        number = len(self.taken) + 1
        place = (shot.x_um, shot.y_um)
        planned = PlannedField(self._slide.position, number, "", *place, (*place, *place))
        within_s = self._deadline_s(shot)

        def report_fault(fault: RequestFailed, last: bool) -> None:
            if not last:
                self._on_fault(f"shot {number}: {fault}; taking it again")

        try:
            return await persist(
                lambda attempt: self._microscope.expose(
                    Expose(planned=planned, exposed=attempt, sweep=sweep, slot=0), within_s
                ),
                self._config.retry.attempts,
                report_fault,
            )
        except RequestFailed as fault:
            raise NotUsable(f"shot {number} could not be taken: {fault}") from fault

    def _deadline_s(self, shot: Shot) -> float:
        deadlines, timing, states = self._config.instrument.deadlines, timing_of(self._config), len(shot.polarizations)
        exposing_s = shot.planes * (sum(self._exposures_ms(shot)) + states * timing.z_ms) / 1e3
        waits_s = deadlines.move_s + states * (deadlines.switch_s + 2 * deadlines.focus_s) + 2 * deadlines.frame_s
        return PATIENCE * exposing_s + waits_s

    def _note(self, shot: Shot, stack: Stack, utc: datetime) -> None:
        """Hash the frames, and keep them where that was asked for."""
        body = np.ascontiguousarray(stack, "<u2")
        file = ""
        if self._keep is not None:
            make_folder(self._keep)
            path = self._keep / f"shot-{len(self.taken) + 1:04d}.tif"
            with replacing(path) as stream:
                tifffile.imwrite(stream, body, photometric="minisblack", metadata={"axes": "CZYX"}, ome=True)
            file = f"{self._keep.name}/{path.name}"
        self.taken.append(
            TakenShot(
                utc=utc.replace(microsecond=0),
                x_um=shot.x_um,
                y_um=shot.y_um,
                first_z_um=shot.first_z_um,
                step_um=shot.step_um,
                planes=shot.planes,
                polarizations=shot.polarizations,
                exposures_ms=self._exposures_ms(shot),
                lit=shot.lit,
                sha256=hashlib.sha256(body.data).hexdigest(),
                file=file,
            )
        )
        self.frames += stack.shape[0] * stack.shape[1]


def _plain(shot: Shot) -> Shot:
    """Give the same shot in Python's own numbers: routines compute with numpy's, which messages do not take."""
    return replace(
        shot,
        x_um=float(shot.x_um),
        y_um=float(shot.y_um),
        first_z_um=float(shot.first_z_um),
        step_um=float(shot.step_um),
        planes=int(shot.planes),
        exposures_ms=None if shot.exposures_ms is None else tuple(map(float, shot.exposures_ms)),
        wait_s=float(shot.wait_s),
    )


async def carry_out(routine: Routine, shots: Shots, on_shot: OnShot) -> Outcome:
    """Take the shots that a routine asks for, to its end.

    Raises
    ------
    NotUsable
        No outcome can be had.
    """
    # What a routine computes may take seconds, in which a Ctrl-C must be heard.
    step = await asyncio.to_thread(_advance, routine, None)
    while isinstance(step, Shot):
        shown = await shots.take(step)
        on_shot(len(shots.taken), shots.frames)
        step = await asyncio.to_thread(_advance, routine, shown)
    return step


def _advance(routine: Routine, shown: ShotResult | None) -> Shot | Outcome:
    try:
        return next(routine) if shown is None else routine.send(shown)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
