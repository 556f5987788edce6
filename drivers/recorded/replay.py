"""Replay: recorded stacks are the camera, so that a laboratory rehearses a night on its own archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from drivers.errors import SettingRefused
from drivers.limits import Limits
from drivers.micromanager.core import versions
from drivers.microscope import Exposure, Frame, Identity, Position, Stack, Sweep
from drivers.recorded.recording import Recording, read_recording
from drivers.settings import Instrument, MiniSlide


def open_replay(instrument: Instrument, slides: Sequence[MiniSlide]) -> ReplayMicroscope:
    """Open the recording that the settings name.

    Raises
    ------
    Refused
        There is none, or its frames are not those of the settings.
    """
    if instrument.replay is None:
        raise SettingRefused(
            "instrument.backend is 'replay', but instrument.replay is missing; name the recorded stacks"
        )
    recording = read_recording(instrument.replay)
    recording.check(instrument)
    return ReplayMicroscope(instrument, slides, recording)


class ReplayMicroscope:
    """A microscope that sees recorded stacks; see `Microscope` for what each method promises.

    The nth field of a mini-slide is the nth recorded one. A sweep sees the recorded planes spread evenly over its own,
    first on first and last on last, whatever its z: the recording decides where the sample is in focus. Limits are
    enforced as on a real microscope, moves take no time.
    """

    def __init__(self, instrument: Instrument, slides: Sequence[MiniSlide], recording: Recording) -> None:
        _, _, height, width = recording.shape_czyx
        self._instrument = instrument
        self._recording = recording
        self._limits = Limits(instrument, slides)
        self._states = tuple(instrument.polarizations)
        self._withdrawn_z_um = instrument.motion.withdrawn_z_um
        self._position = Position(slides[0].centre_um[0], slides[0].centre_um[1], self._withdrawn_z_um)
        self._identity = Identity("replay", str(recording.folder), height, width, recording.bit_depth, versions())
        self._read: tuple[int, int] | None = None
        self._stack: Stack = np.empty((0, 0, 0, 0), np.uint16)

    @property
    def identity(self) -> Identity:
        """What the recording says of itself."""
        return self._identity

    def prepare(self) -> None:
        """Do nothing: the recording was read on opening."""

    def open_slide(self, slide: int) -> None:
        """Enforce the z window of a mini-slide."""
        self._limits.known(slide)
        if slide != self._limits.open_slide:
            self.withdraw()
            self._limits.open(slide)

    def move(self, x_um: float, y_um: float) -> None:
        """Take note of a stage position."""
        self._limits.check_xy(x_um, y_um, self._position.z_um <= self._withdrawn_z_um)
        self._position = Position(x_um, y_um, self._position.z_um)

    def focus(self, z_um: float) -> None:
        """Take note of a height."""
        self._limits.check_z(z_um)
        self._position = Position(self._position.x_um, self._position.y_um, z_um)

    def polarize(self, state: str) -> None:
        """Refuse a state that was not recorded."""
        if state not in self._states:
            raise SettingRefused(f"polarization {state!r} is not among instrument.polarizations; name it there")

    def light(self, on: bool) -> None:
        """Do nothing: the light was on when the stacks were recorded."""

    def expose_stack(self, exposure: Exposure, sweep: Sweep, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Copy recorded planes into `into` (CZYX), announcing each."""
        if not sweep.lit or sweep.exposures_ms is not None or sweep.step_um <= 0:
            raise SettingRefused(
                "instrument.backend is 'replay', and a recording cannot be exposed in another way than it was; "
                "calibrate on the microscope itself"
            )
        self._limits.check_sweep(sweep)
        stack = self._stack_of(exposure)
        if into.dtype != np.uint16 or into.shape[1:] != (sweep.planes, *stack.shape[2:]):
            raise SettingRefused(
                f"a buffer of {into.shape} {into.dtype} cannot take {sweep.planes} recorded planes of "
                f"{stack.shape[2:]} uint16; size it by the sweep and the recording"
            )
        recorded = np.rint(np.linspace(0, stack.shape[1] - 1, sweep.planes)).astype(int)
        for state, channel in zip(sweep.polarizations, sweep.channels, strict=True):
            self.polarize(state)
            for plane, source in enumerate(recorded):
                z_um = sweep.first_z_um + plane * sweep.step_um
                self.focus(z_um)
                into[channel, plane] = stack[self._states.index(state), source]
                announce(Frame(channel, plane, plane, z_um, time.monotonic()))

    def position(self) -> Position:
        """Tell the position that was noted last."""
        return self._position

    def withdraw(self) -> None:
        """Take note of the withdrawn height."""
        self._position = Position(self._position.x_um, self._position.y_um, self._withdrawn_z_um)

    def make_safe(self) -> bool:
        """Withdraw; there is nothing else to make safe."""
        self.withdraw()
        return True

    def close(self) -> None:
        """Let go of the recording."""
        self.make_safe()

    def _stack_of(self, exposure: Exposure) -> Stack:
        """Read a field once for all its sweeps."""
        key = (exposure.slide, exposure.field)
        if key != self._read:
            self._stack = self._recording.read(*key)
            self._read = key
        return self._stack
