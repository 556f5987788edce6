"""What of the true objects of an emulated field lies in its frame, and which a person with a good eye would find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_slide.truth import Box, TrueObject

SLIVER_UM = 1.0
"""What is cut by the frame to less than this has not to be found."""
FAINTEST_CONTRAST_TO_NOISE = 1.5
"""Below it nothing is seen that a shape could be told by.

A detail is seen when its signal, summed over its area, is five times the noise (Rose 1948, J. Opt. Soc. Am. 38, 196).
The finest detail of NA 1.4 at 546 nm is 0.195 um wide, 3.3 px of 0.059 um: 5 / 3.3 a pixel.
"""


@dataclass(frozen=True, eq=False)
class Visible:
    """A true object in a frame.

    Attributes
    ----------
    outline
        (N, 2) x, y in px, of the part inside the frame.
    box
        x0, y0, x1, y1 around that part.
    to_be_found
        False for junk, slivers and what nobody could see; that is neither missed nor false when found.
    """

    true: TrueObject
    outline: NDArray[np.float64]
    box: Box
    to_be_found: bool


def visible(objects: Iterable[TrueObject], frame_px: tuple[int, int], pixel_um: float) -> list[Visible]:
    """Objects that have a part in the frame, (height, width) in px."""
    found = []
    for one in objects:
        outline = _clip(one.outline, frame_px)
        if len(outline) < 3:
            continue
        (x0, y0), (x1, y1) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
        sliver = not one.whole and min(x1 - x0, y1 - y0) * pixel_um < SLIVER_UM
        found.append(Visible(one, outline, (x0, y0, x1, y1), not (one.junk or sliver or is_hidden(one))))
    return found


def is_hidden(one: TrueObject) -> bool:
    """Whether nobody could be asked to see an object: it is too faint, or lost in what lies over it.

    Inside an aggregate opal is lost in its relief, and whether calcite shines through depends on what lies over it.
    """
    return one.clear_contrast_to_noise < FAINTEST_CONTRAST_TO_NOISE or one.buried


def _clip(outline: NDArray[np.float64], frame_px: tuple[int, int]) -> NDArray[np.float64]:
    """Cut a polygon at the four sides of the frame (Sutherland and Hodgman 1974, Commun. ACM 17, 32)."""
    height, width = frame_px
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        depth = sign * (outline[:, axis] - limit)
        after = np.roll(depth, -1)
        crossing = (depth >= 0) != (after >= 0)
        share = np.where(crossing, depth / np.where(crossing, depth - after, 1), 0)[:, None]
        cuts = outline + share * (np.roll(outline, -1, axis=0) - outline)
        pairs = np.stack([outline, cuts], axis=1).reshape(-1, 2)
        outline = pairs[np.stack([depth >= 0, crossing], axis=1).ravel()]
    return outline.clip(0, (width, height))
