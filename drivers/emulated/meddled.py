"""A core whose devices do not obey, and whose Micro-Manager is used by an operator meanwhile; on demand."""

from __future__ import annotations

from typing import Any

from drivers.emulated.faults import Faults
from drivers.micromanager.core import Core, preset_settings
from drivers.micromanager.presets import stands
from drivers.settings import FaultKind, Instrument

JOYSTICK_UM = 250.0
KNOB_UM = 4.0
"""How far a hand moves the stages."""


class MeddledCore:
    """The real core, but for the faults of devices and of operators.

    Parameters
    ----------
    core
        of demo devices.
    faults
        which of them are met when.
    """

    def __init__(self, core: Core, instrument: Instrument, faults: Faults) -> None:
        self._core = core
        self._instrument = instrument
        self._devices = instrument.devices
        self._faults = faults
        self._xy_held = self._shutter_held = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def snap_image(self) -> None:
        """Expose a frame, while somebody may lay hands on the instrument."""
        if self._faults.meets("core_lost"):
            raise ConnectionResetError("the core is gone")
        if self._faults.meets("camera_off"):
            raise RuntimeError(f'Error in device "{self._devices.camera}": not connected')
        self._meddle()
        self._core.snap_image()

    def _meddle(self) -> None:
        core, devices, strikes = self._core, self._devices, self._faults.strikes
        if strikes("joystick"):
            xy = devices.xy_stage
            core.set_xy_position(xy, core.get_x_position(xy) + JOYSTICK_UM, core.get_y_position(xy))
        if strikes("preset_changed"):
            for label, name, value in self._other_preset():
                core.set_property(label, name, value)
        if strikes("shutter_closed") and devices.shutter is not None:
            core.set_shutter_open(devices.shutter, False)
        if strikes("auto_shutter"):
            core.set_auto_shutter(True)

    def _other_preset(self) -> tuple[tuple[str, str, str], ...]:
        """Return what another polarization than the present one sets."""
        for preset in self._instrument.polarizations.values():
            if not stands(self._core, preset.group, preset.preset):
                return preset_settings(self._core, preset.group, preset.preset)
        return ()

    def turn_knob(self) -> bool:
        """Move the focus drive by hand once the last plane is exposed; before, it would be sent to the next one."""
        turned = self._faults.meets("focus_knob")
        if turned:
            self._core.set_position(self._devices.focus, self._core.get_position(self._devices.focus) - KNOB_UM)
        return turned

    def set_xy_position(self, label: str, x_um: float, y_um: float) -> None:
        """Send the XY stage to a position, unless it is stuck."""
        self._xy_held = self._faults.holds("xy_busy")
        if not self._faults.holds("xy_stuck"):
            self._core.set_xy_position(label, x_um, y_um)

    def get_x_position(self, label: str) -> float:
        """Ask the XY stage where it stands."""
        self._refuse_mute("xy_mute", label)
        return self._core.get_x_position(label)

    def get_position(self, label: str) -> float:
        """Ask the z stage where it stands."""
        self._refuse_mute("z_mute", label)
        return self._core.get_position(label)

    def _refuse_mute(self, kind: FaultKind, label: str) -> None:
        if self._faults.holds(kind):
            raise RuntimeError(f'Error in device "{label}": no answer at the serial port')

    def device_busy(self, label: str) -> bool:
        """Whether a device still moves."""
        if label == self._devices.xy_stage and self._xy_held:
            return True
        if label == self._devices.shutter and self._shutter_held:
            return True
        polarizers = label not in self._devices.model_dump().values()
        return (polarizers and self._faults.meets("polarizer_busy")) or self._core.device_busy(label)

    def set_config(self, group: str, preset: str) -> None:
        """Switch to a preset, unless somebody deleted it."""
        of_polarization = group in {one.group for one in self._instrument.polarizations.values()}
        if of_polarization and self._faults.meets("preset_deleted"):
            raise ValueError(f'Preset "{preset}" of group "{group}" does not exist')
        self._core.set_config(group, preset)

    def set_shutter_open(self, label: str, is_open: bool) -> None:
        """Open or close a shutter, unless it is stuck."""
        if label != self._devices.shutter:
            self._core.set_shutter_open(label, is_open)
            return
        self._shutter_held = self._faults.holds("shutter_busy")
        if not self._faults.lasts("shutter_closed" if is_open else "shutter_open"):
            self._core.set_shutter_open(label, is_open)

    def set_auto_shutter(self, on: bool) -> None:
        """Switch the automatic shutter, unless somebody holds it on."""
        if on or not self._faults.lasts("auto_shutter"):
            self._core.set_auto_shutter(on)

    def is_sequence_running(self) -> bool:
        """Whether the camera runs, for a live window perhaps."""
        return self._faults.holds("live_on") or self._core.is_sequence_running()

    def get_camera_device(self) -> str:
        """Label of the present camera."""
        return "Another camera" if self._faults.holds("camera_switched") else self._core.get_camera_device()

    def is_continuous_focus_enabled(self) -> bool:
        """Whether a device holds the focus, and so overrides z."""
        return self._faults.holds("focus_held")
