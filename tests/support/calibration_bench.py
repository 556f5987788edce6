"""Carries out calibration routines in this process, on the emulated microscope, by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from calibration.steps import Outcome, Routine, Shot, ShotResult, Stack
from drivers.driving import DrivenMicroscope
from drivers.emulated.core import open_emulated
from drivers.micromanager.core import release_headless_core
from drivers.microscope import Exposure, Frame, Microscope, Sweep
from drivers.settings import Emulation
from drivers.waiting import Clock
from tests.support.instruments import CENTRE, instrument, slides

FRAME_PX = (256, 320)
PIXEL_UM = 0.059
PLACES = [(CENTRE[0] + 40 * column, CENTRE[1] + 40 * row) for row in range(-2, 3) for column in range(-2, 3)]
"""Places of frames that hardly overlap."""
DEFOCUSED_UM = -20.0


@dataclass
class Bench:
    """The emulated microscope, its clock, and the shots that were taken."""

    scope: Microscope
    emulation: Emulation
    now_s: list[float]
    shots: list[Shot] = field(default_factory=list)

    def carry_out(self, routine: Routine, spoil: Callable[[Stack], None] = lambda _: None) -> Outcome:
        """Take the shots of a routine to its end; `spoil` may change every stack as another camera would."""
        try:
            shot = next(routine)
            while True:
                shown = self.take(shot)
                spoil(shown.stack)
                shot = routine.send(shown)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def take(self, shot: Shot, shutter_open: bool = False) -> ShotResult:
        """Take a shot, its light as it wants it or on all the time."""
        self.shots.append(shot)
        self.now_s[0] += shot.wait_s
        lit = shot.lit or shutter_open
        channels = tuple(range(len(shot.polarizations)))
        sweep = Sweep(
            shot.first_z_um,
            shot.step_um,
            shot.planes,
            shot.polarizations,
            channels,
            shot.exposures_ms,
            lit,
            shot.by_sequence,
        )
        self.scope.move(shot.x_um, shot.y_um)
        self.scope.light(lit)
        into = np.zeros((len(channels), shot.planes, *FRAME_PX), np.uint16)
        frames: list[Frame] = []
        self.scope.expose_stack(Exposure(1, len(self.shots)), sweep, into, frames.append)
        read_s = np.array([frame.monotonic_s for frame in frames]).reshape(len(channels), shot.planes)
        at = self.scope.position()
        return ShotResult(into, at.x_um, at.y_um, read_s)


@contextmanager
def bench(**emulation: object) -> Iterator[Bench]:
    """An emulated microscope that is ready, its waits those of a clock that runs without waiting."""
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    # The demo stages go by true time, in which this clock runs far ahead.
    deadlines = dict.fromkeys(("move_s", "focus_s", "switch_s", "frame_s"), 1000.0)
    settings = instrument(frame_px=FRAME_PX, emulation={"seed": 7, **emulation}, deadlines=deadlines)
    assert settings.emulation is not None
    clock = Clock(lambda: now_s[0], sleep)
    scope = DrivenMicroscope(settings, slides(), open_emulated(settings, slides(), clock), clock)
    try:
        scope.prepare()
        scope.open_slide(1)
        scope.move(*CENTRE)
        yield Bench(scope, settings.emulation, now_s)
    finally:
        scope.close()
        release_headless_core()
