"""What the numbers of a TIFF's pages mean as light: pages of one stack must be alike in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tifffile

from drivers.errors import ImageRefused
from drivers.recorded import pixels

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
TELLS_RGB = {6, 7, 34892}
"""Compressions with colours of their own, which are decoded to red, green and blue."""
_COLOURS_TOLD = {
    WHITE_IS_ZERO: "grey whose white is zero", BLACK_IS_ZERO: "grey", RGB: "colours", PALETTE: "a palette"
}  # fmt: skip
_ORIENTATION = 274
_ROUNDED = 0.02
"""By so much of its last colour a palette may be off, as programs round it in their own ways."""


class PixelMeaning(NamedTuple):
    """What the numbers of a page mean; pages of a stack are alike in it, as it is said once for all of them.

    Attributes
    ----------
    photometric
        as TIFF numbers it; grey for palettes that only show their light in a colour, RGB for all that is decoded to it.
    white
        the number that is black where zero is white, else 0.
    palette
        the colours of the numbers, where they are looked up.
    orientation
        as TIFF numbers it.
    """

    photometric: int
    white: int = 0
    palette: bytes = b""
    orientation: int = 1

    @classmethod
    def of(cls, page: tifffile.TiffPage, orientation: int = 1) -> PixelMeaning:
        """Find out what the numbers of a page mean.

        Parameters
        ----------
        orientation
            of a page that does not say it: many programs say it on the first page alone.
        """
        photometric, tag = int(page.photometric), page.tags.get(_ORIENTATION)
        if tag is not None and tag.value in range(1, 9):
            orientation = int(tag.value)
        if photometric == WHITE_IS_ZERO:
            return cls(photometric, white=(1 << page.bitspersample) - 1, orientation=orientation)
        if shows_light(page):
            return cls(BLACK_IS_ZERO, orientation=orientation)
        if photometric == PALETTE and page.colormap is not None:
            return cls(photometric, palette=np.asarray(page.colormap).tobytes(), orientation=orientation)
        if photometric == YCBCR and page.compression in TELLS_RGB:
            photometric = RGB
        return cls(photometric, orientation=orientation)

    def require(self, page: tifffile.TiffPage) -> None:
        """Refuse another page of the same stack whose numbers mean something else.

        Raises
        ------
        ImageRefused
            They do.
        """
        other = PixelMeaning.of(page, self.orientation)
        if other != self:
            both = ", ".join(dict.fromkeys((self._told, other._told)))
            raise ImageRefused(f"its pages show light in ways of their own ({both}); save them all as grey, upright")

    @property
    def _told(self) -> str:
        colours = _COLOURS_TOLD.get(self.photometric, f"colours of kind {self.photometric}")
        return colours if self.orientation == 1 else f"{colours} {pixels.ORIENTED[self.orientation]}"


def shows_light(page: tifffile.TiffPage) -> bool:
    """Whether a palette shows numbers in a colour, bright in proportion to them, as microscopes colour channels.

    The numbers are the light then. A grey palette may stretch them, and others are those of drawings.
    """
    if page.photometric != PALETTE or page.colormap is None or page.bitspersample < 8:
        return False
    table = np.asarray(page.colormap).T.astype(np.int64)
    light = table.sum(axis=1)
    coloured, rises = bool((table != table[:, :1]).any()), bool((np.diff(table, axis=0) >= 0).all())
    even = np.linspace(0, light[-1], len(light))
    return coloured and rises and bool((abs(light - even) <= _ROUNDED * light[-1]).all())
