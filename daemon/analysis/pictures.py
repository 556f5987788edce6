"""The pixels of a picture that annotations speak of, read as all images are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.recorded.held import Source
from drivers.recorded.images import opened_one


def read_picture(source: Source, name: str = "") -> NDArray[np.uint16]:
    """Read an image, uint16 CZYX, all of its channels.

    Parameters
    ----------
    source
        file, bytes of a file, or folder that is a data set.
    name
        of the stack in one that holds several.

    Raises
    ------
    ImageRefused
        It is no image, not whole, or holds several stacks and none is named.
    OSError
        It cannot be read just now.
    """
    with opened_one(source, name) as held:
        return held.read()
