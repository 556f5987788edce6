"""Pictures of every kind of object of the virtual slide, for people to judge it by.

They show the light of the optics alone: no camera, no noise, perfect polarizers, so that what is wrong with a body or
with its light is not hidden; how far its signal stands above the camera's noise is written beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

from daemon.figures.pixels import font
from daemon.planning.specimens import make_specimens
from daemon.system.durable_files import make_folder, replacing
from daemon.system.progress import follow
from drivers.settings import Emulation, Mounting
from drivers.virtual_slide.scene import between
from drivers.virtual_slide.slide import cabinet_of
from drivers.virtual_slide.specimens.cabinet import Cabinet
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.drawer import Drawer, SpecimenCard
from drivers.virtual_slide.specimens.kinds import Kind
from inference.wording import MICROMETRE

ALL_FILE, SPECIES_FILE = "all.png", "species.png"
PLANES_UM = (-1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5)
"""Of bodies deeper than the outermost, these planes are stretched to reach their ends."""
PARALLEL_RANGE = (0.5, 1.3)
"""Black and white of bright field, over the light of an empty field."""
CROSSED_WHITE = 0.4
"""White of crossed light, over the parallel light of an empty field; greys are square roots of light."""
CAMERA_PIXEL_UM = 0.059

_Grey = NDArray[np.uint8]
_TILE_PX = (160, 420)
_SLENDER = 3
_SLENDER_TILE_PX = (420, 640)
_TILE_PIXEL_UM = 0.03
_LOWEST_PX = 56
_SHEET_PX = (800, 480)
_SHEET_WIDTH = 2400
_LEAST_WIDTH = 1250
_AROUND_UM = 1.0
_GAP = 4
_PAD = 12
_MARGIN = 28
_LABELS = 176
_LINE = 18
_HEAD = 76
_BACKGROUND = (16, 18, 22)
_CELL = (27, 30, 36)
_TEXT = (226, 228, 232)
_DIM = (142, 148, 158)
_BAR = (255, 196, 84)


@dataclass(frozen=True)
class _SpecimenView:
    """One specimen and how it is looked at.

    Attributes
    ----------
    half_um
        of the part that is shown, x, y, about the middle of its outline.
    pixel_um
        of the picture.
    """

    drawer: Drawer
    half_um: tuple[float, float]
    pixel_um: float

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the picture."""
        width, height = (max(1, round(2 * half / self.pixel_um)) for half in self.half_um)
        return width, max(height, _LOWEST_PX)

    @property
    def turns_light(self) -> bool:
        """Whether anything is seen of it in crossed light."""
        return len(self.drawer.card.scale) > 1

    def greys(self, z_um: float) -> tuple[_Grey, _Grey]:
        """Parallel and crossed light at a plane."""
        card, light = self.drawer.card, self.drawer.light
        lower, upper, weight, strength = between(card.planes_um, z_um)
        mixed = (light[lower] * (1 - weight) + light[upper] * weight) * strength * np.asarray(card.scale)
        low, high = PARALLEL_RANGE
        parallel = (1 + self._cut(mixed[..., 0]) - low) / (high - low)
        flipped = mixed[..., 1] if self.turns_light else np.zeros_like(mixed[..., 0])
        crossed = np.sqrt(np.maximum(self._cut(flipped), 0) / CROSSED_WHITE)
        one, other = (np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8) for grey in (parallel, crossed))
        return one, other

    def _cut(self, image: NDArray[np.float64]) -> NDArray[np.float32]:
        rows, columns = image.shape
        step = self.pixel_um / self.drawer.card.pixel_um
        width, height = self.size_px
        if step > 1:  # so that what is made smaller is averaged, not sampled
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 * step), np.float64)
        outline = np.asarray(self.drawer.card.outline_um)
        x, y = (outline.min(axis=0) + outline.max(axis=0)) / 2 / self.drawer.card.pixel_um
        shift = ((columns - 1) / 2 + x - step * (width - 1) / 2, (rows - 1) / 2 + y - step * (height - 1) / 2)
        to_grid = np.array([[step, 0, shift[0]], [0, step, shift[1]]])
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image.astype(np.float32), to_grid, (width, height), flags=how), np.float32)


