"""Drives a back-end's equipment so that it is a `Microscope`: limits, approaches, deadlines, read back, safe state.

All of this stands around the equipment, whoever wrote it: what lies outside is never sent to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.equipment import Equipment
from drivers.errors import (
    CameraFault,
    DriverError,
    FieldFault,
    FrameFault,
    SettingRefused,
    explaining,
)
from drivers.frames import FrameCheck
from drivers.limits import Limits
from drivers.microscope import Exposure, Frame, Identity, Position, ReplayedFile, Stack, StateReading, Sweep
from drivers.readings import Readings
from drivers.safety import Safety, attempt
from drivers.settings import Instrument, MiniSlide
from drivers.stages import Stages
from drivers.waiting import Clock

COMMAND_S = 1.0
"""How long `make_safe` waits for a command that another thread is just sending."""


@dataclass(frozen=True)
class _Pass:
    """The planes of one polarization, and where along C they go."""

    state: str
    channel: int
    exposure_ms: float
    heights_um: list[float]


class DrivenMicroscope:
    """A microscope of any back-end; see `Microscope` for what each method promises.

    Parameters
    ----------
    instrument
        its limits, deadlines, tolerances and polarizations.
    slides
        the mini-slides it may approach.
    equipment
        what is driven; let go of when the microscope is closed.
    clock
        where time comes from.

    Raises
    ------
    SettingRefused
        The frames of the camera are not those of the settings.
    """

    def __init__(
        self, instrument: Instrument, slides: Sequence[MiniSlide], equipment: Equipment, clock: Clock | None = None
    ) -> None:
        self._instrument = instrument
        self._deadlines = instrument.deadlines
        self._motion = instrument.motion
        self._limits = Limits(instrument, slides)
        self._equipment = equipment
        self._clock = clock or Clock()
        self._commanding = threading.Lock()
        self._halted = threading.Event()
        self._closed = False
        with explaining("asking the camera"):
            self._identity = _checked(equipment.identity, instrument)
        self._frames = FrameCheck(self._identity, equipment.recorded)
        self._safety = Safety(instrument, equipment.beside(), self._clock)
        self._trouble: tuple[str, ...] = ()
        self._stages = Stages(instrument, equipment, self._limits, self._clock, self._send, self._refuse_halted)
        self._readings = Readings(instrument, equipment, self._identity, self._clock, self._refuse_halted)
        self._xy_um: tuple[float, float] | None = None
        self._sure = True

    @property
    def identity(self) -> Identity:
        """What the instrument says of itself."""
        return self._identity

    def prepare(self) -> None:
        """Try every preset and its exposure: what a device lacks loads, and fails only when it is set."""
        self._halted.clear()
        for state, preset in self._instrument.polarizations.items():
            key = f"instrument.polarizations.{state}"
            try:
                self._switch(state)
            except DriverError as error:
                name = "/".join(part for part in (preset.group, preset.preset) if part) or "a state"
                raise SettingRefused(f"{key} is {name}, which cannot be set: {error}") from error
            try:
                self._set_exposure(preset.exposure_ms)
            except CameraFault as error:
                raise SettingRefused(f"{key}.exposure_ms is {preset.exposure_ms:g}, but {error}") from error
        with explaining("preparing"):
            self._equipment.prepare()

    def open_slide(self, slide: int) -> None:
        """Enforce the z window of a mini-slide, withdrawing first when it changes; ends the halt of `make_safe`."""
        self._limits.known(slide)
        self._halted.clear()
        if slide != self._limits.open_slide:
            self.withdraw()
            self._limits.open(slide)

    def move(self, x_um: float, y_um: float) -> None:
        """Move the sample so that the stage position is the centre of the frame."""
        self._limits.check_xy(x_um, y_um, self._stages.is_withdrawn())
        self._xy_um = x_um, y_um
        self._stages.move(x_um, y_um)

    def focus(self, z_um: float) -> None:
        """Bring the objective to `z_um`, arriving from below."""
        self._limits.check_z(z_um)
        self._stages.approach(z_um)

    def polarize(self, state: str) -> None:
        """Switch to a named polarization state and set its exposure."""
        self._switch(state)
        self._set_exposure(self._instrument.polarizations[state].exposure_ms)

    def _switch(self, state: str) -> None:
        if state not in self._instrument.polarizations:
            raise SettingRefused(
                f"polarization {state!r} is not among instrument.polarizations "
                f"({', '.join(self._instrument.polarizations)}); add it there"
            )
        self._send(f"polarization {state}", lambda: self._equipment.polarize(state))
        self._readings.await_preset(state)

    def _set_exposure(self, exposure_ms: float) -> None:
        self._send("exposure", lambda: self._equipment.set_exposure(exposure_ms))
        self._readings.exposure(exposure_ms)

    def light(self, on: bool) -> None:
        """Lamp and shutter: on for exposures, off while the night waits; read back, and harmless when they are so."""
        if on:
            self._refuse_halted()
        with explaining("light"):
            self._equipment.light(on)
        self._readings.await_light(on)

    def expose_stack(
        self, exposure: Exposure, sweep: Sweep, into: Stack, announce: Callable[[Frame], None]
    ) -> tuple[StateReading, ...]:
        """Expose a sweep straight into `into` (CZYX), announcing every plane as it lands."""
        self._check_buffer(sweep, into)
        self._limits.check_sweep(sweep)
        self._refuse_halted()
        try:
            return self._expose(exposure, sweep, into, announce)
        except FieldFault:
            # Shutter and stages obey somebody else as the microscope is made safe, and are no fault then.
            self._refuse_halted()
            raise

    def _expose(
        self, exposure: Exposure, sweep: Sweep, into: Stack, announce: Callable[[Frame], None]
    ) -> tuple[StateReading, ...]:
        sure, self._sure = self._sure, False
        self._readings.refuse_hindrance()
        if not sure:
            # Nothing that was remembered survives a failed exposure; all else is commanded each time.
            self.light(sweep.lit)
        self._readings.light(sweep.lit)
        given = sweep.exposures_ms is not None
        self._frames.begin(may_be_dark=not sweep.lit, may_be_full=given, compared=sweep.lit and not given)
        with explaining("beginning a stack"):
            self._equipment.begin(exposure, sweep)
        timed = self._is_timed(sweep)
        expose = self._expose_sequence if timed else self._expose_planes
        heights = [sweep.first_z_um + plane * sweep.step_um for plane in range(sweep.planes)]
        presets = self._instrument.polarizations
        exposures_ms = sweep.exposures_ms or [presets[state].exposure_ms for state in sweep.polarizations]
        read: list[StateReading] = []
        for state, channel, exposure_ms in zip(sweep.polarizations, sweep.channels, exposures_ms, strict=True):
            self._stage(state, 0)
            self._switch(state)
            self._set_exposure(exposure_ms)
            self._stages.approach_sweep(sweep)
            expose(_Pass(state, channel, exposure_ms, heights), into, announce)
            # Where a stage stands that was stepped by a trigger is its own affair, as long as it lies in the sweep.
            stands = (heights[0], heights[-1]) if timed else (heights[-1],)
            read.append(self._readings.after(state, exposure_ms, sweep.lit, self._xy_um, stands))
        self._frames.end()
        self._sure = True
        return tuple(read)

    def position(self) -> Position:
        """Where the stages say they stand."""
        with explaining("position"):
            return Position(*self._equipment.xy_um(), self._equipment.z_um())

    def withdraw(self) -> None:
        """Move the objective to its withdrawn height."""
        self._stages.go_to(self._motion.withdrawn_z_um)

    def make_safe(self) -> bool:
        """Stop sequences, close the shutter, switch the lamp off, withdraw the objective; whether all of it was done.

        Halts what another thread is commanding: it gets a `FieldFault`, and so does every command that moves or
        lights until `open_slide` is called again.
        """
        self._halted.set()
        held = self._commanding.acquire(timeout=COMMAND_S)
        try:
            self._trouble = self._safety.make_safe()
            return not self._trouble
        finally:
            if held:
                self._commanding.release()

    @property
    def sources(self) -> tuple[ReplayedFile, ...]:
        """Files that the last stack was read from; none where a camera exposed it."""
        with explaining("asking for files"):
            return self._equipment.sources()

    @property
    def trouble(self) -> tuple[str, ...]:
        """What kept the last `make_safe` from its end, a sentence each."""
        return self._trouble

    def close(self) -> None:
        """Make safe and let go of the hardware; may be called again."""
        if self._closed:
            return
        self._closed = True
        self.make_safe()
        self._equipment.close()

    # Exposing --------------------------------------------------------------------------------------------------------

    def _expose_planes(self, one: _Pass, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Plane by plane: z, then a single frame, which is stored while z moves on."""
        state, heights = one.state, one.heights_um
        for plane, z_um in enumerate(heights):
            self._stages.arrive_at_z(z_um)
            with explaining(f"exposing plane {plane} of {state}", FrameFault):
                image = self._equipment.snap()
            landed_s = self._clock.now()
            if plane + 1 < len(heights):
                self._stage(state, plane + 1)
                if heights[plane + 1] != z_um:
                    self._stages.send_z(heights[plane + 1])
            self._land(state, image, into, Frame(one.channel, plane, plane, z_um, landed_s), announce)

    def _expose_sequence(self, one: _Pass, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Triggered: the camera steps the stage through a sequence that is loaded beforehand."""
        state, heights = one.state, one.heights_um
        exposure_s = one.exposure_ms / 1e3
        self._send(f"z sequence of {state}", lambda: self._equipment.start_sequence(heights))
        waiting, due_s = 0, self._clock.now() + exposure_s
        try:
            with explaining(f"z sequence of {state}", FrameFault):
                for plane, z_um in enumerate(heights):
                    self._stage(state, plane)
                    name = f"plane {plane} of {state}"
                    if not waiting:
                        waiting = self._await_frames(name, due_s)
                        due_s = self._clock.now() + exposure_s
                    image, number = self._equipment.take_frame()
                    waiting -= 1
                    if number != plane:
                        raise FrameFault(
                            f"{name} arrived with the number {number}, so frames were lost on the way; "
                            "check the camera's link, enlarge instrument.buffer_mb, or slow the camera"
                        )
                    self._land(state, image, into, Frame(one.channel, plane, number, z_um, self._clock.now()), announce)
                self._refuse_surplus(state)
        except BaseException:
            attempt(self._equipment.stop)
            raise
        with explaining(f"end of the z sequence of {state}"):
            self._equipment.stop()

    def _await_frames(self, name: str, due_s: float) -> int:
        """Wait for frames, not asking for them before the next one is due; how many have arrived."""
        arrived = [0]

        def due() -> bool:
            self._refuse_halted()
            return self._clock.now() >= due_s

        def landed() -> bool:
            self._refuse_halted()
            arrived[0] = self._equipment.frames_waiting()
            if not arrived[0]:
                self._refuse_overflow(name)
            return arrived[0] > 0

        self._clock.wait(due, max(due_s - self._clock.now(), 0.0))
        if not self._clock.wait(landed, self._deadlines.frame_s):
            raise FrameFault(
                f"{name} did not arrive within {self._deadlines.frame_s:g} s of its exposure; check trigger cable and "
                "camera"
            )
        return arrived[0]

    def _refuse_overflow(self, name: str) -> None:
        if self._equipment.overflowed():
            raise FrameFault(
                f"the camera's buffer overflowed at {name}; enlarge instrument.buffer_mb "
                f"(now {self._instrument.buffer_mb})"
            )

    def _refuse_surplus(self, state: str) -> None:
        self._refuse_overflow(f"the end of {state}")
        surplus = self._equipment.frames_waiting()
        if surplus:
            raise FrameFault(f"the camera delivered {surplus} frames more than the sweep of {state} has planes")

    def _land(self, state: str, image: Any, into: Stack, frame: Frame, announce: Callable[[Frame], None]) -> None:
        self._frames.take(image, into[frame.c, frame.z], state, frame.z)
        announce(frame)

    def _is_timed(self, sweep: Sweep) -> bool:
        """Whether the camera steps the focus drive."""
        can = sweep.planes <= self._equipment.longest_sequence
        if sweep.by_sequence is None:
            return can and self._motion.z_sequence
        if sweep.by_sequence and not can:
            raise SettingRefused(
                f"{self._equipment.z_name} cannot be stepped by the camera through {sweep.planes} planes "
                f"({self._equipment.longest_sequence} at most); lay a trigger cable and set the stage up for it, or "
                "leave instrument.motion.z_sequence false"
            )
        return sweep.by_sequence

    def _check_buffer(self, sweep: Sweep, into: Stack) -> None:
        identity = self._identity
        wanted = (sweep.planes, identity.frame_height_px, identity.frame_width_px)
        if sweep.exposures_ms is not None and len(sweep.exposures_ms) != len(sweep.polarizations):
            raise SettingRefused(
                f"exposures {sweep.exposures_ms} are not those of {sweep.polarizations}; give one for each"
            )
        if into.dtype != np.uint16 or into.shape[1:] != wanted or max(sweep.channels) >= into.shape[0]:
            raise SettingRefused(
                f"a buffer of {into.shape} {into.dtype} cannot take channels {sweep.channels} of "
                f"{wanted} uint16; size it by the sweep and the camera"
            )

    def _stage(self, state: str, plane: int) -> None:
        with explaining(f"plane {plane} of {state}"):
            self._equipment.stage(state, plane)

    def _send(self, doing: str, command: Callable[[], None]) -> None:
        """Send a command unless the microscope is halted; none can slip past `make_safe`."""
        with self._commanding:
            self._refuse_halted()
            with explaining(doing):
                command()

    def _refuse_halted(self) -> None:
        if self._halted.is_set():
            raise FieldFault("the microscope was made safe meanwhile; open a mini-slide again before going on")


def _checked(identity: Any, instrument: Instrument) -> Identity:
    """Refuse what a back-end of others may say of itself, and a camera that is not that of the settings."""
    if not isinstance(identity, Identity):
        raise SettingRefused(f"the back-end says of itself {identity!r}, no Identity; correct its package")
    if (identity.frame_height_px, identity.frame_width_px) != instrument.frame_px:
        raise SettingRefused(
            f"instrument.frame_px is {list(instrument.frame_px)}, but the camera delivers "
            f"{identity.frame_height_px} rows of {identity.frame_width_px} pixels; correct the setting or the "
            "camera's region of interest and binning"
        )
    if not 1 <= identity.bit_depth <= 16:
        raise SettingRefused(
            f"the camera delivers {identity.bit_depth} bits a pixel; set it to a grey mode of 16 bit or less"
        )
    return identity
