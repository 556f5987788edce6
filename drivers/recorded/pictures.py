"""Pictures of one plane: PNG, JPEG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drivers.errors import ImageRefused
from drivers.recorded.held import Header, HeldStack, Source, explaining

SUFFIXES = (".png", ".jpg", ".jpeg")


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a picture.

    Raises
    ------
    ImageRefused
        It is no picture, or too large.
    """
    # Pillow warns of large images, and refuses larger ones; how large they may be is decided elsewhere.
    with warnings.catch_warnings(), explaining("it is damaged"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(source)
        except Image.DecompressionBombError as error:
            raise ImageRefused("it has more pixels than can be analysed at once; cut it into tiles") from error
        except UnidentifiedImageError as error:
            raise ImageRefused("it is not an image, or of a kind that is not known; save it as PNG or TIFF") from error
        with picture:
            yield [HeldStack(Header((1, 1, picture.height, picture.width)), partial(_pixels, source, picture))]


def _pixels(source: Source, picture: Image.Image) -> NDArray[np.uint16]:
    picture.load()  # tells of what is missing, where OpenCV makes something up
    import cv2

    content = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ImageRefused("it is not a grey or colour image of 8 or 16 bit; convert it to one")
    return image.astype(np.uint16)[None, None]
