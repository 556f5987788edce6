"""A contact sheet: objects of a night side by side, each with its fused crop, its best plane and its way through focus.

An object's cell shows the fused crop with a scale bar, each polarization at best focus, and below them a strip of
planes for each polarization, bottom to top of the sample from left to right, the best one framed. One polarization has
one contrast on the whole sheet, so brightness can be compared between objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from rich.console import Console

from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, LoadedObject, load, spread
from daemon.figures.choice import ChosenObjects, ObjectChoice, choose_objects, pages
from daemon.figures.palette import DIM, GROUND, PANEL, TEXT, TONES, series
from daemon.figures.pixels import Contrast, best_plane, composite, contrasts, font, place, scale_bar
from daemon.records.counting import ObjectCounts
from daemon.system.durable_files import make_folder, replacing
from daemon.system.progress import follow
from inference.wording import MICROMETRE, fixed, length, short

OBJECTS = 24
COLUMNS = 4
STRIP_PLANES = 9
CONTRAST_OBJECTS = 64
"""So many objects, evenly spread, set the one contrast of all sheets."""

_THUMB = 132
_GAP = 4
_PAD = 12
_HEAD = 40
_MARGIN = 28
_TITLE = 64
_DOT = 10
_BACKGROUND, _CELL, _TEXT, _DIM = GROUND.rgb_dark, PANEL.rgb_dark, TEXT.rgb_dark, DIM.rgb_dark
_FRAME = TONES["warning"].rgb_dark


@dataclass(frozen=True)
class _Layout:
    """Sizes in px of a cell whose stacks have so many polarizations and planes shown."""

    channels: int
    planes: int

    @property
    def thumbs(self) -> int:
        return 1 + self.channels

    @property
    def inner(self) -> int:
        return max(3, self.thumbs) * _THUMB + (max(3, self.thumbs) - 1) * _GAP

    @property
    def strip(self) -> int:
        return (self.inner - (self.planes - 1) * _GAP // 2) // self.planes

    @property
    def width(self) -> int:
        return self.inner + 2 * _PAD

    @property
    def height(self) -> int:
        return 2 * _PAD + _HEAD + _THUMB + self.channels * (self.strip + _GAP)


@dataclass(frozen=True)
class SheetsDrawn:
    """How many objects are on the sheets, and where these lie."""

    objects: int
    paths: tuple[Path, ...]


def draw_sheet(
    folder: Path,
    into: Path,
    choice: ObjectChoice | None = None,
    objects: int = OBJECTS,
    columns: int = COLUMNS,
    console: Console | None = None,
    *,
    every: bool = False,
) -> SheetsDrawn:
    """Draw a contact sheet (PNG) of whole objects sampled evenly over slides and classes.

    Objects cut by the frame's edge are shown only where there are no others, or where every object is.

    Parameters
    ----------
    folder
        a dataset, or the run folder it lies in.
    into
        the PNG to write; whole or not at all.
    choice
        which objects may be on it, and in which order; by default all that were found.
    objects
        how many a sheet has.
    console
        where to tell how far it is, once it takes longer than two seconds.
    every
        draw all of them, on as many sheets as that takes: sheet-01.png, sheet-02.png and so on.

    Raises
    ------
    Refused
        There is no dataset, or no such taxon.
    DamagedFile
        A file of the dataset is missing or damaged.
    """
    with Dataset.open(folder) as dataset, dataset.unchanging():
        started = dataset.night()
        found = choose_objects(dataset, choice or ObjectChoice())
    chosen = found.objects
    whole = [one for one in chosen if not one.row.touches_edge]
    shown = chosen if every else spread(whole or chosen, objects)
    title = f"night {started.night}" if started else "no night"
    contrast = contrasts([one.fused for one in load(spread(shown, CONTRAST_OBJECTS))]) if shown else []
    sheets = pages(shown, objects)
    digits = max(2, len(str(len(sheets))))
    paths = [into.with_stem(f"{into.stem}-{at:0{digits}d}") for at in range(1, len(sheets) + 1)] if every else [into]
    how_many = _how_many(len(shown), ObjectCounts.of(one.row for one in chosen))
    information = PngImagePlugin.PngInfo()
    information.add_itxt("Software", "lamelle")
    make_folder(into.parent)
    drawing = follow(zip(paths, sheets, strict=True), len(sheets), "sheets", console or Console(quiet=True))
    for at, (path, page) in enumerate(drawing, start=1):
        lines = (title, f"sheet {at} of {len(sheets)}: {how_many}" if every else how_many)
        image = _compose(list(load(page)), columns, lines, contrast, found)
        with replacing(path) as stream:
            image.save(stream, format="PNG", pnginfo=information)
    return SheetsDrawn(len(shown), tuple(paths))


def _compose(
    shown: Sequence[LoadedObject],
    columns: int,
    lines: tuple[str, str],
    contrast: Sequence[Contrast],
    found: ChosenObjects,
) -> Image.Image:
    channels = len(shown[0].crop) if shown else 2
    planes = min(STRIP_PLANES, max((one.crop.shape[1] for one in shown), default=1))
    layout = _Layout(channels, planes)
    columns = max(1, min(columns, len(shown)))
    rows = -(-len(shown) // columns)
    width = 2 * _MARGIN + max(columns * (layout.width + _PAD) - _PAD, 480)
    image = Image.new("RGB", (width, 2 * _MARGIN + _TITLE + rows * (layout.height + _PAD)), _BACKGROUND)
    colours = _colours(found.objects)
    _draw_title(image, shown, contrast, lines, colours)
    for at, one in enumerate(shown):
        x = _MARGIN + at % columns * (layout.width + _PAD)
        y = _MARGIN + _TITLE + at // columns * (layout.height + _PAD)
        _draw_cell(image, (x, y), one, contrast, layout, (_called(one, found), colours[one.chosen.row.class_name]))
    return image


def _called(one: LoadedObject, found: ChosenObjects) -> str:
    """Name an object by its taxon, by its class where it has none."""
    return one.chosen.row.class_name if one.chosen.row.taxon is None else found.name_of(one.chosen)


def _draw_title(
    image: Image.Image,
    shown: Sequence[LoadedObject],
    contrast: Sequence[Contrast],
    lines: tuple[str, str],
    colours: dict[str, tuple[int, int, int]],
) -> None:
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, _MARGIN), _fit(lines[0], font(24), image.width - 2 * _MARGIN), _TEXT, font(24))
    parts = [lines[1]]
    if shown:
        names = shown[0].provenance.polarizations
        parts += [f"{name} {c.low:.0f} to {c.high:.0f} DN" for name, c in zip(names, contrast, strict=True)]
    line = "   ".join(parts)
    draw.text((_MARGIN, _MARGIN + 33), line, _DIM, font(14))
    x = _MARGIN + draw.textlength(line, font(14)) + 30
    for name, count in sorted(Counter(one.chosen.row.class_name for one in shown).items()):
        label = f"{name} {count}"
        _dot(draw, (x, _MARGIN + 37), colours[name])
        draw.text((x + _DOT + 6, _MARGIN + 33), label, _TEXT, font(14))
        x += draw.textlength(label, font(14)) + _DOT + 24


def _how_many(shown: int, of: ObjectCounts) -> str:
    beside = [(of.seen_again, "seen again"), (of.below_threshold, "below the threshold")]
    return " + ".join([f"{shown} of {of.counted} objects", *(f"{count} {why}" for count, why in beside if count)])


def _draw_cell(
    image: Image.Image,
    corner: tuple[int, int],
    one: LoadedObject,
    contrast: Sequence[Contrast],
    layout: _Layout,
    called: tuple[str, tuple[int, int, int]],
) -> None:
    x, y = corner
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((x, y, x + layout.width - 1, y + layout.height - 1), 6, _CELL)
    x, y = x + _PAD, y + _PAD
    _draw_labels(draw, (x, y), one, layout.inner, called)
    y += _HEAD
    planes = one.crop.shape[1]
    best = best_plane(one.chosen.row.best_plane, planes)
    views = [composite(one.fused, contrast)] + [c.apply(one.crop[k, best]) for k, c in enumerate(contrast)]
    for at, view in enumerate(views):
        place(image, view, (x + at * (_THUMB + _GAP), y), _THUMB)
    scale_bar(draw, (x, y), one.fused.shape[1:], one.provenance.pixel_um, _THUMB)
    y += _THUMB + _GAP
    strip = _strip_planes(planes, best, layout.planes)
    for channel, one_contrast in enumerate(contrast):
        for at, plane in enumerate(strip):
            left = x + at * (layout.strip + _GAP // 2)
            place(image, one_contrast.apply(one.crop[channel, plane]), (left, y), layout.strip)
            if plane == best:
                draw.rectangle((left, y, left + layout.strip - 1, y + layout.strip - 1), outline=_FRAME)
        y += layout.strip + _GAP


def _draw_labels(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    one: LoadedObject,
    width: int,
    called: tuple[str, tuple[int, int, int]],
) -> None:
    (x, y), colour = corner, called[1]
    row, provenance = one.chosen.row, one.provenance
    x0, y0, x1, y1 = row.box
    score = f"{row.score:.2f}" if called[0] == row.class_name else f"{row.class_name} {row.score:.2f}"
    size = f"{short((x1 - x0) * provenance.pixel_um)} \u00d7 {length((y1 - y0) * provenance.pixel_um)}"
    right = draw.textlength(size, font(14))
    draw.text((x + width - right, y), size, _DIM, font(14))
    name = _fit(called[0], font(16), width - right - draw.textlength(score, font(14)) - _DOT - 26)
    _dot(draw, (x, y + 4), colour)
    draw.text((x + _DOT + 6, y - 2), name, _TEXT, font(16))
    draw.text((x + draw.textlength(name, font(16)) + _DOT + 14, y), score, _DIM, font(14))
    where = f"slide {one.chosen.slide}  {one.chosen.sample}  field {one.chosen.field}  object {row.number}"
    focus = f"z {fixed(row.z_um, 1)} {MICROMETRE}" + (" at edge" if row.best_plane_at_edge else "")
    right = draw.textlength(focus, font(12))
    draw.text((x + width - right, y + 19), focus, _FRAME if row.best_plane_at_edge else _DIM, font(12))
    draw.text((x, y + 19), _fit(where, font(12), width - right - 8), _DIM, font(12))


def _dot(draw: ImageDraw.ImageDraw, corner: tuple[float, float], colour: tuple[int, int, int]) -> None:
    """Draw the dot that tells a class by its colour; letters of some colours could hardly be read."""
    x, y = corner
    draw.ellipse((x, y, x + _DOT, y + _DOT), colour)


def _strip_planes(planes: int, best: int, shown: int) -> list[int]:
    """Planes of the strip: all, or evenly spaced ones of which the nearest gives way to the best."""
    at = sorted({round(z) for z in np.linspace(0, planes - 1, min(shown, planes))})
    if best not in at:
        at[min(range(len(at)), key=lambda place: abs(at[place] - best))] = best
    return at


def _colours(chosen: Sequence[Chosen]) -> dict[str, tuple[int, int, int]]:
    names = sorted({one.row.class_name for one in chosen})
    return {name: series(place).rgb_dark for place, name in enumerate(names)}


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Shorten a text, with an ellipsis, until it is at most `width` px wide."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
