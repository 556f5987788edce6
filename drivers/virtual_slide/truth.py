"""What a virtual slide says of itself: the view it is asked for and the objects that are really there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHOLE, MORE_THAN_HALF, LESS_THAN_HALF = "whole", "more than half", "less than half"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """One frame's place: everything its pixels depend on, noise included.

    `z_um` is where the focal plane truly is (commanded z plus backlash, jitter and drift), in stage units. `attempt` is
    that at the field: the same specimens are seen with other noise.
    """

    slide: int
    field: int
    plane: int
    polarization: str
    x_um: float
    y_um: float
    z_um: float
    attempt: int = 1

    @property
    def names(self) -> tuple[int | str, ...]:
        """What the chance of a frame goes by."""
        frame = (self.slide, self.field, self.polarization, self.plane)
        return frame if self.attempt == 1 else (*frame, self.attempt)


def completeness(remaining: float) -> str:
    """Say in words what share of an object's area is left."""
    if remaining >= 1:
        return WHOLE
    return MORE_THAN_HALF if remaining > 0.5 else LESS_THAN_HALF


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One object that lies, in part or whole, in a frame.

    Attributes
    ----------
    identifier
        the same wherever the object is seen from.
    kind
        what it is.
    class_name
        what the detector calls it, or the kind of junk.
    variant
        which body of its kind it is.
    taxon
        its identifier in the taxonomy; empty for junk.
    view
        what it turns to the eye: `face`, `side` (girdle view) or `oblique`.
    face
        which face that is, `outer` (distal) or `inner`; empty where it has none or shows its side.
    completeness
        `whole`, `more than half` or `less than half` of it.
    units
        valves, liths, skeletons that it consists of.
    angle
        its turn from x towards y, in rad.
    junk
        must not be detected.
    fragment
        broken.
    buried
        lies inside an aggregate.
    outline
        (N, 2) x, y in px of the frame, at its reference plane; not clipped.
    display_outline
        the same of what is in focus at its display plane.
    box
        x0, y0, x1, y1 around `outline` in px, half-open, clipped to the frame.
    display_box
        the same around `display_outline`.
    x_um
        centre, stage coordinates.
    y_um
        centre, stage coordinates.
    z_um
        height of its reference plane, stage units.
    display_z_um
        height of its display plane, stage units.
    depth_um
        heights of its lowest and highest matter, stage units.
    length_um
        greatest Feret diameter.
    width_um
        least Feret diameter.
    thickness_um
        mean, where there is matter.
    mass_pg
        of its calcite.
    visible_mass_pg
        what bidirectional circular polarization sees of it at best.
    touching
        its outline, made convex, overlaps that of another firm object.
    whole
        lies wholly inside the frame.
    contrast_to_noise
        root mean square of its signal over the noise of a pixel, in its best plane and polarization.
    clear_contrast_to_noise
        the same, of those polarizations only in which nothing three times as strong lies over half of it; 0 where there
        is none.
    """

    identifier: str
    kind: str
    variant: int
    taxon: str
    view: str
    face: str
    completeness: str
    units: int
    angle: float
    class_name: str
    junk: bool
    fragment: bool
    buried: bool
    outline: NDArray[np.float64]
    display_outline: NDArray[np.float64]
    box: Box
    display_box: Box
    x_um: float
    y_um: float
    z_um: float
    display_z_um: float
    depth_um: tuple[float, float]
    length_um: float
    width_um: float
    thickness_um: float
    mass_pg: float
    visible_mass_pg: float
    touching: bool
    whole: bool
    contrast_to_noise: float
    clear_contrast_to_noise: float
