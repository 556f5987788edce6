"""The picture that is kept of every field: its fused view, each polarization in grey, side by side.

What it shows of a polarization is `width / states` wide, so that a box of the frame lies at `(width / states) / frame
width` of its pixels, in the first state; in the next one that much farther right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.analysis.previews import jpeg, stretched, within
from daemon.dataset.field_file import FieldProvenance
from daemon.system import crash_points
from inference.settings import FocusSettings
from inference.views.channels import CROSSED, Scale

States = NDArray[np.uint16]
"""CYX: an image of each polarization."""

MOST_BYTES = 300_000
QUALITIES = (85, 70, 55)
LONGEST_PX = 8192
"""Of each state; JPEG itself ends at 65535 for all of them."""

_log = logging.getLogger(__name__)


class PictureDrawer:
    """Draws a field's picture; the first one that cannot be drawn is told in the log, and no other."""

    def __init__(self) -> None:
        self._told = False

    def draw(self, provenance: FieldProvenance, states: Callable[[], States]) -> bytes | None:
        """Draw what `states` gives of a field; None where that raises an error: a picture costs no field."""
        slide, field = provenance.slide, provenance.field
        try:
            crash_points.reach("drawing", slide, field)
            return draw_picture(states(), provenance.polarizations)
        except Exception:  # noqa: BLE001 - whatever it is, it is told, and the field stands
            if not self._told:
                self._told = True
                _log.exception("slide %d field %d is kept without a picture, which cannot be drawn", slide, field)
            return None


def draw_picture(states: States, polarizations: Sequence[str]) -> bytes:
    """Draw a JPEG of at most `MOST_BYTES`, each state (CYX) stretched by itself: the crossed one is a dark field.

    Of what takes more the quality is lowered, then the size, step by step: the same pixels give the same bytes.
    """
    grey = [stretched(state, bright=name != CROSSED) for state, name in zip(states, polarizations, strict=True)]
    longest_px = min(max(states.shape[1:]), LONGEST_PX)
    while True:
        picture = np.concatenate([within(state, longest_px) for state in grey], axis=1)
        for quality in QUALITIES:
            drawn = jpeg(picture, quality)
            if len(drawn) <= MOST_BYTES:
                return drawn
        longest_px = longest_px * 3 // 4


def middle_planes(stack: NDArray[np.uint16], pixel_um: float) -> States:
    """Give the middle plane of each state of a stack (CZYX), at the detector's scale: any stack can be shown so."""
    binning = Scale.of(pixel_um, FocusSettings().sigma_um).binning
    return np.stack([within(plane, max(plane.shape) // binning) for plane in stack[:, stack.shape[1] // 2]])
