"""A gallery: the composites of objects on one page, taxon by taxon, beside the pictures that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from daemon.config.taxonomy import UNSURE
from daemon.counts.called import DISCARDED, UNNAMED
from daemon.dataset.selection import Chosen
from daemon.figures.html import write_html
from daemon.system.durable_files import refusing
from inference.wording import length, mass

GALLERY = "gallery.html"
_LAST = (UNSURE, UNNAMED, DISCARDED)


class _GalleryTile(NamedTuple):
    source: str
    place: str
    figures: str


def write_gallery(into: Path, night: str, objects: Sequence[tuple[str, str, Chosen]]) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    objects
        each with the name of its taxon and of its picture (posix, from the page's folder).

    Raises
    ------
    Refused
        It cannot be written.
    """
    taxa: dict[str, list[_GalleryTile]] = {}
    for name, picture, one in objects:
        taxa.setdefault(name, []).append(_GalleryTile(quote(picture), _place(one), _figures(one)))
    ordered = sorted(taxa.items(), key=lambda item: (item[0] in _LAST, item[0]))
    with refusing(into):
        write_html(into, "gallery.html.j2", night=night, objects=len(objects), taxa=ordered)


def _place(one: Chosen) -> str:
    return f"slide {one.slide} {one.sample}, field {one.field}, object {one.row.number}"


def _figures(one: Chosen) -> str:
    row = one.row
    parts = [f"{row.class_name} {row.score:.2f}"]
    parts += [] if row.length_um is None else [length(row.length_um)]
    parts += [] if row.mass_pg is None else [mass(row.mass_pg)]
    return ", ".join(parts)
