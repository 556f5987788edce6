"""Opens the microscope that an instrument's settings describe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from drivers.micromanager.core import (
    Sequencer,
    bridge_core,
    close_bridge_core,
    headless_core,
    java_sequence,
    list_sequence,
    release_headless_core,
)
from drivers.micromanager.microscope import MicroManager
from drivers.microscope import Microscope
from drivers.settings import Instrument, MiniSlide


def open_microscope(instrument: Instrument, slides: Sequence[MiniSlide]) -> Microscope:
    """Open the hardware behind `instrument.backend` and verify that the settings fit it; then `prepare` it.

    One microscope a process: the Python core of Micro-Manager is a singleton.

    Raises
    ------
    Refused
        A setting does not fit the hardware; nothing has moved.
    """
    release: Callable[[], None]
    sequence: Sequencer
    match instrument.backend:
        case "emulated":
            from drivers.emulated.core import open_emulated

            return open_emulated(instrument, slides)
        case "replay":
            from drivers.recorded.replay import open_replay

            return open_replay(instrument, slides)
        case "micromanager":
            core, release, sequence = headless_core(instrument), release_headless_core, list_sequence
        case "bridge":
            core, sequence = bridge_core(instrument), java_sequence(instrument.bridge_port)
            release = partial(close_bridge_core, core)
    try:
        return MicroManager(instrument, slides, core, release, sequence)
    except BaseException:
        release()
        raise
