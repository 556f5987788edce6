"""Pixels for the page, drawn from the files of fields when they are asked for, and kept in bounded memory.

All planes of an object have one grey scale in each polarization, so that what brightens is brighter. It spans what the
object holds, but at least a share of what the night's objects hold together: noise is not blown up to look like one.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daemon.dataset.field_file import FieldFile, FieldProvenance, Pixels, read_field_file
from daemon.dataset.selection import missing
from daemon.figures.pixels import Contrast, Picture, composite, contrasts
from daemon.records.names import field_file
from daemon.records.records import ObjectRow
from daemon.system.errors import DamagedFile
from daemon.view.bounded import BoundedCache

FILES_OPEN = 8
STACKS_BYTES = 192 << 20
PICTURES_BYTES = 96 << 20
TILE_PX = 160
FIELD_PX = 1024
QUALITY, TILE_QUALITY = 95, 85
GROUND = 26
"""Grey of a field where nothing was kept of it."""
LEAST_SPAN = 0.16
"""Share of the night's grey scale that an object's spans at least."""
SAMPLED_FIELDS, SAMPLED_OBJECTS = 6, 8
"""So many fields of a night, and objects of each, tell its grey scale."""
_OF_OBJECTS = re.compile(r"field-\d+(-attempt-\d+)?\.ome\.tif", re.ASCII)
_log = logging.getLogger("lamelle.view")


class FieldPlace(NamedTuple):
    """A field's file: folder of its dataset, night, mini-slide, field, attempt."""

    folder: Path
    night: str
    slide: int
    field: int
    attempt: int

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder.joinpath(*field_file(self.slide, self.field, attempt=self.attempt).split("/"))


class Stack(NamedTuple):
    """An object's stack (uint16 CZYX), and the grey scale of each polarization over all its planes."""

    pixels: Pixels
    contrast: tuple[Contrast, ...]


class FieldPixels:
    """Draws what lies in the files of fields; one at a time, in whatever thread asks. Close it in the end."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, FieldFile] = OrderedDict()
        self._lock = threading.Lock()
        self._stacks = BoundedCache[Stack](STACKS_BYTES, lambda stack: stack.pixels.nbytes)
        self._pictures = BoundedCache[bytes](PICTURES_BYTES, len)
        self._nights: dict[tuple[Path, tuple[str, ...]], list[Contrast]] = {}

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    @property
    def kept_bytes(self) -> int:
        """Memory that is kept for what may be asked for again."""
        return self._stacks.bytes + self._pictures.bytes

    def provenance(self, frame: FieldPlace) -> FieldProvenance:
        """Say where the pixels of a field come from.

        Raises
        ------
        DamagedFile
            Its file is missing or damaged, or of another night.
        """
        with self._lock:
            return self._file(frame).provenance

    def plane(self, frame: FieldPlace, number: int, channel: int, plane: int) -> bytes | None:
        """Draw a plane of an object as a JPEG with its own pixels; None where there is none.

        Raises
        ------
        DamagedFile
            As `provenance`, or the file does not hold the object.
        """
        stack = self._stacks.get((frame, number), lambda: self._stack(frame, number))
        channels, planes = stack.pixels.shape[:2]
        if channel >= channels or plane >= planes:
            return None
        return _jpeg(stack.contrast[channel].apply(stack.pixels[channel, plane]), QUALITY)

    def tile(self, frame: FieldPlace, number: int, view: str) -> bytes | None:
        """Draw the fused crop of an object, small: `both` polarizations in one, or that of a number.

        Raises
        ------
        DamagedFile
            As `plane`.
        """
        return self._pictures.get((frame, number, view), lambda: self._tile(frame, number, view)) or None

    def field(self, frame: FieldPlace) -> bytes:
        """Draw a field of which no picture was kept: its objects where they lie, each polarization beside the other.

        Raises
        ------
        DamagedFile
            As `provenance`.
        """
        return self._pictures.get(frame, lambda: self._field(frame))

    def _stack(self, frame: FieldPlace, number: int) -> Stack:
        with self._lock:
            file = self._file(frame)
            pixels = file.crop(_row(file, number))
            contrast = self._contrast(frame, file, [pixels.reshape(len(pixels), -1, pixels.shape[-1])])
        return Stack(pixels, tuple(contrast))

    def _tile(self, frame: FieldPlace, number: int, view: str) -> bytes:
        with self._lock:
            file = self._file(frame)
            fused = file.fused(_row(file, number))
            contrast = self._contrast(frame, file, [fused])
        if view == "both":
            picture = composite(fused, contrast)
        elif view.isdecimal() and int(view) < len(fused):
            picture = contrast[int(view)].apply(fused[int(view)])
        else:
            return b""
        image = Image.fromarray(picture)
        image.thumbnail((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
        return _jpeg(image, TILE_QUALITY)

    def _field(self, frame: FieldPlace) -> bytes:
        with self._lock:
            file = self._file(frame)
            rows, shape = file.objects, file.provenance.shape_czyx
            crops = [file.fused(row) for row in rows]
            contrast = self._contrast(frame, file, crops) if crops else []
        scale = min(1.0, FIELD_PX / max(shape[2:]))
        height, width = (max(1, round(side * scale)) for side in shape[2:])
        ground = np.full((height, width * shape[0]), GROUND, np.uint8)
        for channel, one_contrast in enumerate(contrast):
            part = ground[:, channel * width : (channel + 1) * width]
            _paste(part, rows, [one[channel] for one in crops], one_contrast, scale)
        return _jpeg(ground, TILE_QUALITY)

    def _contrast(self, frame: FieldPlace, file: FieldFile, shown: Sequence[Pixels]) -> list[Contrast]:
        """Give the grey scale of what is shown together, of each polarization; the caller holds the lock."""
        name = (frame.folder, file.provenance.polarizations)
        if name not in self._nights:
            crops = list(_sample(frame, file.provenance.polarizations)) or list(shown)
            self._nights[name] = contrasts(crops)
        return [_spanning(own, night) for own, night in zip(contrasts(shown), self._nights[name], strict=True)]

    def _file(self, frame: FieldPlace) -> FieldFile:
        """Open a field's file, or take the one that is open; the caller holds the lock."""
        path = frame.path
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        if not path.exists():
            raise missing(path)
        file = read_field_file(path)
        if file.provenance.night != frame.night:
            file.close()
            raise DamagedFile(
                f"{path} is of night {file.provenance.night!r}, not of {frame.night!r}; fetch the right one"
            )
        self._open[path] = file
        if len(self._open) > FILES_OPEN:
            self._open.popitem(last=False)[1].close()
        return file


