"""The one interface through which a night drives a microscope.

Units: stage coordinates in um, exposures in ms, times in s. Larger z brings the objective closer to the sample.
The centre of the frame lies at the stage position; column and row grow with stage x and y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.uint16]
"""A focus stack, axes CZYX, intensities in DN."""


@dataclass(frozen=True)
class Exposure:
    """Which exposure is commanded: the names a log line needs, and all that emulated chance depends on.

    Attributes
    ----------
    slide
        position of the mini-slide.
    field
        number on it.
    exposed
        how often the field was exposed before.
    attempt
        which attempt at the field it is part of, from 1: a field may be taken again.
    """

    slide: int
    field: int
    exposed: int = 0
    attempt: int = 1

    @property
    def names(self) -> tuple[int, ...]:
        """What emulated chance goes by: a further attempt meets another one."""
        return (self.slide, self.field) if self.attempt == 1 else (self.slide, self.field, self.attempt)


@dataclass(frozen=True)
class Sweep:
    """Planes at `first_z_um + k * step_um`, once for every polarization in the order given.

    Attributes
    ----------
    step_um
        greater than 0, approached from below; less than 0, approached from above; 0 for one height again and again,
        approached from below once.
    channels
        `channels[i]` is the index along C of a stack where the planes of `polarizations[i]` go.
    exposures_ms
        of each of `polarizations`; None for those of the settings. Whoever gives them judges the light: a frame that is
        saturated all over is then no fault.
    lit
        whether the light has to be on; without it a dark frame is no fault.
    by_sequence
        whether the camera steps the focus drive, or each plane is commanded; as the settings say if None.
    """

    first_z_um: float
    step_um: float
    planes: int
    polarizations: tuple[str, ...]
    channels: tuple[int, ...]
    exposures_ms: tuple[float, ...] | None = None
    lit: bool = True
    by_sequence: bool | None = None


@dataclass(frozen=True)
class Frame:
    """One plane that has landed in the buffer.

    `image_number` counts from 0 in every sweep, `z_um` is the commanded height, `monotonic_s` when the plane was read.
    """

    c: int
    z: int
    image_number: int
    z_um: float
    monotonic_s: float


@dataclass(frozen=True)
class Position:
    """Where the stages say they stand."""

    x_um: float
    y_um: float
    z_um: float


@dataclass(frozen=True)
class StateReading:
    """What the instrument read back once the planes of a polarization were exposed.

    Attributes
    ----------
    z_um
        where the focus drive stands after the last plane.
    exposure_ms
        as the camera reads it back; as commanded where it cannot be asked.
    """

    polarization: str
    x_um: float
    y_um: float
    z_um: float
    exposure_ms: float


@dataclass(frozen=True)
class ReplayedFile:
    """A file that a stack was read from: its name below the recording, and which stack of it, if it holds several."""

    name: str
    sha256: str
    stack: str = ""


@dataclass(frozen=True)
class Identity:
    """What the instrument says of itself, kept with the night.

    Attributes
    ----------
    notes
        what a person should know of it before the night, a sentence each.
    """

    backend: str
    camera: str
    frame_height_px: int
    frame_width_px: int
    bit_depth: int
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


class Microscope(Protocol):
    """A motorised microscope with a camera and switchable circular polarization.

    Every method returns only after the hardware has arrived and has been read back, or raises within its deadline.
    All commands are absolute, so all may be repeated. None is safe to call from two threads, but `make_safe`, which
    may be called at any time from any thread.
    """

    @property
    def identity(self) -> Identity:
        """What the instrument says of itself."""

    def prepare(self) -> None:
        """Do what takes time and must be done once before the first exposure; ends the halt of `make_safe`.

        Not done on opening, so that hardware which another process left as it was is made safe without delay.

        Raises
        ------
        SettingRefused
            A polarization preset cannot be set, or the camera does not take its exposure.
        """

    def open_slide(self, slide: int) -> None:
        """Make the z window of a slide the one that is enforced; withdraws the objective first when it changes.

        Ends the halt of `make_safe`.
        """

    def move(self, x_um: float, y_um: float) -> None:
        """Move the sample so that the stage position is the centre of the frame.

        Raises
        ------
        OutsideWindow
            It lies outside the travel or, unless the objective is withdrawn, off the open mini-slide.
        """

    def focus(self, z_um: float) -> None:
        """Bring the objective to `z_um`, arriving from below (anti-backlash approach)."""

    def polarize(self, state: str) -> None:
        """Switch to a named polarization state."""

    def light(self, on: bool) -> None:
        """Lamp and shutter: on for exposures, off while the night waits."""

    def expose_stack(
        self, exposure: Exposure, sweep: Sweep, into: Stack, announce: Callable[[Frame], None]
    ) -> tuple[StateReading, ...]:
        """Expose a sweep straight into `into` (CZYX), announcing every plane as it lands.

        The light must be on, or off, as the sweep says; after an exposure that failed it is commanded anew. `into` has
        as many planes as the sweep. After each polarization everything that can be is read back, which is returned in
        the order of the sweep.

        Raises
        ------
        FieldFault
            The stack is incomplete or wrong; `into` holds undefined planes and the sweep may be commanded again.
        OutsideWindow
            A plane, or an approach from above, lies outside the z window of the open slide; nothing was moved.
        SettingRefused
            It cannot be exposed by this microscope.
        HardwareLost
            The core no longer answers.
        """

    def position(self) -> Position:
        """Where the stages say they stand."""

    def withdraw(self) -> None:
        """Move the objective to its withdrawn height, and only then allow moves between slides."""

    def make_safe(self) -> bool:
        """Stop sequences, close the shutter, switch the lamp off, withdraw the objective; whether all of it was done.

        Never raises: it goes on to the next device and tells in the log what failed. Whatever another thread is
        commanding ends in a `FieldFault`, and so does every command that moves or lights until `open_slide`.
        """

    @property
    def sources(self) -> tuple[ReplayedFile, ...]:
        """Files that the last stack was read from; none where a camera exposed it."""

    @property
    def trouble(self) -> tuple[str, ...]:
        """What kept the last `make_safe` from its end, a sentence each."""

    def close(self) -> None:
        """Make safe and let go of the hardware; may be called again."""
