"""What is verified of an instrument once its hardware is loaded, before it moves; each raises `SettingRefused`."""

from __future__ import annotations

from drivers.errors import SettingRefused, explaining
from drivers.micromanager.core import Core, preset_devices, versions
from drivers.microscope import Identity
from drivers.settings import Instrument


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


def verify_preset(core: Core, instrument: Instrument, state: str) -> tuple[str, ...]:
    """Labels of the devices that the preset of a polarization moves."""
    preset = instrument.polarizations[state]
    with explaining(f"preset {preset.group}/{preset.preset}"):
        if not core.is_config_defined(preset.group, preset.preset):
            raise SettingRefused(
                f"instrument.polarizations.{state} is {preset.group}/{preset.preset}, a preset that the hardware "
                "file does not define; give one that stands there"
            )
        return preset_devices(core, preset.group, preset.preset)


def longest_sequence(core: Core, instrument: Instrument) -> int:
    """Planes that one hardware z sequence may have; 0 where the stage knows none, or `motion.z_sequence` is off."""
    label = instrument.devices.focus
    with explaining(f"sequences of {label}"):
        if not instrument.motion.z_sequence or not core.is_stage_sequenceable(label):
            return 0
        return int(core.get_stage_sequence_max_length(label))


def verify_light(core: Core, instrument: Instrument) -> None:
    """Refuse lamp presets that do not exist; from now on only commands open the shutter."""
    for key in ("light_on", "light_off"):
        preset = getattr(instrument, key)
        if preset is not None and not core.is_config_defined(*preset):
            raise SettingRefused(f"instrument.{key} is {'/'.join(preset)}, which the hardware file does not define")
    with explaining("shutter"):
        core.set_auto_shutter(False)
