"""A page of objects for a person, with pictures; one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.figures.html import write_html
from daemon.figures.strips import paint_strips
from daemon.sorting.named import SortedObject
from daemon.system.durable_files import refusing


@dataclass(frozen=True)
class PageSection:
    """Some objects of a page, each with what stands below it."""

    title: str
    rule: str
    objects: Sequence[tuple[SortedObject, str]]


@dataclass(frozen=True)
class _ObjectTile:
    source: str
    without: str
    name: str
    text: str


def write_page(into: Path, title: str, told: Sequence[str], sections: Sequence[PageSection]) -> None:
    """Write a page, whole or not at all; what has no picture stands there without.

    Parameters
    ----------
    told
        sentences below the title.

    Raises
    ------
    Refused
        It cannot be written.
    """
    every = [one for section in sections for one, _ in section.objects]
    strips = iter(paint_strips([one.pixels for one in every]))
    shown = [
        (section.title, section.rule, [_tile(next(strips), one, text) for one, text in section.objects])
        for section in sections
    ]
    with refusing(into, "name another file with --page"):
        write_html(into, "objects.html.j2", title=title, told=told, sections=shown)


def _tile(strip: bytes | str, one: SortedObject, text: str) -> _ObjectTile:
    seen = isinstance(strip, bytes)
    return _ObjectTile(
        source=f"data:image/jpeg;base64,{base64.b64encode(strip).decode()}" if isinstance(strip, bytes) else "",
        without="" if seen else str(strip),
        name=str(one.name),
        text=text,
    )