def draw_gallery(into: Path, emulation: Emulation, console: Console) -> int:
    """Write a PNG for each kind, and `all.png` and `species.png` with one specimen of each; returns how many."""
    cabinet = cabinet_of(emulation)
    make_specimens(cabinet, list(KINDS), console)
    make_folder(into)
    said = _describe(emulation.mounting, emulation.collection)
    for kind in follow(KINDS.values(), len(KINDS), "kinds", console):
        _save(_through_focus(kind, cabinet, said), into / f"{kind.name}.png")
    sheets = {
        ALL_FILE: ("Every kind of the virtual slide", [kind for kind in KINDS.values() if not kind.natural]),
        SPECIES_FILE: ("Every species of the virtual slide", [kind for kind in KINDS.values() if kind.natural]),
    }
    sheets = {name: sheet for name, sheet in sheets.items() if sheet[1]}
    for name, (title, kinds) in sheets.items():
        _save(_sheet(title, kinds, cabinet, said), into / name)
    return len(KINDS) + len(sheets)


def _describe(mounting: Mounting, collection: int) -> str:
    low, high = PARALLEL_RANGE
    return (
        f"collection {collection}, medium n {mounting.medium_index:g}, condenser NA {mounting.condenser_na:g}, "
        f"{mounting.wavelength_nm:g} nm;  light of the optics alone;  "
        f"parallel: {low:g} to {high:g} of an empty field;  "
        f"crossed: 0 to {CROSSED_WHITE:g} of parallel light, grey is its square root"
    )


