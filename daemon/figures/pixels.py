"""Pixels as people see them: 8-bit pictures of one contrast for all objects shown together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from daemon.dataset.field_file import Pixels

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
"""Fonts that matplotlib brings along: no others are sure to be there."""
NARROWER = 0.92
Picture = NDArray[np.uint8]
_WARM = np.array([1.0, 0.72, 0.38], np.float32)
_DARK_FIELD_GAMMA = 0.6
_WELL = (10, 11, 14)


@dataclass(frozen=True)
class Contrast:
    """What is black and what is white of one polarization, in DN.

    `dark_field`: most of what is seen is near black. It is shown with a gamma that lifts what is faint.
    """

    low: float
    high: float
    dark_field: bool

    def apply(self, pixels: Pixels) -> Picture:
        """Turn intensities into 8 bit; any shape."""
        return np.asarray(self._relative(pixels) * 255 + 0.5, np.uint8)

    def _relative(self, pixels: Pixels) -> NDArray[np.float32]:
        relative = np.clip((pixels.astype(np.float32) - self.low) / (self.high - self.low), 0, 1)
        return np.asarray(relative**_DARK_FIELD_GAMMA if self.dark_field else relative, np.float32)


def contrasts(fused: Iterable[Pixels]) -> list[Contrast]:
    """Contrast of each polarization that suits all of these crops (CYX) together.

    Black is the 0.5th percentile and white the 99.8th, widened to a tenth of the mean where a crop is flat.
    """
    flat = [crop.reshape(len(crop), -1) for crop in fused]
    found = []
    for values in [np.concatenate(channel) for channel in zip(*flat, strict=True)]:
        low, middle, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.8)))
        high = max(high, low + 0.1 * float(values.mean()), low + 1)
        found.append(Contrast(low, high, dark_field=middle - low < 0.25 * (high - low)))
    return found


def composite(crop: Pixels, contrast: Sequence[Contrast]) -> Picture:
    """RGB (YXC) of a crop (CYX): bright field in grey with the dark field in a warm colour on top.

    With any other polarizations than one dark and one bright field, the first one in grey.
    """
    dark = [c for c, one in enumerate(contrast) if one.dark_field]
    bright = [c for c, one in enumerate(contrast) if not one.dark_field]
    if len(dark) != 1 or len(bright) != 1:
        return np.repeat(contrast[0].apply(crop[0])[..., None], 3, axis=-1)
    grey = contrast[bright[0]].apply(crop[bright[0]]).astype(np.float32)[..., None]
    light = contrast[dark[0]].apply(crop[dark[0]]).astype(np.float32)[..., None]
    return np.asarray(np.clip(0.62 * grey + light * _WARM, 0, 255), np.uint8)


def best_plane(plane: float, planes: int) -> int:
    """Whole number of the plane nearest to a fractional one."""
    return min(max(round(plane), 0), planes - 1)


def place(image: Image.Image, view: Picture, corner: tuple[int, int], side: int) -> None:
    """Put a view into a square well of an image, as large as it goes, its proportions kept."""
    height, width = view.shape[:2]
    scale = side / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    resized = Image.fromarray(view).resize(shape, Image.Resampling.LANCZOS).convert("RGB")
    well = Image.new("RGB", (side, side), _WELL)
    well.paste(resized, ((side - shape[0]) // 2, (side - shape[1]) // 2))
    image.paste(well, corner)


def scale_bar(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    shape: tuple[int, ...],
    pixel_um: float,
    side: int,
    letters: int = 11,
) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten um, at most 40 % of a well, in its lower left corner.

    Parameters
    ----------
    corner
        of the well, px.
    side
        of the well, px.
    shape
        height and width of the view in it.
    letters
        their height, px.
    """
    side_um = max(shape) * pixel_um
    power = 10.0 ** np.floor(np.log10(0.4 * side_um))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= 0.4 * side_um)
    length = round(length_um / side_um * side)
    x, y = corner[0] + 6, corner[1] + side - 8
    label = f"{length_um:g} \u00b5m"
    draw.rectangle((x - 1, y - 1, x + length + 1, y + 3), fill=(0, 0, 0))
    draw.rectangle((x, y, x + length, y + 2), fill=(255, 255, 255))
    above = y - 3 - letters // 4  # the micro sign reaches below its line
    draw.text((x, above), label, (255, 255, 255), font(letters), anchor="ls", stroke_width=2, stroke_fill=(0, 0, 0))


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Give the font of labels in pictures: it has the micro sign and the letters of names, as Pillow's own has not."""
    return ImageFont.truetype(FONTS / "DejaVuSans.ttf", round(size * NARROWER))
