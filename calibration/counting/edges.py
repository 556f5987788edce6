"""Objects at the edge of the frame: how many there are for each that lies whole in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_SHARE = 1 / 3
"""Of a frame's side: what is larger is not to be counted whole, but by the feature that its taxon is counted by."""


def whole_weight(width: ArrayLike, height: ArrayLike, frame_width: float, frame_height: float) -> NDArray[np.float64]:
    """Give what an object that lies whole in the frame stands for, so that large ones are not missed for their size.

    A frame of W x H shows a box of w x h whole only if its corner lies in (W - w) (H - h); so each stands for
    W H / ((W - w) (H - h)).

    Parameters
    ----------
    width
        of the object's box, in the unit of the frame.
    height
        likewise.
    frame_width
        of the frame.
    frame_height
        likewise.

    Returns
    -------
    NDArray[np.float64]
        The weight; NaN of what is larger than `LARGEST_SHARE` of a side: it is counted by its feature, centre or ends,
        in the exclusive tile of its field, with weight 1.

    Notes
    -----
    R. E. Miles 1974, in Stochastic Geometry (Harding, Kendall), 228; the weighting of whole particles in a window.
    """
    w, h = np.asarray(width, np.float64), np.asarray(height, np.float64)
    fits = (w <= LARGEST_SHARE * frame_width) & (h <= LARGEST_SHARE * frame_height)
    room = np.where(fits, (frame_width - w) * (frame_height - h), np.nan)
    return frame_width * frame_height / room
