"""The software that a night or a calibration is begun with."""

from __future__ import annotations

import platform
from importlib.metadata import version

from daemon.config.model import NightConfig
from daemon.system.errors import Refused
from drivers.backends import supplier_of
from drivers.errors import SettingRefused

BACK_END = "back-end"


def software_of(config: NightConfig) -> dict[str, str]:
    """Versions by name; where another package offers the back-end, which package, and what its files hold.

    Raises
    ------
    Refused
        The back-end is not there, or cannot be read.
    """
    versions = {"lamelle": version("lamelle"), "python": platform.python_version(), "system": platform.platform()}
    try:
        supplier = supplier_of(config.instrument.backend)
    except SettingRefused as error:
        raise Refused(str(error)) from error
    return versions if supplier is None else {**versions, BACK_END: str(supplier)}


def require_same_back_end(before: dict[str, str], now: dict[str, str], run: str) -> None:
    """Refuse to go on with a night through another back-end than the one it was begun with.

    Raises
    ------
    Refused
        The sentence names both.
    """
    one, other = before.get(BACK_END), now.get(BACK_END)
    if one != other:
        raise Refused(
            f"the back-end of the night in {run!r} was that of {one}, but now it is that of {other}; "
            "install the former again to resume that night, or give --run a new folder"
        )
