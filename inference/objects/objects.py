"""What inference returns: objects cut out of a stack. Pixels are zero-based, boxes half-open x0, y0, x1, y1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FoundObject:
    """A detection with its crop.

    Attributes
    ----------
    box
        detection in the frame, px.
    crop_box
        what was cut out, the box with its margin clipped to the frame, px.
    class_name
        as the detector names it.
    score
        of the detector, between 0 and 1.
    below_threshold
        kept, but not counted as found.
    best_plane
        plane of best focus, fractional, from a parabola through the best three planes.
    best_plane_at_edge
        the best plane is the first or the last one, so focus may lie outside the stack.
    sharpness
        Laplacian-of-Gaussian energy of each plane inside the box, shape (Z,).
    touches_edge
        the box touches the frame's edge; the object may be cut.
    crop
        uint16 CZYX, the full stack inside `crop_box`.
    fused
        uint16 CYX, each pixel from its sharpest plane; the same plane index for all polarizations.
    fault
        the error that kept it from being looked at; then the middle plane stands for best plane and fused crop.
    """

    box: Box
    crop_box: Box
    class_name: str
    score: float
    below_threshold: bool
    best_plane: float
    best_plane_at_edge: bool
    sharpness: NDArray[np.float32]
    touches_edge: bool
    crop: NDArray[np.uint16]
    fused: NDArray[np.uint16]
    fault: str | None = None


@dataclass(frozen=True)
class StackFocus:
    """Where a stack as a whole is sharpest.

    `best_plane` is None for a blank field, whose planes do not differ. `contrast` is the sharpness of the best plane
    over that of the median plane.
    """

    best_plane: float | None
    at_edge: bool
    contrast: float
    sharpness: NDArray[np.float32]


@dataclass(frozen=True)
class StackAnalysis:
    """All that inference says of one stack.

    `backgrounds_dn` is the median intensity of each polarization, `overview` uint8 YXC (RGB), a fused view for people.
    `fused` is that view of each polarization at the network's scale: uint16 CYX, DN, without the fixed pattern where
    that is known, each pixel from its sharpest plane, whose number is in `taken_from`, YX.
    """

    objects: tuple[FoundObject, ...]
    focus: StackFocus
    backgrounds_dn: tuple[float, ...]
    overview: NDArray[np.uint8]
    fused: NDArray[np.uint16]
    taken_from: NDArray[np.intp]
    seconds: dict[str, float]
