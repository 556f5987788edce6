"""Pixels of whatever kind as grey ones of 16 bit, exactly, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused

COLOURS = "its colours are made grey"
ORIENTED = {
    2: "mirrored from left to right",
    3: "turned by 180 degrees",
    4: "mirrored from top to bottom",
    5: "mirrored along its diagonal",
    6: "turned right by 90 degrees",
    7: "mirrored along its other diagonal",
    8: "turned left by 90 degrees",
}
"""What the orientations of EXIF and TIFF ask for, but for 1, which is upright."""


def grey(image: NDArray[Any]) -> NDArray[Any]:
    """Make colours, YXS in the order red, green, blue, grey."""
    import cv2

    made: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
    return made


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and mirror an image as its orientation asks for."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def upright_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Give the height and width of an image once it is turned."""
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def told_of(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Say how pixels of a type are taken.

    Raises
    ------
    ImageRefused
        They are no numbers that light could be.
    """
    if dtype in (np.uint8, np.uint16):
        return ()
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ImageRefused(f"its pixels are {dtype}; save it with 8 or 16 bit a pixel, without sign")
    return (f"its pixels are {dtype}, taken only where all of them are whole numbers from 0 to 65535",)


def bits_of(dtype: np.dtype[Any]) -> int:
    """Bits that a pixel of a type can have here."""
    return min(8 * dtype.itemsize, 16)


def exact(image: NDArray[Any]) -> NDArray[np.uint16]:
    """Give the same numbers with 16 bit.

    Raises
    ------
    ImageRefused
        They would not be the same.
    """
    if image.dtype in (np.uint8, np.uint16):
        return image.astype(np.uint16, copy=False)
    with np.errstate(invalid="ignore"):
        taken = image.astype(np.uint16)
    if not np.array_equal(taken, image):
        raise ImageRefused(
            f"its pixels are {image.dtype} and not all whole numbers from 0 to 65535; save it with 8 or 16 bit a "
            "pixel, without sign"
        )
    return taken
