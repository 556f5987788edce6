"""Strips: an object fused, then its best plane in each polarization, side by side, as a picture for pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from daemon.dataset.field_file import Pixels
from daemon.dataset.selection import Chosen, load
from daemon.figures.pixels import Contrast, best_plane, composite, contrasts, place, scale_bar
from daemon.system.errors import DamagedFile

SIDE, GAP, LETTERS, QUALITY = 168, 4, 16, 88


class _ShownViews(NamedTuple):
    """What is shown of an object: `fused` and `best`, its best plane, uint16 CYX."""

    fused: Pixels
    best: Pixels
    polarizations: tuple[str, ...]
    pixel_um: float


def paint_strips(chosen: Sequence[Chosen | str]) -> list[bytes | str]:
    """Give the strip of each object as a JPEG, in one contrast for all; a sentence where there is none.

    Parameters
    ----------
    chosen
        objects; a text says why one cannot be shown.
    """
    views = [one if isinstance(one, str) else _views(one) for one in chosen]
    there = [one for one in views if not isinstance(one, str)]
    contrast = {
        states: contrasts(one.fused for one in there if one.polarizations == states)
        for states in {one.polarizations for one in there}
    }
    return [one if isinstance(one, str) else _strip(one, contrast[one.polarizations]) for one in views]


def _views(one: Chosen) -> _ShownViews | str:
    """Load what is shown of an object; its stack is let go of at once."""
    try:
        loaded = next(load([one]))
    except DamagedFile as error:
        return str(error)
    plane = one.row.best_plane if one.row.display_plane is None else one.row.display_plane
    best = loaded.crop[:, best_plane(plane, loaded.crop.shape[1])].copy()
    return _ShownViews(loaded.fused, best, loaded.provenance.polarizations, loaded.provenance.pixel_um)


def _strip(views: _ShownViews, contrast: Sequence[Contrast]) -> bytes:
    """Put views side by side, the first with a scale bar."""
    shown = [composite(views.fused, contrast), *(c.apply(views.best[k]) for k, c in enumerate(contrast))]
    image = Image.new("RGB", (len(shown) * (SIDE + GAP) - GAP, SIDE))
    for at, view in enumerate(shown):
        place(image, view, (at * (SIDE + GAP), 0), SIDE)
    scale_bar(ImageDraw.Draw(image), (0, 0), views.fused.shape[1:], views.pixel_um, SIDE, LETTERS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
