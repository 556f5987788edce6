"""Opens the microscope that an instrument's settings describe."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.backends import open_equipment
from drivers.driving import DrivenMicroscope
from drivers.microscope import Microscope
from drivers.settings import Instrument, MiniSlide


def open_microscope(instrument: Instrument, slides: Sequence[MiniSlide]) -> Microscope:
    """Open the hardware behind `instrument.backend` and verify that the settings fit it; then `prepare` it.

    One microscope a process: the Python core of Micro-Manager is a singleton.

    Raises
    ------
    SettingRefused
        A setting does not fit the hardware; nothing has moved.
    """
    equipment = open_equipment(instrument, slides)
    try:
        return DrivenMicroscope(instrument, slides, equipment)
    except BaseException:
        equipment.close()
        raise
