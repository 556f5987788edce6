"""What a classifier looks at, and what it learns from. Arrays alone: nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import SpecimenRefused

CROSSED, PARALLEL, PICTURE = "crossed", "parallel", "picture"
STATES = frozenset({CROSSED, PARALLEL})
WHITES = (4095, 16383, 65535)
"""Largest values of cameras whose pixels need more than a byte: 12, 14 and 16 bits."""


@dataclass(frozen=True, eq=False)
class SpecimenStack:
    """One object, as it was seen.

    Attributes
    ----------
    stack
        uint16 CZYX: the object's crop.
    states
        along C: `crossed`, `parallel`, in whatever order; one of them; or (`picture`,) where there is only an image,
        of which nobody knows how it was lit.
    pixel_um
        size of a pixel on the sample; None if nobody knows.
    step_um
        from plane to plane; None if nobody knows, or there is one plane.
    focus_plane
        the object's own, fractional index into Z; None if nobody looked.
    length_um
        of the object; None if it was not measured.
    width_um
        the same.
    white_dn
        what a saturated pixel has: 4095 for 12 bits that lie in 16.

    Raises
    ------
    SpecimenRefused
        It is none.
    """

    stack: NDArray[np.uint16]
    states: tuple[str, ...]
    pixel_um: float | None = None
    step_um: float | None = None
    focus_plane: float | None = None
    length_um: float | None = None
    width_um: float | None = None
    white_dn: int = 65535

    def __post_init__(self) -> None:
        if self.stack.ndim != 4 or self.stack.dtype != np.uint16 or 0 in self.stack.shape:
            raise SpecimenRefused(
                f"a specimen of shape {self.stack.shape} and type {self.stack.dtype} is no stack; give uint16 with the "
                "axes CZYX, none of them empty"
            )
        if self.states != (PICTURE,) and (
            not STATES.issuperset(self.states) or len(set(self.states)) != len(self.states)
        ):
            raise SpecimenRefused(
                f"a specimen's states are {', '.join(self.states) or 'none'}; give crossed and parallel, one of "
                "them, or picture"
            )
        if len(self.states) != len(self.stack):
            raise SpecimenRefused(
                f"a specimen has {len(self.stack)} states along C, but {len(self.states)} are named "
                f"({', '.join(self.states)}); name each once"
            )
        for name in ("pixel_um", "step_um", "length_um", "width_um"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SpecimenRefused(f"a specimen's {name} is {value}; give a length above zero, or none")
        if self.focus_plane is not None and not math.isfinite(self.focus_plane):
            raise SpecimenRefused(f"a specimen's focus_plane is {self.focus_plane}; give a plane, or none")
        if not 0 < self.white_dn <= 65535:
            raise SpecimenRefused(
                f"a specimen's white_dn is {self.white_dn}; give 1 to 65535, such as 4095 for 12 bits"
            )

    @property
    def planes(self) -> int:
        """How many planes there are in each state."""
        return int(self.stack.shape[1])


@dataclass(frozen=True)
class Example:
    """One labelled specimen to learn from.

    Attributes
    ----------
    key
        of the object, unique in its library.
    sha256
        hex, of its pixels; two examples that have the same one are the same picture.
    taxon
        identifier of what a person called it.
    sample
        where it is from; what is alike in one sample, slide or day may not both teach and judge.
    slide
        on which it lay.
    day
        of its exposure.
    read
        gives the specimen; called again each time it is looked at.
    """

    key: str
    sha256: str
    taxon: str
    sample: str
    slide: str
    day: str
    read: Callable[[], SpecimenStack]


def picture(
    image: NDArray[np.generic],
    pixel_um: float | None = None,
    length_um: float | None = None,
    width_um: float | None = None,
    white_dn: int | None = None,
) -> SpecimenStack:
    """Take a single image as a specimen.

    Parameters
    ----------
    image
        uint8 or uint16, (H, W) grey, (H, W, 3) red, green, blue, or (H, W, 4) with opacity, which is left out.
    white_dn
        what a saturated pixel has; if None, 255 for bytes, else the least of a camera's that no pixel is above.

    Raises
    ------
    SpecimenRefused
        It is no image.
    """
    if image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3) or 0 in image.shape:
        raise SpecimenRefused(
            f"an image of shape {image.shape} and type {image.dtype} cannot be looked at; give 8 or 16 bits, "
            "grey or RGB"
        )
    grey = image
    if image.ndim == 3:
        if image.shape[2] not in (1, 3, 4):
            raise SpecimenRefused(f"an image of {image.shape[2]} channels cannot be looked at; give grey or RGB")
        colours = image[..., :3].astype(np.float32)
        # ITU-R BT.601, as every program turns colours into grey.
        weights = np.array([0.299, 0.587, 0.114] if colours.shape[2] == 3 else [1.0], np.float32)
        grey = np.rint(colours @ weights)
    if white_dn is None:
        most = int(grey.max())
        white_dn = 255 if image.dtype == np.uint8 else next(white for white in WHITES if most <= white)
    stack = np.ascontiguousarray(grey, np.uint16)[None, None]
    return SpecimenStack(stack, (PICTURE,), pixel_um, None, None, length_um, width_um, white_dn)
