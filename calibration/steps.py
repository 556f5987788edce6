"""What a calibration routine asks of an instrument, and what it says in the end.

A routine is a generator: it yields shots, is sent what they showed, and returns an outcome. Whoever carries it out
moves and exposes; the routine only computes, so that it can be tried without an instrument. Stage coordinates are in
um, larger z brings the objective closer to the sample; exposures are in ms, intensities in DN.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.uint16]
"""Axes CZYX, intensities in DN."""


class NotUsable(Exception):
    """What was seen does not allow a calibration; the message says why and what to do."""


@dataclass(frozen=True)
class Shot:
    """Planes at `first_z_um + k * step_um` of one place, for every polarization in the order given.

    Attributes
    ----------
    x_um
        stage position of the frame's centre.
    y_um
        stage position of the frame's centre.
    step_um
        greater than 0, approached from below; less than 0, approached from above; 0 for one height again and again,
        approached from below once.
    polarizations
        along C of the answer.
    exposures_ms
        along C; None for those that the instrument's configuration names.
    lit
        whether the light is on.
    wait_s
        time that is let pass before the shot, the light left as it is.
    by_sequence
        whether the camera steps the focus drive, or each plane is commanded; as the configuration says if None.
    """

    x_um: float
    y_um: float
    first_z_um: float
    step_um: float
    planes: int
    polarizations: tuple[str, ...]
    exposures_ms: tuple[float, ...] | None = None
    lit: bool = True
    wait_s: float = 0.0
    by_sequence: bool | None = None


@dataclass(frozen=True, eq=False)
class ShotResult:
    """What a shot showed.

    Attributes
    ----------
    stack
        the frames, CZYX; valid until the next shot is yielded, so copy what is kept.
    x_um
        where the XY stage reads back that it stands.
    y_um
        where the XY stage reads back that it stands.
    monotonic_s
        when each frame was read, (C, Z).
    """

    stack: Stack
    x_um: float
    y_um: float
    monotonic_s: NDArray[np.float64]


class Quantity(NamedTuple):
    """A number with its standard uncertainty and unit."""

    value: float
    uncertainty: float
    unit: str


class Curve(NamedTuple):
    """Points of y over x for a picture, with their names and units as axis labels; `fit` is drawn as a line."""

    title: str
    x_label: str
    y_label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    fit: NDArray[np.float64] | None = None


class Map(NamedTuple):
    """An image (H, W) for a picture, with the unit of its values."""

    title: str
    unit: str
    values: NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a routine found.

    Attributes
    ----------
    values
        the numbers, by name.
    arrays
        what is kept at full size beside the record, by name, such as a flat field.
    pictures
        what a person looks at to believe it.
    residuals
        how far the data lie from what was fitted, by name; each with its own unit.
    """

    values: dict[str, Quantity]
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    pictures: tuple[Curve | Map, ...] = ()
    residuals: dict[str, Quantity] = field(default_factory=dict)


Routine = Generator[Shot, ShotResult, Outcome]
"""Raises `NotUsable` where no outcome can be had."""
