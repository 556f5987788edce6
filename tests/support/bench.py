"""Carries out calibration routines on the emulated microscope's core, in this process and as fast as it renders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from calibration.images.focus import SearchBounds
from calibration.routines.place_finding import Area
from calibration.steps import Outcome, Routine, Shot, ShotResult
from drivers.emulated.core import EmulatedCore
from drivers.micromanager.core import headless_core, release_headless_core
from drivers.microscope import Exposure
from drivers.settings import Instrument
from drivers.waiting import Clock
from tests.support.instruments import CENTRE, HARDWARE, NO_TIMING, instrument, slides

__all__ = ["CENTRE", "HARDWARE", "NO_TIMING", "Bench", "area_of", "bench", "carry_out", "instrument"]

APPROACH_UM = 2.0
FRAME_S = 0.05


def carry_out(routine: Routine, expose: Callable[[Shot], ShotResult]) -> Outcome:
    try:
        shot = next(routine)
        while True:
            shot = routine.send(expose(shot))
    except StopIteration as end:
        return cast(Outcome, end.value)


class Bench:
    """A core, a count of shots, which chance depends on, and a time that only exposures let pass."""

    def __init__(self, settings: Instrument, alter: Callable[[Shot], Shot] = lambda shot: shot) -> None:
        self._settings = settings
        self._core = cast(Any, EmulatedCore(headless_core(settings), settings, slides(), Clock()))
        self._core.set_shutter_open(settings.devices.shutter, True)
        self._alter = alter
        self._now_s = 0.0
        self.shots: list[Shot] = []

    def carry_out(self, routine: Routine) -> Outcome:
        return carry_out(routine, self.expose)

    def expose(self, asked: Shot) -> ShotResult:
        self.shots.append(asked)
        shot, core, devices = self._alter(asked), self._core, self._settings.devices
        core.set_xy_position(devices.xy_stage, shot.x_um, shot.y_um)
        core.wait_for_device(devices.xy_stage)
        stack = np.empty((len(shot.polarizations), shot.planes, *self._settings.frame_px), np.uint16)
        times = np.empty(stack.shape[:2])
        exposure = Exposure(1, len(self.shots))
        for c, state in enumerate(shot.polarizations):
            preset = self._settings.polarizations[state]
            core.set_config(preset.group, preset.preset)
            core.set_exposure(self._exposure_ms(shot, c))
            side = -1 if shot.step_um < 0 else 1
            core.set_position(devices.focus, shot.first_z_um - side * APPROACH_UM)
            for z in range(shot.planes):
                core.set_position(devices.focus, shot.first_z_um + z * shot.step_um)
                core.stage(exposure, state, z)
                core.snap_image()
                stack[c, z] = core.get_image()
                self._now_s += FRAME_S
                times[c, z] = self._now_s
        x_um, y_um = (core.get_x_position(devices.xy_stage), core.get_y_position(devices.xy_stage))
        return ShotResult(stack, x_um, y_um, times)

    def _exposure_ms(self, shot: Shot, c: int) -> float:
        """Without light the emulated sensor reads its offset, as it does after no exposure at all."""
        if not shot.lit:
            return 0.0
        if shot.exposures_ms is not None:
            return shot.exposures_ms[c]
        return self._settings.polarizations[shot.polarizations[c]].exposure_ms


@contextmanager
def bench(settings: Instrument, alter: Callable[[Shot], Shot] = lambda shot: shot) -> Iterator[Bench]:
    try:
        yield Bench(settings, alter)
    finally:
        release_headless_core()


def area_of(settings: Instrument, size_um: float = 9_000.0, low_um: float = -20.0, high_um: float = 20.0) -> Area:
    height, width = settings.frame_px
    return Area(
        centre_um=CENTRE,
        size_um=(size_um, size_um),
        frame_um=(width * settings.pixel_um, height * settings.pixel_um),
        search=SearchBounds(low_um, high_um, coarse_um=1.0, fine_um=0.5, planes=15, blank_contrast=1.15),
    )
