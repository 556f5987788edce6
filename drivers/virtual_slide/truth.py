"""What a virtual slide says of itself: the view it is asked for and the objects that are really there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """One frame's place: everything its pixels depend on, noise included.

    `z_um` is where the focal plane truly is (commanded z plus backlash, jitter and drift), in stage units.
    """

    slide: int
    field: int
    plane: int
    polarization: str
    x_um: float
    y_um: float
    z_um: float


@dataclass(frozen=True)
class TrueObject:
    """One object that lies, in part or whole, in a frame.

    Attributes
    ----------
    identifier : the same wherever the object is seen from.
    class_name : a detector class, or the kind of junk.
    junk : must not be detected.
    box : x0, y0, x1, y1 in px of the frame, half-open, clipped to it.
    x_um, y_um : centre, stage coordinates.
    z_um : height of its reference plane, stage units.
    size_um : length. thickness_um : mean thickness where it is not empty.
    touching : its box overlaps another object's.
    whole : lies wholly inside the frame.
    """

    identifier: str
    class_name: str
    junk: bool
    box: tuple[float, float, float, float]
    x_um: float
    y_um: float
    z_um: float
    size_um: float
    thickness_um: float
    touching: bool
    whole: bool
