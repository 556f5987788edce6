"""A Micro-Manager hardware file (.cfg), read without touching hardware."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivers.errors import SettingRefused
from drivers.micromanager.core import AWAY, Setting
from drivers.micromanager.handshake import check_running
from drivers.micromanager.hardware_text import text_of
from drivers.settings import Instrument
from drivers.texts import plain

CORE = "Core"


@dataclass(frozen=True)
class HardwareFile:
    """What a hardware file defines.

    Attributes
    ----------
    devices
        adapter library and device name of each label.
    labels
        names of the states of each device that has any.
    presets
        settings of each (group, preset).
    directions
        focus direction of each stage that has one: -1 where larger z leads away from the sample.
    """

    path: Path
    devices: Mapping[str, tuple[str, str]]
    labels: Mapping[str, frozenset[str]]
    presets: Mapping[tuple[str, str], tuple[Setting, ...]]
    directions: Mapping[str, str]

    def check(self, instrument: Instrument) -> None:
        """Refuse devices and presets of an instrument that the file does not define.

        Raises
        ------
        Refused
            With key, value and remedy.
        """
        for role, label in instrument.devices.model_dump().items():
            if label is not None and label not in self.devices:
                raise SettingRefused(
                    f"instrument.devices.{role} is {label!r}, which {self.path.name} does not define; "
                    f"give one of {', '.join(sorted(self.devices))}"
                )
        if self.directions.get(instrument.devices.focus) == "-1":
            raise SettingRefused(AWAY.format(label=instrument.devices.focus, where=f" in {self.path.name}"))
        for state, polarization in instrument.polarizations.items():
            self._check_preset(f"instrument.polarizations.{state}", polarization.group, polarization.preset)
        for key, preset in (("light_on", instrument.light_on), ("light_off", instrument.light_off)):
            if preset is not None:
                self._check_preset(f"instrument.{key}", *preset)

    def spelled(self, instrument: Instrument) -> Instrument:
        """Return the instrument with its presets named letter by letter as here, where a core looks for them."""
        states = instrument.polarizations.items()
        named = {state: self._find(one.group, one.preset) or (one.group, one.preset) for state, one in states}
        return instrument.model_copy(
            update={
                "polarizations": {
                    state: one.model_copy(update=dict(zip(("group", "preset"), named[state], strict=True)))
                    for state, one in states
                },
                **{
                    key: self._find(*preset) or preset
                    for key, preset in (("light_on", instrument.light_on), ("light_off", instrument.light_off))
                    if preset is not None
                },
            }
        )

    def _find(self, group: str, preset: str) -> tuple[str, str] | None:
        """Find a preset by its name, or by one that reads the same."""
        if (group, preset) in self.presets:
            return group, preset
        wanted = plain(group), plain(preset)
        found = [names for names in self.presets if tuple(map(plain, names)) == wanted]
        return found[0] if len(found) == 1 else None

    def _check_preset(self, key: str, group: str, preset: str) -> None:
        names = self._find(group, preset)
        if names is None:
            defined = ", ".join(sorted("/".join(names) for names in self.presets)) or "none"
            raise SettingRefused(
                f"{key} is {group}/{preset}, a preset that {self.path.name} does not define; it defines {defined}"
            )
        for device, name, value in self.presets[names]:
            if device != CORE and device not in self.devices:
                raise SettingRefused(
                    f"{key} is {group}/{preset}, which sets the device {device!r} that {self.path.name} does not "
                    "define; correct the preset"
                )
            known = self.labels.get(device)
            if name == "Label" and known and value not in known:
                raise SettingRefused(
                    f"{key} is {group}/{preset}, which sets {device} to {value!r}, but its labels in {self.path.name} "
                    f"are {', '.join(sorted(known))}; correct the preset or the labels"
                )


def read_hardware_file(path: Path) -> HardwareFile:
    """Read a hardware file.

    Raises
    ------
    Refused
        It is missing or a line of it cannot be understood.
    """
    lines = text_of(path).text.splitlines()
    devices: dict[str, tuple[str, str]] = {}
    labels: dict[str, set[str]] = defaultdict(set)
    presets: dict[tuple[str, str], list[Setting]] = defaultdict(list)
    directions: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # A value may be empty or hold commas of its own, so only the leading fields are split off.
        match line.rstrip("\r\n").split(","):
            case ["Device", label, library, name]:
                devices[label] = (library, name)
            case ["Label", device, _, *name] if name:
                labels[device].add(",".join(name))
            case ["FocusDirection", label, direction]:
                directions[label] = direction.strip()
            case ["ConfigGroup", group, preset, device, name, *value]:
                presets[group, preset].append(Setting(device, name, ",".join(value)))
            case ["Device" | "Label", *_]:
                raise SettingRefused(
                    f"line {number} of instrument.hardware {str(path)!r} is {line!r}, which is not a Micro-Manager "
                    "setting; correct it"
                )
    return HardwareFile(
        path,
        devices,
        {device: frozenset(names) for device, names in labels.items()},
        {names: tuple(settings) for names, settings in presets.items()},
        directions,
    )


def as_spelled(instrument: Instrument) -> Instrument:
    """Return an instrument whose presets are named letter by letter as in its hardware file, which a core goes by."""
    return instrument if instrument.hardware is None else read_hardware_file(instrument.hardware).spelled(instrument)


def check_hardware_file(instrument: Instrument) -> None:
    """Refuse what the hardware file, or the running Micro-Manager, does not define, without touching hardware.

    A running Micro-Manager has loaded a hardware file of its own: it is asked where it answers.

    Raises
    ------
    SettingRefused
        It says what does not fit.
    """
    if instrument.adapters is not None and not instrument.adapters.is_dir():
        raise SettingRefused(
            f"instrument.adapters is {str(instrument.adapters)!r}, which is not a folder; correct the path"
        )
    if instrument.backend == "micromanager" and instrument.adapters is None and sys.platform == "linux":
        raise SettingRefused(
            "instrument.adapters is missing, and on Linux there is no usual place for them; name the folder of "
            "Micro-Manager's device adapters"
        )
    if instrument.backend == "bridge":
        check_running(instrument)
    elif instrument.hardware is not None:
        read_hardware_file(instrument.hardware).check(instrument)
    else:
        raise SettingRefused(
            f"instrument.hardware is missing, but instrument.backend is {instrument.backend!r}; "
            "name a Micro-Manager hardware file"
        )