def _sample(frame: FieldPlace, polarizations: tuple[str, ...]) -> Iterator[Pixels]:
    """Give fused crops of some objects of a night, the same each time; what cannot be read tells nothing here."""
    paths = sorted(path for path in frame.folder.glob("slide-*/field-*.ome.tif") if _OF_OBJECTS.fullmatch(path.name))
    for path in paths[:: max(1, len(paths) // SAMPLED_FIELDS)][:SAMPLED_FIELDS]:
        try:
            with read_field_file(path) as file:
                if file.provenance.polarizations == polarizations:
                    yield from [file.fused(row) for row in file.objects[:SAMPLED_OBJECTS]]
        except (DamagedFile, OSError) as error:
            _log.info("the grey scale of the night is told without %s: %s", path, error)


def _spanning(own: Contrast, night: Contrast) -> Contrast:
    """Widen a grey scale to a share of the night's: upwards in the dark field, else to both sides."""
    lacks = LEAST_SPAN * (night.high - night.low) - (own.high - own.low)
    if lacks <= 0:
        return Contrast(own.low, own.high, night.dark_field)
    below = 0.0 if night.dark_field else lacks / 2
    return Contrast(own.low - below, own.high + lacks - below, night.dark_field)


def _row(file: FieldFile, number: int) -> ObjectRow:
    row = next((row for row in file.objects if row.number == number), None)
    if row is None:
        raise DamagedFile(f"{file.path} does not hold object {number} as the catalog has it; fetch it again")
    return row


def _paste(
    ground: NDArray[np.uint8], rows: Sequence[ObjectRow], crops: Sequence[Pixels], contrast: Contrast, scale: float
) -> None:
    for row, crop in zip(rows, crops, strict=True):
        x0, y0, x1, y1 = (round(side * scale) for side in row.crop_box)
        x1, y1 = min(max(x1, x0 + 1), ground.shape[1]), min(max(y1, y0 + 1), ground.shape[0])
        if x0 < x1 and y0 < y1:
            small = Image.fromarray(contrast.apply(crop)).resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS)
            ground[y0:y1, x0:x1] = np.asarray(small)


def _jpeg(picture: Picture | Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
