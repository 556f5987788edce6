"""What is verified of an instrument once its hardware is loaded, before it moves; each raises `SettingRefused`."""

from __future__ import annotations

from drivers.errors import SettingRefused, explaining
from drivers.micromanager.core import AWAY, Core, versions
from drivers.micromanager.presets import Preset
from drivers.microscope import Identity
from drivers.settings import Instrument

LIGHT_TOLERANCE = 0.01
"""Share by which a number of a preset of the light, such as its power, may read back otherwise."""


def verify_devices(core: Core, instrument: Instrument) -> None:
    """Refuse labels of devices that do not exist."""
    for role, label in instrument.devices.model_dump().items():
        if label is not None:
            try:
                core.get_device_name(label)
            except Exception as error:
                raise SettingRefused(
                    f"instrument.devices.{role} is {label!r}, which the hardware file does not define; "
                    "give the label that stands there"
                ) from error


def verify_focus(core: Core, instrument: Instrument) -> tuple[str, ...]:
    """Refuse a focus drive that would be withdrawn into the slide; what a person should know of it."""
    label = instrument.devices.focus
    with explaining(f"direction of {label}"):
        direction, is_offset = core.get_focus_direction(label), core.is_continuous_focus_drive(label)
    if is_offset:
        raise SettingRefused(
            f"instrument.devices.focus is {label!r}, the offset of a continuous focus; give the drive of the objective"
        )
    if direction < 0:
        raise SettingRefused(AWAY.format(label=label, where=" in Micro-Manager"))
    unknown = (
        f"Micro-Manager does not know whether larger z of {label} brings the objective closer to the sample, as it has "
        "to; prove it (lamelle calibrate z) and set the focus direction in the Hardware Configuration Wizard"
    )
    return () if direction else (unknown,)


def identify(core: Core, instrument: Instrument, notes: tuple[str, ...]) -> Identity:
    """Ask the instrument what it is; the camera must be a grey one."""
    devices = instrument.devices
    with explaining("asking the camera"):
        height, width = int(core.get_image_height()), int(core.get_image_width())
        depth, pixel_bytes = int(core.get_image_bit_depth()), int(core.get_bytes_per_pixel())
        channels = int(core.get_number_of_camera_channels())
        camera = f"{core.get_device_library(devices.camera)} {core.get_device_name(devices.camera)}"
        told = {**versions(), "core": core.get_version_info()}
    if pixel_bytes > 2:
        raise SettingRefused(
            f"the camera delivers {pixel_bytes} bytes a pixel; set it to a grey mode of 16 bit or less"
        )
    if channels > 1:
        raise SettingRefused(
            f"instrument.devices.camera is {devices.camera!r}, which delivers {channels} channels at once; "
            "give one of the cameras behind it"
        )
    if pixel_bytes == 1:
        notes = (*notes, "the camera delivers 8 bits a pixel, in which faint objects are lost; set it to 16 bit")
    return Identity(instrument.backend, camera, height, width, depth, told, notes)


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
    """Planes that one hardware z sequence may have; 0 where the stage knows none."""
    label = instrument.devices.focus
    with explaining(f"sequences of {label}"):
        if not core.is_stage_sequenceable(label):
            return 0
        return int(core.get_stage_sequence_max_length(label))


def verify_light(core: Core, instrument: Instrument) -> dict[bool, Preset]:
    """Refuse presets of the light that do not exist; whether the light is on, and the preset for it."""
    named = {True: ("light_on", instrument.light_on), False: ("light_off", instrument.light_off)}
    return {
        on: _defined(core, f"instrument.{key}", *preset, LIGHT_TOLERANCE)
        for on, (key, preset) in named.items()
        if preset is not None
    }
