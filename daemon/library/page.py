"""A page of what is doubtful about a library, with pictures; one HTML file, on its own."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from daemon.figures.html import write_html
from daemon.library.examined import Checked
from daemon.library.findings import FEW, TITLES, Finding
from daemon.library.library import Library
from daemon.library.pixels import place_of, read_specimen, whites_of
from daemon.system.errors import DamagedFile

TILE_PX = 160
PICTURED = 60
"""Findings of a kind that are shown with pictures; more are listed."""
EACH = 4
"""Pictures of a finding."""


@dataclass(frozen=True)
class Tile:
    """A picture as a data URI, empty where it cannot be read, and what stands below."""

    source: str
    text: str


@dataclass(frozen=True)
class FindingShown:
    """A finding and its pictures."""

    told: str
    tiles: tuple[Tile, ...]


def write_page(into: Path, library: Library, checked: Checked) -> None:
    """Write the page of a check, whole or not at all."""
    painter = SpecimenPainter(library)
    sections = []
    for kind, of_kind in groupby(checked.findings, key=lambda finding: finding.kind):
        found = list(of_kind)
        shown = [FindingShown(one.told, painter.tiles(one)) for one in found[:PICTURED]]
        sections.append((TITLES[kind], len(found), shown, [one.told for one in found[PICTURED:]]))
    write_html(into, "library.html.j2", checked=checked, sections=sections, few=FEW)


class SpecimenPainter:
    """Makes small pictures of entries."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._whites: Mapping[tuple[str, int | None], int] = whites_of(library.entries.values())

    def tiles(self, finding: Finding) -> tuple[Tile, ...]:
        """Give the pictures of a finding."""
        entries = [self._library.entries[key] for key in finding.keys[:EACH]]
        return tuple(
            Tile(self.source(one.key), f"{one.label}: {place_of(one, self._library.folder).name}") for one in entries
        )

    def source(self, key: str) -> str:
        """Give the picture of an entry as a data URI, empty where it cannot be read."""
        entry = self._library.entries[key]
        try:
            specimen = read_specimen(entry, self._library.folder, self._whites[entry.source, entry.bits])
        except DamagedFile:
            return ""
        plane = specimen.planes // 2 if entry.focus_plane is None else round(entry.focus_plane)
        view = specimen.stack[-1, min(max(plane, 0), specimen.planes - 1)].astype(np.float32)
        low, high = float(view.min()), float(view.max())
        picture = Image.fromarray(np.uint8((view - low) * (255 / max(high - low, 1))))
        picture.thumbnail((TILE_PX, TILE_PX))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
