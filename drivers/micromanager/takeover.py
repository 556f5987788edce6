"""What an operator had set in a running Micro-Manager, and gets back when the night is over."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from drivers.errors import SettingRefused, said_by
from drivers.micromanager.core import Core
from drivers.micromanager.presets import Preset
from drivers.safety import attempt
from drivers.settings import Instrument
from drivers.waiting import Clock

IDLE_S = 3.0
"""A sequence of an earlier process of this program ends within so long; a live window does not."""

_log = logging.getLogger(__name__)


class Takeover:
    """Takes the camera, the automatic shutter and the focus over from whoever used Micro-Manager last.

    Parameters
    ----------
    core
        of which nothing but these is changed.
    presets
        of the polarizations, whose properties are set back too.

    Raises
    ------
    SettingRefused
        The camera is in use, or continuous focus cannot be switched off.
    """

    def __init__(self, core: Core, instrument: Instrument, presets: Iterable[Preset]) -> None:
        if not Clock().wait(lambda: not core.is_sequence_running(), IDLE_S):
            raise SettingRefused("the camera is running already; stop live, or the acquisition, in Micro-Manager")
        _enlarge_buffer(core, instrument.buffer_mb)
        self._core = core
        self._camera = core.get_camera_device()
        self._auto_shutter = core.get_auto_shutter()
        self._exposure_ms = core.get_exposure() if self._camera else None
        self._properties = {
            (setting.device, setting.name): str(core.get_property(setting.device, setting.name))
            for preset in presets
            for setting in preset.settings
        }
        self.held_focus = core.is_continuous_focus_enabled()
        if self._camera != instrument.devices.camera:
            core.set_camera_device(instrument.devices.camera)
        core.set_auto_shutter(False)
        if self.held_focus:
            core.enable_continuous_focus(False)
            if core.is_continuous_focus_enabled():
                self.give_back()
                raise SettingRefused(
                    "continuous focus is on and cannot be switched off, but it overrides z; switch it off at the device"
                )

    def give_back(self) -> None:
        """Set back what was changed, once the hardware is safe; what does not go back is told in the log."""
        core = self._core
        steps = [partial(self._set_back, *names, value) for names, value in self._properties.items()]
        if self._camera:
            steps.append(partial(core.set_camera_device, self._camera))
        if self._exposure_ms:
            steps.append(partial(core.set_exposure, self._exposure_ms))
        steps.append(partial(core.set_auto_shutter, self._auto_shutter))
        if self.held_focus:
            _log.warning("continuous focus was on before the night and stays off: the objective is withdrawn")
        attempt(*steps)

    def _set_back(self, device: str, name: str, value: str) -> None:
        if str(self._core.get_property(device, name)) != value:
            self._core.set_property(device, name, value)


def _enlarge_buffer(core: Core, megabytes: int) -> None:
    if core.get_circular_buffer_memory_footprint() >= megabytes:
        return
    try:
        core.set_circular_buffer_memory_footprint(megabytes)
    except Exception as error:
        raise SettingRefused(
            f"instrument.buffer_mb is {megabytes}, which Micro-Manager cannot reserve ({said_by(error)}); make it "
            "smaller"
        ) from error
