"""Composites: an object's polarizations side by side, fused, at one scale, with a scale bar: for talks and papers."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from daemon.dataset.field_file import Pixels
from daemon.figures.pixels import Contrast, font, place, scale_bar

SIDE, GAP, LETTERS = 360, 6, 18


def draw_composite(
    fused: Pixels, polarizations: Sequence[str], contrast: Sequence[Contrast], pixel_um: float
) -> Image.Image:
    """Draw an object's composite: each state in a square of its own, named; the first with a bar of a round length.

    Parameters
    ----------
    fused
        uint16, CYX.
    polarizations
        names of the states along C.
    contrast
        of each state.
    """
    image = Image.new("RGB", (len(fused) * (SIDE + GAP) - GAP, SIDE), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for at, (view, name, one) in enumerate(zip(fused, polarizations, contrast, strict=True)):
        left = at * (SIDE + GAP)
        place(image, one.apply(view), (left, 0), SIDE)
        draw.text((left + 6, 4), name, (255, 255, 255), font(LETTERS), stroke_width=2, stroke_fill=(0, 0, 0))
    scale_bar(draw, (0, 0), fused.shape[1:], pixel_um, SIDE, LETTERS)
    return image
