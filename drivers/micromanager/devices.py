"""The devices of a Micro-Manager core as equipment: the Python core of this process, or a running Micro-Manager."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial

import numpy as np

from drivers.equipment import Equipment, Image
from drivers.errors import explaining
from drivers.micromanager.core import (
    BridgeDialect,
    Core,
    Dialect,
    HeadlessDialect,
    bridge_core,
    close_bridge_core,
    headless_core,
    release_headless_core,
)
from drivers.micromanager.frame_numbers import FrameNumbers
from drivers.micromanager.hardware_file import as_spelled
from drivers.micromanager.takeover import Takeover
from drivers.micromanager.verification import (
    identify,
    longest_sequence,
    verify_devices,
    verify_focus,
    verify_light,
    verify_preset,
)
from drivers.microscope import Identity
from drivers.safety import attempt
from drivers.settings import Instrument

_log = logging.getLogger(__name__)


class MicroManager(Equipment):
    """The devices that the settings name, behind a Micro-Manager core.

    Parameters
    ----------
    instrument
        labels of the devices, presets of light and polarization.
    core
        the portable subset of a Micro-Manager core, its hardware file loaded.
    release
        lets go of the core when the equipment is closed.
    dialect
        what the core says differently; that of a core in this process if None.
    spare
        another way to the same core, which answers while a call to the first one hangs.

    Raises
    ------
    SettingRefused
        A device or preset of the settings is not what the core has.
    """

    def __init__(
        self,
        instrument: Instrument,
        core: Core,
        release: Callable[[], None],
        dialect: Dialect | None = None,
        spare: Core | None = None,
    ) -> None:
        self._instrument = instrument
        self._devices = instrument.devices
        self._core = core
        self._release = release
        self._dialect = dialect or HeadlessDialect()
        self._numbers = FrameNumbers()
        self._exposure_ms = 0.0
        self._spare = spare
        verify_devices(core, instrument)
        self._presets = {state: verify_preset(core, instrument, state) for state in instrument.polarizations}
        self._light_presets = verify_light(core, instrument)
        notes = verify_focus(core, instrument)
        with explaining("taking the instrument over"):
            self._takeover = Takeover(core, instrument, self._presets.values())
        if self._takeover.held_focus:
            notes = (*notes, "continuous focus was on, which overrides z; it is switched off")
        try:
            self._identity = identify(core, instrument, notes)
        except BaseException:
            self._takeover.give_back()
            raise
        self._state = next(iter(instrument.polarizations))
        self._lit = False
        self.xy_name, self.z_name = self._devices.xy_stage, self._devices.focus
        self.longest_sequence = longest_sequence(core, instrument)

    @property
    def identity(self) -> Identity:
        """What the instrument says of itself."""
        return self._identity

    def move_xy(self, x_um: float, y_um: float) -> None:
        """Send the XY stage to a position."""
        self._core.set_xy_position(self._devices.xy_stage, x_um, y_um)

    def xy_um(self) -> tuple[float, float]:
        """Where the XY stage says it stands."""
        label = self._devices.xy_stage
        return self._core.get_x_position(label), self._core.get_y_position(label)

    def xy_busy(self) -> bool:
        """Whether the XY stage still moves."""
        return self._core.device_busy(self._devices.xy_stage)

    def move_z(self, z_um: float) -> None:
        """Send the objective to a height."""
        self._core.set_position(self._devices.focus, z_um)

    def z_um(self) -> float:
        """Where the objective says it stands."""
        return self._core.get_position(self._devices.focus)

    def z_busy(self) -> bool:
        """Whether the objective still moves."""
        return self._core.device_busy(self._devices.focus)

    def polarize(self, state: str) -> None:
        """Switch to the preset of a polarization state."""
        self._state = state
        self._presets[state].set(self._core)

    def switching(self) -> tuple[str, ...]:
        """Labels of the devices that still switch the polarization."""
        return tuple(label for label in self._presets[self._state].devices if self._core.device_busy(label))

    def polarization(self) -> str:
        """State that was switched to, where every property of its preset reads back; else what does not."""
        return self._presets[self._state].difference(self._core) or self._state

    def set_exposure(self, exposure_ms: float) -> None:
        """Set how long the camera exposes a frame."""
        self._exposure_ms = exposure_ms
        self._core.set_exposure(exposure_ms)

    def exposure_ms(self) -> float:
        """Exposure that the camera reads back."""
        return float(self._core.get_exposure())

    def frame_px(self) -> tuple[int, int]:
        """Rows and columns of the camera's region of interest."""
        return int(self._core.get_image_height()), int(self._core.get_image_width())

    def hindrance(self) -> str | None:
        """Say so where the camera is running already, is another one, or where a device holds the focus."""
        if self._core.is_sequence_running():
            return "the camera is running already; stop live, or the acquisition, in Micro-Manager"
        camera = self._core.get_camera_device()
        if camera != self._devices.camera:
            return f"Micro-Manager's camera is {camera!r} instead of {self._devices.camera!r}; set it back there"
        if self._core.is_continuous_focus_enabled():
            return "continuous focus is on, which overrides z; switch it off in Micro-Manager or at the device"
        return None

    def light(self, on: bool) -> None:
        """Preset of the light, lamp and shutter; what fails to go off keeps nothing else from it.

        Micro-Manager's automatic shutter, which closes it after each frame, is switched off every time: an operator
        may have switched it on.
        """
        self._lit, core = on, self._core
        steps = [partial(core.set_shutter_open, label, on) for label in self._shutters()]
        if (preset := self._light_presets.get(on)) is not None:
            steps.insert(0, partial(preset.set, core))
        steps.insert(0, partial(core.set_auto_shutter, False))
        if on:
            for step in steps:
                step()
        else:
            _all_of(*steps)

    def lights(self) -> Mapping[str, bool]:
        """Lamp, shutter and the preset of the light, and whether they are open."""
        found = {label: self._core.get_shutter_open(label) for label in self._shutters()}
        preset = self._light_presets.get(self._lit)
        if preset is not None:
            difference = preset.difference(self._core)
            name = str(preset) if difference is None else f"{preset} ({difference})"
            found[name] = self._lit == (difference is None)
        return found

    def lighting(self) -> Sequence[str]:
        """Labels of lamp, shutter and whatever the preset of the light moves that still switch."""
        preset = self._light_presets.get(self._lit)
        labels = dict.fromkeys((*self._shutters(), *(() if preset is None else preset.devices)))
        return tuple(label for label in labels if self._core.device_busy(label))

    def _shutters(self) -> list[str]:
        return [label for label in (self._devices.lamp, self._devices.shutter) if label is not None]

    def snap(self) -> Image:
        """Expose one frame."""
        self._core.snap_image()
        image: Image = np.asarray(self._core.get_image())
        return image

    def start_sequence(self, heights_um: Sequence[float]) -> None:
        """Let the camera step the stage through a sequence that is loaded beforehand."""
        label, core = self._devices.focus, self._core
        core.load_stage_sequence(label, self._dialect.sequence(heights_um))
        self._numbers.begin(len(heights_um), self._exposure_ms)
        core.clear_circular_buffer()
        core.start_stage_sequence(label)
        core.start_sequence_acquisition(len(heights_um), 0.0, True)

    def frames_waiting(self) -> int:
        """Frames in the circular buffer."""
        return self._core.get_remaining_image_count()

    def take_frame(self) -> tuple[Image, int]:
        """Take the oldest frame out of the circular buffer, and its number."""
        image, tags = self._dialect.take(self._core, self._numbers.wants_tags)
        return np.asarray(image), self._numbers.number(tags)

    def overflowed(self) -> bool:
        """Whether the circular buffer was too small."""
        return self._core.is_buffer_overflowed()

    def stop(self) -> None:
        """Stop the sequences of camera and stage."""
        _all_of(self._stop_camera, self._stop_stage)

    def _stop_camera(self) -> None:
        if self._core.is_sequence_running():
            self._core.stop_sequence_acquisition()

    def _stop_stage(self) -> None:
        if self.longest_sequence:
            self._core.stop_stage_sequence(self._devices.focus)

    def stop_stages(self) -> None:
        """Stop the stages; many adapters of focus drives cannot."""
        for label in (self._devices.xy_stage, self._devices.focus):
            try:
                self._core.stop(label)
            except Exception as error:  # noqa: BLE001 - whatever a core raises, where it stands is read back
                _log.debug("%s cannot be stopped: %s", label, error)

    def beside(self) -> Equipment:
        """Return the devices behind the spare core, which answers while a call to the other one hangs."""
        if self._spare is None:
            return self
        beside = copy(self)
        beside._core = self._spare
        return beside

    def close(self) -> None:
        """Give the operator back what was set before, and let go of the core."""
        attempt(self._takeover.give_back)
        self._release()