def _through_focus(kind: Kind, cabinet: Cabinet, said: str) -> Image.Image:
    """Three specimens, short, middling and long, through focus from left to right; crossed below parallel."""
    variants = sorted({kind.variants * place // 6 for place in (1, 3, 5)})
    drawers = [cabinet.drawer(kind.name, variant) for variant in variants]
    x_um, y_um = np.max([_half_um(drawer.card) for drawer in drawers], axis=0).tolist()
    slender = x_um > _SLENDER * y_um
    columns = 3 if slender else len(PLANES_UM)
    width = float(np.clip(2 * x_um / _TILE_PIXEL_UM, *(_SLENDER_TILE_PX if slender else _TILE_PX)))
    looks = [_SpecimenView(drawer, (x_um, y_um), 2 * x_um / width) for drawer in drawers]
    shown = 2 if any(look.turns_light for look in looks) else 1
    tile_width, tile_height = looks[0].size_px
    pair = shown * (tile_height + _GAP) + _GAP
    block = max(len(PLANES_UM) // columns * pair, 5 * _LINE) + _PAD
    deepest = max(abs(end) for drawer in drawers for end in drawer.card.depth_um)
    stretch = max(1.0, deepest / PLANES_UM[-1])
    across = max(2 * _MARGIN + _LABELS + columns * (tile_width + _GAP), _LEAST_WIDTH)
    image = Image.new("RGB", (across, 2 * _MARGIN + _HEAD + len(looks) * block), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    name = f"{kind.name}  ({'junk: ' if kind.junk else ''}{kind.class_name})"
    draw.text((_MARGIN, _MARGIN), name if shown == 2 else f"{name}  dark in crossed light", _TEXT, font(24))
    draw.text((_MARGIN, _MARGIN + 36), f"{looks[0].pixel_um:.3f} {MICROMETRE} a pixel;  {said}", _DIM, font(13))
    for row, (look, variant) in enumerate(zip(looks, variants, strict=True)):
        top = _MARGIN + _HEAD + row * block
        _lines(draw, (_MARGIN, top), (f"variant {variant}", *_facts(look.drawer.card)))
        for place, plane in enumerate(PLANES_UM):
            x = _MARGIN + _LABELS + place % columns * (tile_width + _GAP)
            y = top + place // columns * pair
            for state, grey in enumerate(look.greys(plane * stretch)[:shown]):
                image.paste(Image.fromarray(grey), (x, y + state * (tile_height + _GAP)))
            draw.text((x + 5, y + 3), f"z {plane * stretch:+.2f}", (0, 0, 0), font(12))
        _bar(draw, (_MARGIN + _LABELS, top), (tile_width, tile_height), look.pixel_um)
    return image


def _sheet(title: str, kinds: Sequence[Kind], cabinet: Cabinet, said: str) -> Image.Image:
    """One specimen of each kind where it is shown best, parallel above crossed; at one scale if it is small enough."""
    cells = [_cell(kind, _middling(kind, cabinet)) for kind in kinds]
    shelves: list[list[Image.Image]] = [[]]
    for cell in cells:
        used = sum(one.width + _PAD for one in shelves[-1])
        if used + cell.width > _SHEET_WIDTH - 2 * _MARGIN:
            shelves.append([])
        shelves[-1].append(cell)
    heights = [max(cell.height for cell in shelf) + _PAD for shelf in shelves]
    image = Image.new("RGB", (_SHEET_WIDTH, 2 * _MARGIN + _HEAD + sum(heights)), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, _MARGIN), f"{title}, in its best plane", _TEXT, font(24))
    scale = f"{CAMERA_PIXEL_UM:g} {MICROMETRE} a pixel where nothing else is written"
    draw.text(
        (_MARGIN, _MARGIN + 36),
        f"above parallel, below crossed, if it is not dark there;  {scale};  {said}",
        _DIM,
        font(14),
    )
    y = _MARGIN + _HEAD
    for shelf, height in zip(shelves, heights, strict=True):
        x = _MARGIN
        for cell in shelf:
            image.paste(cell, (x, y))
            x += cell.width + _PAD
        y += height
    return image


def _middling(kind: Kind, cabinet: Cabinet) -> Drawer:
    """Choose the whole specimen nearest to the middle of its kind's sizes."""
    order = sorted(range(kind.variants), key=lambda variant: abs(variant - kind.variants // 2))
    whole = [variant for variant in order if not cabinet.card(kind.name, variant).fragment]
    return cabinet.drawer(kind.name, (whole or order)[0])


def _cell(kind: Kind, drawer: Drawer) -> Image.Image:
    half = _half_um(drawer.card)
    share = max(2 * h / CAMERA_PIXEL_UM / most for h, most in zip(half, _SHEET_PX, strict=True))
    look = _SpecimenView(drawer, half, CAMERA_PIXEL_UM * max(share, 1.0))
    width, height = look.size_px
    shown = 2 if look.turns_light else 1
    image = Image.new("RGB", (max(width + 2 * _PAD, 210), 2 * _LINE + 2 * _PAD + shown * (height + _GAP)), _CELL)
    draw = ImageDraw.Draw(image)
    scale = "" if share <= 1 else f"   {look.pixel_um:.3f} {MICROMETRE} a pixel"
    draw.text((_PAD, 6), kind.name + scale, _TEXT, font(15))
    draw.text((_PAD, 6 + _LINE), ", ".join(_facts(drawer.card)[:2]), _DIM, font(12))
    for place, grey in enumerate(look.greys(drawer.card.display_um)[:shown]):
        image.paste(Image.fromarray(grey), (_PAD, 2 * _LINE + _PAD + place * (height + _GAP)))
    _bar(draw, (_PAD, 2 * _LINE + _PAD), (width, height), look.pixel_um)
    return image


def _facts(card: SpecimenCard) -> tuple[str, ...]:
    whole = "fragment, " if card.fragment else ""
    facts = [f"{whole}{card.length_um:.1f} x {card.width_um:.1f} um", f"best z {card.display_um:+.2f} um"]
    if card.mass_pg:
        facts.append(f"{card.mass_pg:.1f} pg, {card.visible_mass_pg:.1f} seen")
    return (*facts, f"contrast {100 * card.kept_contrast:.1f} %, {100 * card.flipped_contrast:.1f} %")


def _half_um(card: SpecimenCard) -> tuple[float, float]:
    outline = np.asarray(card.outline_um)
    x, y = (outline.max(axis=0) - outline.min(axis=0)) / 2 + _AROUND_UM
    return float(x), float(y)


def _lines(draw: ImageDraw.ImageDraw, corner: tuple[int, int], lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        draw.text((corner[0], corner[1] + number * _LINE), line, _DIM if number else _TEXT, font(13))


def _bar(draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], pixel_um: float) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten um, at most 40 % of the picture, in its lower left corner."""
    most_um = 0.4 * size[0] * pixel_um
    power = 10.0 ** np.floor(np.log10(most_um))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= most_um)
    x, y = corner[0] + 6, corner[1] + size[1] - 8
    draw.rectangle((x, y, x + round(length_um / pixel_um), y + 2), fill=_BAR)
    draw.text(
        (x, y - 3), f"{length_um:g} {MICROMETRE}", _BAR, font(12), anchor="ls", stroke_width=2, stroke_fill=(0, 0, 0)
    )


def _save(image: Image.Image, path: Path) -> None:
    with replacing(path) as stream:
        image.save(stream, format="PNG")
