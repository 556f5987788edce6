"""A microscope behind a Micro-Manager core: the Python core of this process, or a running Micro-Manager."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from drivers.errors import (
    DeviceTimeout,
    DriverError,
    FieldFault,
    FrameFault,
    PresetNotReached,
    SettingRefused,
    StageStuck,
)
from drivers.limits import Limits
from drivers.micromanager.core import Core, Sequencer, list_sequence, telling
from drivers.micromanager.frames import FrameCheck
from drivers.micromanager.verification import identify, longest_sequence, verify_light, verify_preset
from drivers.microscope import Exposure, Frame, Identity, Position, Stack, Sweep
from drivers.settings import Instrument, MiniSlide
from drivers.waiting import Clock

log = logging.getLogger(__name__)

Staging = Callable[[Exposure, str, int], None]
"""Told exposure, polarization and plane before anything is switched or moved for that plane."""
COMMAND_S = 1.0
"""How long `make_safe` waits for a command that another thread is just sending."""


@dataclass(frozen=True)
class _Pass:
    """The planes of one polarization, and where along C they go."""

    exposure: Exposure
    state: str
    channel: int
    exposure_ms: float
    heights_um: list[float]


class MicroManager:
    """Drives the devices of a Micro-Manager core; see `Microscope` for what each method promises.

    Parameters
    ----------
    instrument
        what is driven.
    slides
        the mini-slides it may approach.
    core
        the portable subset of a Micro-Manager core, its hardware file loaded.
    release
        lets go of the core when the microscope is closed.
    sequence
        makes the core's kind of a stage sequence.
    staging
        told before each plane; the emulated microscope listens.
    preparing
        called by `prepare`; the emulated microscope makes its virtual slide.

    Raises
    ------
    Refused
        A device, preset or frame size of the settings is not what the core has.
    """

    def __init__(
        self,
        instrument: Instrument,
        slides: Sequence[MiniSlide],
        core: Core,
        release: Callable[[], None],
        sequence: Sequencer = list_sequence,
        staging: Staging = lambda _exposure, _state, _plane: None,
        preparing: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._instrument = instrument
        self._devices = instrument.devices
        self._deadlines = instrument.deadlines
        self._motion = instrument.motion
        self._limits = Limits(instrument, slides)
        self._core = core
        self._release = release
        self._sequence = sequence
        self._staging = staging
        self._preparing = preparing
        self._clock = clock or Clock()
        self._commanding = threading.Lock()
        self._halted = threading.Event()
        self._closed = False
        self._identity = identify(core, instrument)
        self._preset_devices = {state: verify_preset(core, instrument, state) for state in instrument.polarizations}
        self._frames = FrameCheck(self._identity.bit_depth)
        self._longest_sequence = longest_sequence(core, instrument)
        verify_light(core, instrument)

    @property
    def identity(self) -> Identity:
        """What the instrument says of itself."""
        return self._identity

    def prepare(self) -> None:
        """Try every preset: one with a label that its device lacks loads, and fails only when it is set."""
        self._halted.clear()
        for state, preset in self._instrument.polarizations.items():
            try:
                self.polarize(state)
            except DriverError as error:
                raise SettingRefused(
                    f"instrument.polarizations.{state} is {preset.group}/{preset.preset}, which cannot be set: {error}"
                ) from error
        self._preparing()

    def open_slide(self, slide: int) -> None:
        """Enforce the z window of a mini-slide, withdrawing first when it changes; ends the halt of `make_safe`."""
        self._limits.known(slide)
        self._halted.clear()
        if slide != self._limits.open_slide:
            self.withdraw()
            self._limits.open(slide)

    def move(self, x_um: float, y_um: float) -> None:
        """Move the sample so that the stage position is the centre of the frame."""
        label, core = self._devices.xy_stage, self._core
        self._limits.check_xy(x_um, y_um, self._is_withdrawn())
        self._send(f"{label} to {x_um:.1f}, {y_um:.1f} um", lambda: core.set_xy_position(label, x_um, y_um))

        def off_by() -> float:
            return max(abs(core.get_x_position(label) - x_um), abs(core.get_y_position(label) - y_um))

        self._arrive(label, f"{x_um:.1f}, {y_um:.1f} um", off_by, self._motion.xy_tolerance_um, self._deadlines.move_s)

    def focus(self, z_um: float) -> None:
        """Bring the objective to `z_um`, arriving from below."""
        self._limits.check_z(z_um)
        self._approach(z_um)

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
        preset = self._instrument.polarizations[state]
        group, name, core = preset.group, preset.preset, self._core
        devices = self._preset_devices[state]
        self._send(f"preset {group}/{name}", lambda: core.set_config(group, name))

        def busy() -> bool:
            return any(core.device_busy(label) for label in devices)

        def reached() -> bool:
            self._refuse_halted()
            return not busy() and core.get_current_config(group) == name

        with telling(f"preset {group}/{name}"):
            if not self._clock.wait(reached, self._deadlines.switch_s):
                if busy():
                    raise DeviceTimeout(
                        f"preset {group}/{name}: {' or '.join(devices)} was still busy after "
                        f"{self._deadlines.switch_s:g} s; check the device"
                    )
                raise PresetNotReached(
                    f"group {group} reads back {core.get_current_config(group)!r} instead of {name!r} after "
                    f"{self._deadlines.switch_s:g} s; check the device"
                )

    def _set_exposure(self, exposure_ms: float) -> None:
        self._send("exposure", lambda: self._core.set_exposure(exposure_ms))

    def light(self, on: bool) -> None:
        """Lamp and shutter: on for exposures, off while the night waits."""
        if on:
            self._refuse_halted()
        with telling("light"):
            for step in self._light_steps(on):
                step()

    def expose_stack(self, exposure: Exposure, sweep: Sweep, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Expose a sweep straight into `into` (CZYX), announcing every plane as it lands."""
        self._check_buffer(sweep, into)
        self._limits.check_sweep(sweep)
        self._refuse_halted()
        self._check_light(sweep.lit)
        self._frames.begin(may_be_dark=not sweep.lit, may_be_full=sweep.exposures_ms is not None)
        expose = self._expose_sequence if sweep.planes <= self._longest_sequence else self._expose_planes
        heights = [sweep.first_z_um + plane * sweep.step_um for plane in range(sweep.planes)]
        presets = self._instrument.polarizations
        exposures_ms = sweep.exposures_ms or [presets[state].exposure_ms for state in sweep.polarizations]
        for state, channel, exposure_ms in zip(sweep.polarizations, sweep.channels, exposures_ms, strict=True):
            self._staging(exposure, state, 0)
            self._switch(state)
            self._set_exposure(exposure_ms)
            self._approach_sweep(sweep)
            expose(_Pass(exposure, state, channel, exposure_ms, heights), into, announce)

    def position(self) -> Position:
        """Where the stages say they stand."""
        with telling("position"):
            xy = self._devices.xy_stage
            return Position(self._core.get_x_position(xy), self._core.get_y_position(xy), self._z_um())

    def withdraw(self) -> None:
        """Move the objective to its withdrawn height."""
        self._go_to(self._motion.withdrawn_z_um)

    def make_safe(self) -> bool:
        """Stop sequences, close the shutter, switch the lamp off, withdraw the objective; whether all of it was done.

        Halts what another thread is commanding: it gets a `FieldFault`, and so does every command that moves or
        lights until `open_slide` is called again.
        """
        self._halted.set()
        held = self._commanding.acquire(timeout=COMMAND_S)
        try:
            return self._attempt(self._stop_camera, self._stop_stage, *self._light_steps(False), self._withdraw_unasked)
        finally:
            if held:
                self._commanding.release()

    def close(self) -> None:
        """Make safe and let go of the hardware; may be called again."""
        if self._closed:
            return
        self._closed = True
        self.make_safe()
        self._release()

    # Exposing --------------------------------------------------------------------------------------------------------

    def _expose_planes(self, one: _Pass, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Plane by plane: z, then a single frame, which is stored while z moves on."""
        heights = one.heights_um
        for plane, z_um in enumerate(heights):
            self._arrive_at_z(z_um)
            name = f"plane {plane} of {one.state}"
            with telling(f"exposing {name}", FrameFault):
                self._core.snap_image()
                image = self._core.get_image()
            landed_s = self._clock.now()
            if plane + 1 < len(heights):
                self._staging(one.exposure, one.state, plane + 1)
                if heights[plane + 1] != z_um:
                    self._send_z(heights[plane + 1])
            self._land(image, into, name, Frame(one.channel, plane, plane, z_um, landed_s), announce)

    def _expose_sequence(self, one: _Pass, into: Stack, announce: Callable[[Frame], None]) -> None:
        """Triggered: the camera steps the stage through a sequence that is loaded beforehand."""
        label, core = self._devices.focus, self._core
        state, heights = one.state, one.heights_um

        def start() -> None:
            core.load_stage_sequence(label, self._sequence(heights))
            core.clear_circular_buffer()
            core.start_stage_sequence(label)
            core.start_sequence_acquisition(len(heights), 0.0, True)

        wait_s = one.exposure_ms / 1e3 + self._deadlines.frame_s
        self._send(f"z sequence of {state}", start)
        try:
            with telling(f"z sequence of {state}", FrameFault):
                for plane, z_um in enumerate(heights):
                    self._staging(one.exposure, state, plane)
                    name = f"plane {plane} of {state}"
                    image, number = self._next_frame(name, wait_s)
                    if number != plane:
                        raise FrameFault(
                            f"{name} arrived with ImageNumber {number}, so frames were lost on the way; "
                            "enlarge instrument.buffer_mb or slow the camera"
                        )
                    self._land(image, into, name, Frame(one.channel, plane, number, z_um, self._clock.now()), announce)
                self._refuse_surplus(state)
        except BaseException:
            self._attempt(self._stop_camera, self._stop_stage)
            raise
        with telling(f"end of the z sequence of {state}"):
            self._stop_camera()
            self._stop_stage()

    def _next_frame(self, name: str, wait_s: float) -> tuple[Any, int]:
        core = self._core

        def landed() -> bool:
            self._refuse_halted()
            self._refuse_overflow(name)
            return core.get_remaining_image_count() > 0

        if not self._clock.wait(landed, wait_s):
            raise FrameFault(f"{name} did not arrive within {wait_s:g} s; check trigger cable and camera")
        tagged = core.pop_next_tagged_image()
        return tagged.pix, int(tagged.tags["ImageNumber"])

    def _refuse_overflow(self, name: str) -> None:
        if self._core.is_buffer_overflowed():
            raise FrameFault(
                f"the camera's buffer overflowed at {name}; enlarge instrument.buffer_mb "
                f"(now {self._instrument.buffer_mb})"
            )

    def _refuse_surplus(self, state: str) -> None:
        self._refuse_overflow(f"the end of {state}")
        surplus = self._core.get_remaining_image_count()
        if surplus:
            raise FrameFault(f"the camera delivered {surplus} frames more than the sweep of {state} has planes")

    def _check_light(self, lit: bool) -> None:
        """Read back lamp and shutter: a frame does not tell a faint field from a shutter that did not open."""
        for label in (self._devices.lamp, self._devices.shutter):
            if label is not None:
                with telling(f"reading back {label}"):
                    is_open = self._core.get_shutter_open(label)
                if is_open != lit:
                    raise FrameFault(
                        f"{label} reads back {'open' if is_open else 'closed'}, so frames would be "
                        f"{'lit' if is_open else 'dark'}; check lamp, shutter and their cable"
                    )

    def _land(self, image: Any, into: Stack, name: str, frame: Frame, announce: Callable[[Frame], None]) -> None:
        target = into[frame.c, frame.z]
        if image.size != target.size:
            raise FrameFault(
                f"{name} has {image.size} pixels instead of {target.shape[0]} x {target.shape[1]}; "
                "the camera's region of interest was changed: set it back"
            )
        np.copyto(target, image.reshape(target.shape), casting="safe")
        self._frames.accept(target, name)
        announce(frame)

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

    # Moving ----------------------------------------------------------------------------------------------------------

    def _approach(self, z_um: float) -> None:
        below = self._limits.below_z(z_um)
        if self._z_um() > below:
            self._go_to(below)
        self._go_to(z_um)

    def _approach_sweep(self, sweep: Sweep) -> None:
        """Arrive at the first plane in the direction in which the sweep goes on."""
        if sweep.step_um >= 0:
            self._approach(sweep.first_z_um)
            return
        above = self._limits.approach_z(sweep)
        if self._z_um() < above:
            self._go_to(above)
        self._go_to(sweep.first_z_um)

    def _go_to(self, z_um: float) -> None:
        self._send_z(z_um)
        self._arrive_at_z(z_um)

    def _send_z(self, z_um: float) -> None:
        label = self._devices.focus
        self._send(f"{label} to {z_um:.2f} um", lambda: self._core.set_position(label, z_um))

    def _arrive_at_z(self, z_um: float, unasked: bool = False) -> None:
        def off_by() -> float:
            return abs(self._z_um() - z_um)

        tolerance, deadline_s = self._motion.z_tolerance_um, self._deadlines.focus_s
        self._arrive(self._devices.focus, f"{z_um:.2f} um", off_by, tolerance, deadline_s, unasked)

    def _arrive(
        self,
        label: str,
        target: str,
        off_by: Callable[[], float],
        tolerance_um: float,
        deadline_s: float,
        unasked: bool = False,
    ) -> None:
        """Wait until a stage is idle and reads back where it was sent: some say they are idle before they set off."""

        def arrived() -> bool:
            if not unasked:
                self._refuse_halted()
            return not self._core.device_busy(label) and off_by() <= tolerance_um

        with telling(f"{label} to {target}"):
            if self._clock.wait(arrived, deadline_s):
                return
            if self._core.device_busy(label):
                raise DeviceTimeout(f"{label} was still busy {deadline_s:g} s after it was sent to {target}; check it")
            raise StageStuck(f"{label} stands {off_by():.2f} um off the {target} it was sent to; check the stage")

    def _z_um(self) -> float:
        return float(self._core.get_position(self._devices.focus))

    def _is_withdrawn(self) -> bool:
        with telling("position of the objective"):
            return self._z_um() <= self._motion.withdrawn_z_um + self._motion.z_tolerance_um

    def _send(self, doing: str, command: Callable[[], None]) -> None:
        """Send a command unless the microscope is halted; none can slip past `make_safe`."""
        with self._commanding:
            self._refuse_halted()
            with telling(doing):
                command()

    def _refuse_halted(self) -> None:
        if self._halted.is_set():
            raise FieldFault("the microscope was made safe meanwhile; open a mini-slide again before going on")

    # Safety ----------------------------------------------------------------------------------------------------------

    def _attempt(self, *steps: Callable[[], None]) -> bool:
        """Take every step, whatever becomes of those before it; whether all succeeded."""
        failed = 0
        for step in steps:
            try:
                step()
            except Exception:
                failed += 1
                log.exception("making safe: a step failed, going on to the next")
        return not failed

    def _stop_camera(self) -> None:
        if self._core.is_sequence_running():
            self._core.stop_sequence_acquisition()

    def _stop_stage(self) -> None:
        if self._longest_sequence:
            self._core.stop_stage_sequence(self._devices.focus)

    def _light_steps(self, on: bool) -> list[Callable[[], None]]:
        preset = self._instrument.light_on if on else self._instrument.light_off
        labels = (self._devices.lamp, self._devices.shutter)
        return [
            *([] if preset is None else [partial(self._core.set_config, *preset)]),
            *(partial(self._core.set_shutter_open, label, on) for label in labels if label is not None),
        ]

    def _withdraw_unasked(self) -> None:
        z_um = self._motion.withdrawn_z_um
        self._core.set_position(self._devices.focus, z_um)
        self._arrive_at_z(z_um, unasked=True)