def _all_of(*steps: Callable[[], None]) -> None:
    """Take every step, in this order, whatever becomes of those before it; raises what one of them raised."""
    with ExitStack() as every:
        for step in reversed(steps):
            every.callback(step)


def open_headless(instrument: Instrument) -> MicroManager:
    """Load the hardware file into the Python core of this process.

    Raises
    ------
    SettingRefused
        It does not load, or is not what the settings say.
    """
    with _closing_if_refused() as connections:
        core = headless_core(instrument)
        connections.callback(release_headless_core)
        return MicroManager(as_spelled(instrument), core, connections.close)


def open_bridge(instrument: Instrument, made: Callable[..., MicroManager] | None = None) -> MicroManager:
    """Connect to a running Micro-Manager; see `open_headless`. `made` makes the devices, if they are special ones."""
    with _closing_if_refused() as connections:
        core = bridge_core(instrument)
        connections.callback(close_bridge_core, core)
        # A call that hangs blocks its socket, and making safe must not wait for it.
        spare = bridge_core(instrument, beside=True)
        connections.callback(close_bridge_core, spare)
        dialect = BridgeDialect(instrument.bridge_port)
        connections.callback(dialect.close)
        return (made or MicroManager)(instrument, core, connections.close, dialect, spare)


@contextmanager
def _closing_if_refused() -> Iterator[ExitStack]:
    connections = ExitStack()
    try:
        yield connections
    except BaseException:
        connections.close()
        raise
