"""A field as one picture for programs in which people annotate: they show no stacks, and no 16 bits."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.views.overview import overview_in_frame

QUALITY = 92
SUFFIX = ".jpg"


def view_name(field_file: str, night: int) -> str:
    """Name the picture of a field, such as slide-1/field-0001-2c5f3a07.jpg.

    Parameters
    ----------
    field_file
        name of the field's file.
    night
        tells nights apart: fields of another must not be taken for those of this one.
    """
    return f"{field_file.removesuffix('.ome.tif')}-{night:08x}{SUFFIX}"


def draw_field(stack: NDArray[np.uint16], polarizations: tuple[str, ...], pixel_um: float) -> bytes:
    """Draw the fused view of a stack (CZYX), as the detector sees it: a JPEG with the pixels of the stack's frame."""
    stream = io.BytesIO()
    picture = Image.fromarray(overview_in_frame(stack, polarizations, pixel_um))
    picture.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()
