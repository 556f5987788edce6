"""Which flags a field has by its own light; those that need the fields before are the night's (`night.brightness`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.corrections import Corrections, full_scale
from calibration.images.disturbances import FieldLook, look_at_field
from daemon.dataset.field_file import FieldProvenance
from daemon.records.flags import FieldFlag
from inference.objects.objects import StackFocus

BRIGHT = "parallel"
"""The state that an empty field fills with light."""


def flags_of(
    stack: NDArray[np.uint16], focus: StackFocus, provenance: FieldProvenance, corrections: Corrections
) -> tuple[FieldFlag, ...]:
    """Judge a stack (CZYX) by its light alone, whatever was found in it."""
    sharpest = int(focus.sharpness.argmax()) if focus.best_plane is None else round(focus.best_plane)
    states = provenance.polarizations
    look = look_at_field(
        stack,
        sharpest,
        states.index(BRIGHT) if BRIGHT in states else None,
        provenance.pixel_um,
        float(np.median(corrections.offset_dn)),
        _full_dn(corrections, provenance.bits),
    )
    return _flags(look)


def _full_dn(corrections: Corrections, bits: int | None) -> int | None:
    """Give the DN at which the camera is saturated, None where neither a calibration nor the camera tells."""
    if bits is None:
        return corrections.full_dn if corrections.records else None
    return min(corrections.full_dn, full_scale(bits))


def _flags(look: FieldLook) -> tuple[FieldFlag, ...]:
    found = {
        FieldFlag.DARK: look.is_dark,
        FieldFlag.BLURRED: look.is_blurred,
        FieldFlag.BLANK: look.is_blank,
        FieldFlag.BUBBLE: look.shows_bubble,
        FieldFlag.EDGE: look.shows_edge,
        FieldFlag.SATURATED: look.is_saturated,
    }
    return tuple(flag for flag, there in found.items() if there)
