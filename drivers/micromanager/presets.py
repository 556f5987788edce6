"""Presets of the hardware file, compared property by property with what their devices read back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress

from drivers.micromanager.core import Core, Setting, preset_settings

ABSOLUTE_SHARE = 0.1
"""Numbers may be off by this share of the tolerance, in their own unit, where what is wanted is about 0."""


class Preset:
    """A preset that the core knows.

    Parameters
    ----------
    core
        that has it.
    tolerance
        share by which a number may read back otherwise.
    """

    def __init__(self, core: Core, group: str, preset: str, tolerance: float = 0.0) -> None:
        self._names = group, preset
        self._settings = preset_settings(core, group, preset)
        self._tolerance = tolerance

    def __str__(self) -> str:
        return "/".join(self._names)

    @property
    def devices(self) -> tuple[str, ...]:
        """Labels of the devices that it switches, each once."""
        return tuple(dict.fromkeys(setting.device for setting in self._settings))

    @property
    def settings(self) -> Sequence[Setting]:
        """What it sets."""
        return self._settings

    def set(self, core: Core) -> None:
        """Switch to it."""
        core.set_config(*self._names)

    def difference(self, core: Core) -> str | None:
        """Say what of it reads back otherwise; None where all is as it should be."""
        found = [
            f"{setting.device}-{setting.name} {read!r} instead of {setting.value!r}"
            for setting, read in self._read(core)
            if not alike(setting.value, read, self._tolerance)
        ]
        return " and ".join(found) or None

    def _read(self, core: Core) -> Iterator[tuple[Setting, str]]:
        # The last setting of a property is the one that counts.
        for setting in {(one.device, one.name): one for one in self._settings}.values():
            yield setting, str(core.get_property(setting.device, setting.name))


def stands(core: Core, group: str, preset: str) -> bool:
    """Whether a core's devices stand as a preset says, numbers compared as numbers."""
    return Preset(core, group, preset).difference(core) is None


def alike(wanted: str, read: str, tolerance: float) -> bool:
    """Whether a property reads back as it was set: whole numbers and strings exactly, other numbers within a share."""
    if wanted == read:
        return True
    with suppress(ValueError):
        return int(wanted) == int(read)
    with suppress(ValueError):
        return math.isclose(float(wanted), float(read), rel_tol=tolerance, abs_tol=ABSOLUTE_SHARE * tolerance)
    return False
