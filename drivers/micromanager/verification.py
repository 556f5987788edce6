"""What is verified of an instrument once its hardware is loaded, before it moves; each raises `SettingRefused`."""

from __future__ import annotations

from drivers.errors import SettingRefused, explaining
from drivers.micromanager.core import Core, versions
from drivers.micromanager.presets import Preset
from drivers.microscope import Identity
from drivers.settings import Instrument

LIGHT_TOLERANCE = 0.01
"""Share by which a number of a preset of the light, such as its power, may read back otherwise."""


def identify(core: Core, instrument: Instrument) -> Identity:
    """Ask the instrument what it is; every label of a device must exist, and the camera be a grey one."""
    devices = instrument.devices
    for role, label in devices.model_dump().items():
        if label is not None:
            try:
                core.get_device_name(label)
            except Exception as error:
                raise SettingRefused(
                    f"instrument.devices.{role} is {label!r}, which the hardware file does not define; "
                    "give the label that stands there"
                ) from error
    with explaining("asking the camera"):
        core.set_camera_device(devices.camera)
        height, width = int(core.get_image_height()), int(core.get_image_width())
        depth, pixel_bytes = int(core.get_image_bit_depth()), int(core.get_bytes_per_pixel())
        camera = f"{core.get_device_library(devices.camera)} {core.get_device_name(devices.camera)}"
        told = {**versions(), "core": core.get_version_info()}
    if pixel_bytes > 2:
        raise SettingRefused(
            f"the camera delivers {pixel_bytes} bytes a pixel; set it to a grey mode of 16 bit or less"
        )
    return Identity(instrument.backend, camera, height, width, depth, told)


def verify_preset(core: Core, instrument: Instrument, state: str) -> Preset:
    """Refuse a preset of a polarization that does not exist."""
    preset = instrument.polarizations[state]
    return _defined(core, f"instrument.polarizations.{state}", preset.group, preset.preset, preset.tolerance)


def _defined(core: Core, key: str, group: str, preset: str, tolerance: float = 0.0) -> Preset:
    with explaining(f"preset {group}/{preset}"):
        if not core.is_config_defined(group, preset):
            raise SettingRefused(
                f"{key} is {group}/{preset}, a preset that the hardware file does not define; "
                "give one that stands there"
            )
        return Preset(core, group, preset, tolerance)


def longest_sequence(core: Core, instrument: Instrument) -> int:
    """Planes that one hardware z sequence may have; 0 where the stage knows none, or `motion.z_sequence` is off."""
    label = instrument.devices.focus
    with explaining(f"sequences of {label}"):
        if not instrument.motion.z_sequence or not core.is_stage_sequenceable(label):
            return 0
        return int(core.get_stage_sequence_max_length(label))


def verify_light(core: Core, instrument: Instrument) -> dict[bool, Preset]:
    """Refuse presets of the light that do not exist; whether the light is on, and the preset for it.

    From now on only commands open the shutter.
    """
    named = {True: ("light_on", instrument.light_on), False: ("light_off", instrument.light_off)}
    presets = {
        on: _defined(core, f"instrument.{key}", *preset, LIGHT_TOLERANCE)
        for on, (key, preset) in named.items()
        if preset is not None
    }
    with explaining("shutter"):
        core.set_auto_shutter(False)
    return presets
