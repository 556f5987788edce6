"""What a back-end offers: camera, stages, light and polarization, each of which obeys single commands.

lamelle does the rest around it (drivers/driving.py): limits and z windows, approaches against backlash, waiting and
reading back, the order of a sweep, judging frames, making safe. A back-end moves nothing unasked.

Units are those of drivers/microscope.py: um, ms, s; larger z brings the objective closer to the sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from drivers.microscope import Exposure, Identity, ReplayedFile, Sweep
from drivers.settings import Instrument, MiniSlide

PROTOCOL_VERSION = 1
"""Goes up whenever a back-end that was written for the version before would no longer work, or not safely."""

Image = NDArray[np.unsignedinteger[Any]]
"""A frame of the camera: rows and columns, or flat; unsigned integers of 16 bit at most."""


class Equipment(ABC):
    """Camera, stages, light and polarization of a microscope.

    A command may return before it is done, where `xy_busy`, `z_busy` or `switching` say so. Whatever it raises is told
    with what was being done: a `TimeoutError` as a device that was too late, a `ConnectionError` as hardware that is
    lost, anything else as a fault of the field. One thread commands; `stop`, `light` and `move_z` are called from
    another one too when the hardware has to be made safe while a call goes on.

    Attributes
    ----------
    xy_name
        what the XY stage is called in sentences.
    z_name
        what the focus drive is called in sentences.
    longest_sequence
        planes that one hardware-timed z sequence may have; 0 where there is none.
    recorded
        whether frames were recorded earlier, and so are not judged again.
    """

    xy_name: str = "the XY stage"
    z_name: str = "the z stage"
    longest_sequence: int = 0
    recorded: bool = False

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """What the instrument says of itself."""

    @abstractmethod
    def move_xy(self, x_um: float, y_um: float) -> None:
        """Send the XY stage to a position."""

    @abstractmethod
    def xy_um(self) -> tuple[float, float]:
        """Where the XY stage says it stands."""

    @abstractmethod
    def move_z(self, z_um: float) -> None:
        """Send the objective to a height."""

    @abstractmethod
    def z_um(self) -> float:
        """Where the objective says it stands."""

    @abstractmethod
    def polarize(self, state: str) -> None:
        """Switch to a polarization state, one of `instrument.polarizations`."""

    @abstractmethod
    def set_exposure(self, exposure_ms: float) -> None:
        """Set how long the camera exposes a frame."""

    @abstractmethod
    def light(self, on: bool) -> None:
        """Lamp and shutter. Where one of them fails to go off, the other does nevertheless."""

    @abstractmethod
    def snap(self) -> Image:
        """Expose one frame; it is copied before the next one is asked for."""

    @abstractmethod
    def stop(self) -> None:
        """Stop whatever camera and stages are doing; harmless when they do nothing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the hardware, which is safe already."""

    # What a back-end may leave out -----------------------------------------------------------------------------------

    def prepare(self) -> None:  # noqa: B027 - nothing to do is a fair answer
        """Do what takes time and must be done once before the first exposure."""

    def begin(self, exposure: Exposure, sweep: Sweep) -> None:  # noqa: B027
        """Take in which stack is exposed next, before anything is moved for it."""

    def stage(self, state: str, plane: int) -> None:  # noqa: B027
        """Take in which plane is exposed next, before anything is switched or moved for it."""

    def sources(self) -> tuple[ReplayedFile, ...]:
        """Files that the last stack was read from; none where a camera exposed it."""
        return ()

    def xy_busy(self) -> bool:
        """Whether the XY stage still moves."""
        return False

    def z_busy(self) -> bool:
        """Whether the objective still moves."""
        return False

    def switching(self) -> Sequence[str]:
        """Names of the devices that still switch the polarization."""
        return ()

    def polarization(self) -> str | None:
        """Polarization state that is read back, or what stands there instead; None where that cannot be."""
        return None

    def lights(self) -> Mapping[str, bool]:
        """Name of lamp and shutter, and whether they read back open; those that cannot be read back are left out."""
        return {}

    def lighting(self) -> Sequence[str]:
        """Names of the devices of the light that still switch."""
        return ()

    def exposure_ms(self) -> float | None:
        """Exposure that the camera reads back; None where it cannot be asked."""
        return None

    def frame_px(self) -> tuple[int, int] | None:
        """Rows and columns that the camera reads back; None where it cannot be asked."""
        return None

    def hindrance(self) -> str | None:
        """Say who else uses the instrument, such as a live window, and the remedy; None for nobody.

        Asked before each stack.
        """
        return None

    def stop_stages(self) -> None:  # noqa: B027
        """Stop stages that move, where they can be stopped."""

    def beside(self) -> Equipment:
        """Return another way to the same hardware, to make it safe while a call hangs; itself where there is none."""
        return self

    # Hardware-timed z sequences, where `longest_sequence` is more than 0 ----------------------------------------------

    def start_sequence(self, heights_um: Sequence[float]) -> None:
        """Let the camera step the objective through heights, a frame at each."""
        raise NotImplementedError(f"{type(self).__name__} has a longest_sequence, but no start_sequence")

    def frames_waiting(self) -> int:
        """Frames of the sequence that have arrived and were not taken."""
        raise NotImplementedError(f"{type(self).__name__} has a longest_sequence, but no frames_waiting")

    def take_frame(self) -> tuple[Image, int]:
        """Take the next frame that has arrived, and its number, which the camera counts from 0 in every sequence."""
        raise NotImplementedError(f"{type(self).__name__} has a longest_sequence, but no take_frame")

    def overflowed(self) -> bool:
        """Whether frames were lost because they were not taken in time."""
        return False


def _accept(_instrument: Instrument, _planes: int, _fields: int) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class BackEnd:
    """How a name in `instrument.backend` becomes equipment.

    Attributes
    ----------
    protocol
        the `PROTOCOL_VERSION` that it was written for: a number of its own, not the constant.
    open
        connects to the hardware, moving nothing. It gets the instrument, the mini-slides, and `instrument.options` as
        a value of `options`, None where it has none; it raises `SettingRefused` where a setting does not fit.
    options
        model of `instrument.options`; None where there are none.
    check
        raises `SettingRefused` for what cannot work, without touching hardware, and may return what a person should
        know, a sentence each; gets the instrument, the planes of a sweep and the fields of a mini-slide.
    hardware
        whether it drives hardware, which only one program at a time may do; one that does not is its program's own.
    """

    protocol: int
    open: Callable[[Instrument, Sequence[MiniSlide], Any], Equipment]
    options: type[BaseModel] | None = None
    check: Callable[[Instrument, int, int], Sequence[str] | None] = _accept
    hardware: bool = True
