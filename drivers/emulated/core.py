"""The emulated microscope: a real Micro-Manager core on demo devices, whose pixels come from a virtual slide."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from drivers.emulated.faults import Faults
from drivers.emulated.mechanics import Mechanics, true_pixel_um
from drivers.emulated.meddled import MeddledCore
from drivers.errors import SettingRefused
from drivers.micromanager.core import Core, headless_core, preset_settings, release_headless_core
from drivers.micromanager.devices import MicroManager
from drivers.micromanager.hardware_file import as_spelled
from drivers.micromanager.presets import stands
from drivers.microscope import Exposure, Sweep
from drivers.settings import Emulation, Instrument, MiniSlide
from drivers.virtual_slide.optics.immersion import Immersion
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from drivers.waiting import Clock

DEMO_CAMERA = {"FastImage": "1", "PixelType": "16bit"}
LONGEST_SEQUENCE = 100
CLAMPED = 4.0
"""How many times longer a camera exposes that does not take an exposure, or that somebody changed."""
DIM_POWER = 0.4
"""Share of its power that a dim lamp has left: as dark as without oil, and as sharp as ever."""


class SequenceFrame(NamedTuple):
    """A frame of a sequence and its tags."""

    pix: NDArray[np.uint16]
    tags: dict[str, str]


class Emulated(MicroManager):
    """Demo devices of a Micro-Manager core before the virtual slide."""

    def __init__(self, instrument: Instrument, core: EmulatedCore) -> None:
        super().__init__(instrument, cast(Core, core), release_headless_core)
        self._emulated = core
        self._exposure = Exposure(0, 0)

    def prepare(self) -> None:
        """Make the virtual slide now (a second or two), rather than during the first exposure."""
        self._emulated.prepare()

    def begin(self, exposure: Exposure, _sweep: Sweep) -> None:
        """Take in which stack is exposed next; chance depends on it."""
        self._exposure = exposure

    def stage(self, state: str, plane: int) -> None:
        """Take in which plane is exposed next."""
        self._emulated.stage(self._exposure, state, plane)


def open_emulated(instrument: Instrument, slides: Sequence[MiniSlide], clock: Clock | None = None) -> Emulated:
    """Start the emulated microscope in this process.

    Raises
    ------
    SettingRefused
        A setting does not fit the hardware file.
    """
    core = headless_core(instrument)
    try:
        instrument = as_spelled(instrument)
        return Emulated(instrument, EmulatedCore(core, instrument, slides, clock or Clock()))
    except BaseException:
        release_headless_core()
        raise


def virtual_slide(instrument: Instrument, slides: Sequence[MiniSlide]) -> VirtualSlide:
    """Make the virtual slide that an emulated microscope looks at, of the pixels it truly has."""
    return VirtualSlide(instrument.emulation or Emulation(), slides, instrument.frame_px, true_pixel_um(instrument))


class EmulatedCore:
    """A core of demo devices with the pace, the pixels and the faults of a microscope; all else is the real core's.

    Moves are the demo devices' own, which are instant, and keep their device busy for as long as the settings say.
    Lost oil comes back when the objective is withdrawn, so also when a new process makes safe.
    Rendering happens while the exposure lasts; where it lasts longer, the following waits are shortened by as much,
    so that a night takes its configured time.
    """

    def __init__(self, core: Core, instrument: Instrument, slides: Sequence[MiniSlide], clock: Clock) -> None:
        emulation = instrument.emulation or Emulation()
        height, width = instrument.frame_px
        self._faults = Faults(emulation.faults, emulation.seed, clock.now)
        self._true_core = core
        self._core = MeddledCore(core, instrument, self._faults)
        self._instrument = instrument
        self._emulation = emulation
        self._slides = slides
        self._clock = clock
        self._timing = emulation.timing
        self._instant = not any(emulation.timing.model_dump().values())
        self._prepare_devices()
        xy = instrument.devices.xy_stage
        at = core.get_x_position(xy), core.get_y_position(xy)
        self._mechanics = Mechanics(emulation, slides, at, core.get_position(instrument.devices.focus))
        self._frame: NDArray[np.uint16] = np.zeros((height, width), np.uint16)
        self._view: View | None = None
        self._staged: tuple[Exposure, str, int] | None = None
        self._exposure_ms = 10.0
        self._exposed_s = 0.0
        self._sequence: list[float] = []
        self._asked = self._popped = 0
        self._busy_until_s: dict[str, float] = {}
        self._owed_s = 0.0
        self._oil = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def prepare(self) -> None:
        """Make the virtual slide now (a second or two), rather than during the first exposure."""
        self._slide.prepare()

    @cached_property
    def _slide(self) -> VirtualSlide:
        return virtual_slide(self._instrument, self._slides)

    @cached_property
    def _blank(self) -> VirtualSlide:
        blank = self._emulation.model_copy(update={"profile": "blank", "plate": None, "micrometer": None})
        return virtual_slide(self._instrument.model_copy(update={"emulation": blank}), self._slides)

    @cached_property
    def _dim(self) -> VirtualSlide:
        lamp = self._emulation.lamp.model_copy(update={"power": DIM_POWER * self._emulation.lamp.power})
        dim = self._emulation.model_copy(update={"lamp": lamp})
        return virtual_slide(self._instrument.model_copy(update={"emulation": dim}), self._slides)

    def stage(self, exposure: Exposure, state: str, plane: int) -> None:
        """Take in which plane is commanded next."""
        self._staged = (exposure, state, plane)
        self._faults.stage(exposure, state, plane)

    def device_busy(self, label: str) -> bool:
        """Whether a device still moves."""
        return self._clock.now() < self._busy_until_s.get(label, 0.0) or self._core.device_busy(label)

    def set_xy_position(self, label: str, x_um: float, y_um: float) -> None:
        """Send the XY stage to a position."""
        self._core.set_xy_position(label, x_um, y_um)
        self._mechanics.drive_xy(x_um, y_um)
        self._keep_busy(label, self._timing.xy_ms)

    def set_position(self, label: str, z_um: float) -> None:
        """Send the z stage to a height, unless it is stuck."""
        if not self._faults.strikes("stage_stuck"):
            self._core.set_position(label, z_um)
            if not self._faults.meets("z_slips"):
                self._mechanics.drive(z_um)
        self._keep_busy(label, self._timing.z_ms)
        if self._faults.strikes("stage_busy"):
            self._busy_until_s[label] = math.inf
        if z_um <= self._instrument.motion.withdrawn_z_um:
            self._oil = True

    def set_config(self, group: str, preset: str) -> None:
        """Switch to a preset, unless it does not arrive."""
        if stands(self._core, group, preset):
            return
        if not self._faults.strikes("preset_missed", first_plane=0):
            self._core.set_config(group, preset)
        for label in {setting.device for setting in preset_settings(self._core, group, preset)}:
            self._keep_busy(label, self._timing.polarizer_ms)

    def set_exposure(self, milliseconds: float) -> None:
        """Set the exposure, unless the camera does not take it; the demo camera's own is as short as can be."""
        self._exposure_ms = milliseconds if not self._faults.meets("exposure_clamped") else CLAMPED * milliseconds

    def get_exposure(self) -> float:
        """Exposure that was set."""
        return self._exposure_ms

    def snap_image(self) -> None:
        """Begin an exposure of whatever lies under the objective."""
        if self._faults.strikes("hang"):
            while True:
                self._clock.sleep(1.0)
        if self._faults.strikes("die"):
            os._exit(1)
        if self._faults.strikes("exposure_changed"):
            self._exposure_ms *= CLAMPED
        begun_s = self._clock.now()
        self._core.snap_image()
        self._exposed_s = begun_s if self._instant else begun_s + self._paid(self._exposure_ms / 1e3)

    def get_image(self) -> NDArray[Any]:
        """Wait for the end of the exposure and return its frame (H, W), valid until the next."""
        if self._faults.strikes("dropped_frame"):
            raise RuntimeError(f'Error in device "{self._instrument.devices.camera}": frame lost')
        if not self._faults.strikes("repeated_frame"):
            self._render()
        left_s = self._exposed_s - self._clock.now()
        if left_s > 0:
            self._clock.sleep(left_s)
        elif not self._instant:
            self._owed_s -= left_s
        if self._core.turn_knob():
            self._mechanics.drive(self._true_core.get_position(self._instrument.devices.focus))
        return self._delivered()

    def _delivered(self) -> NDArray[Any]:
        """Return the frame as the camera delivers it, in another mode perhaps."""
        if self._faults.meets("roi_changed"):
            return self._frame[: self._frame.shape[0] // 2]
        if self._faults.meets("pixel_type"):
            return (self._frame >> 8).astype(np.uint8)
        return self._frame.T if self._faults.meets("frame_turned") else self._frame

    def get_image_height(self) -> int:
        """Rows of a frame."""
        if self._faults.meets("frame_turned"):
            return int(self._core.get_image_width())
        rows = int(self._core.get_image_height())
        return rows // 2 if self._faults.meets("roi_changed") else rows

    def get_image_width(self) -> int:
        """Columns of a frame."""
        turned = self._faults.meets("frame_turned")
        return int(self._core.get_image_height() if turned else self._core.get_image_width())

    @property
    def objective_um(self) -> float:
        """Height at which the objective truly is."""
        return self._mechanics.objective_um

    # Stepped by the camera -------------------------------------------------------------------------------------------

    def is_stage_sequenceable(self, _label: str) -> bool:
        """Whether there is a trigger cable."""
        return self._emulation.trigger != "none"

    def get_stage_sequence_max_length(self, _label: str) -> int:
        """Return how many planes the stage remembers."""
        return LONGEST_SEQUENCE

    def load_stage_sequence(self, _label: str, z_um: Sequence[float]) -> None:
        """Take in the heights of a sequence."""
        self._sequence = list(z_um)

    def start_stage_sequence(self, _label: str) -> None:
        """Do nothing: the stage waits for the camera."""

    def stop_stage_sequence(self, _label: str) -> None:
        """Do nothing: the stage stands."""

    def start_sequence_acquisition(self, frames: int, _interval_ms: float, _stop_on_overflow: bool) -> None:
        """Begin so many exposures, one after the other."""
        self._asked, self._popped, self._exposed_s = frames, 0, self._clock.now()

    def stop_sequence_acquisition(self) -> None:
        """End the exposures."""
        self._asked = 0

    def is_sequence_running(self) -> bool:
        """Whether the camera runs."""
        return self._popped < self._asked or bool(self._core.is_sequence_running())

    def clear_circular_buffer(self) -> None:
        """Forget what was exposed."""
        self._asked = 0

    def get_remaining_image_count(self) -> int:
        """Return how many frames were exposed and not fetched."""
        if self._instant:
            return self._asked - self._popped
        exposed = math.floor(1e3 * (self._clock.now() - self._exposed_s) / self._exposure_ms + 1e-6)
        return min(self._asked, exposed) - self._popped

    def pop_next_tagged_image(self) -> SequenceFrame:
        """Return the next frame of a sequence, exposed where the trigger has brought the stage."""
        number, self._popped = self._popped, self._popped + 1
        plane = {"true": number, "late": max(number - 1, 0)}.get(self._emulation.trigger, 0)
        z_um = self._sequence[plane]
        self._core.set_position(self._instrument.devices.focus, z_um)
        self._mechanics.drive(z_um)
        self._render()
        return SequenceFrame(self._frame, {"ImageNumber": str(number)})

    # What is seen ----------------------------------------------------------------------------------------------------

    def _render(self) -> None:
        if self._staged is None:
            raise RuntimeError("the emulated camera was not told which exposure it takes")
        if self._faults.strikes("dark_frame"):
            self._frame.fill(0)
            return
        if self._faults.strikes("saturated_frame"):
            self._frame.fill((1 << self._emulation.sensor.bits) - 1)
            return
        exposure, state, plane = self._staged
        # Light goes through the sample whatever the stage says of itself.
        xy, core = self._instrument.devices.xy_stage, self._true_core
        x_um, y_um = self._mechanics.place_um(exposure, core.get_x_position(xy), core.get_y_position(xy))
        view = View(
            slide=exposure.slide,
            field=exposure.field,
            plane=plane,
            polarization=self._polarization(),
            x_um=x_um,
            y_um=y_um,
            z_um=self._mechanics.focal_plane_um(exposure, state, plane),
            attempt=exposure.attempt,
        )
        if self._faults.strikes("oil_lost"):
            self._oil = False
        if not self._lit() or self._faults.meets("lamp_off"):
            self._slide.dark(view, self._exposure_ms, self._frame)
            return
        slide = self._slide
        if self._faults.meets("blank"):
            slide = self._blank
        elif self._faults.meets("lamp_dim"):
            slide = self._dim
        immersion = Immersion(oil=self._oil, bubble=self._faults.meets("bubble"))
        slide.render(view, self._exposure_ms, self._frame, immersion)

    def _polarization(self) -> str:
        """Return the state that the polarizer truly has."""
        for state, preset in self._instrument.polarizations.items():
            if stands(self._core, preset.group, preset.preset):
                return state
        raise RuntimeError("the polarizer stands between its states")

    def _lit(self) -> bool:
        shutter = self._instrument.devices.shutter
        # An automatic shutter is open while a frame is exposed, and shut again when it is fetched.
        return shutter is None or self._core.get_shutter_open(shutter) or self._core.get_auto_shutter()

    def _keep_busy(self, label: str, milliseconds: float) -> None:
        self._busy_until_s[label] = self._clock.now() + self._paid(milliseconds / 1e3)

    def _paid(self, wait_s: float) -> float:
        """Length of a wait after what rendering took too long is taken off."""
        paid_s = min(self._owed_s, wait_s)
        self._owed_s -= paid_s
        return wait_s - paid_s

    def _prepare_devices(self) -> None:
        devices, core = self._instrument.devices, self._core
        height, width = self._instrument.frame_px
        own = {
            "BitDepth": str(self._emulation.sensor.bits),
            "OnCameraCCDXSize": str(width),
            "OnCameraCCDYSize": str(height),
        }
        try:
            for name, value in {**DEMO_CAMERA, **own}.items():
                core.set_property(devices.camera, name, value)
            core.set_camera_device(devices.camera)
            core.set_exposure(0.0)
        except RuntimeError as error:
            raise SettingRefused(
                f"instrument.hardware {str(self._instrument.hardware)!r} does not give the emulated microscope a "
                f"DemoCamera DCam ({error}); use configs/emulated.cfg"
            ) from error
