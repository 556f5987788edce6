"""A table beside pictures that says what they are: MISO's, ParticleTrieur's, EcoTaxa's, or one's own."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.config.sheets import SheetKind, read_sheet, with_point
from daemon.library.sources.places import PictureOrigin, day_of
from daemon.system.errors import Refused
from drivers.texts import plain

_NAMES: dict[str, tuple[str, ...]] = {
    "file": ("file", "filename", "fichier", "img_file_name", "path", "image"),
    "label": ("label", "class", "taxon", "object_annotation_category"),
    "sample": ("sample", "sample_id", "sampleid"),
    "slide": ("slide", "mini-slide"),
    "day": ("day", "date", "time_utc", "time", "datetime", "timestamp", "object_date"),
    "pixel_um": ("pixel_um",),
    "resolution": ("resolution",),
    "width_px": ("width_px",),
    "height_px": ("height_px",),
    "length_um": ("length_um",),
    "width_um": ("width_um",),
}
"""Columns, the first that is there; `resolution` is in px/mm, `width_px` and `height_px` are of the picture before it
was made smaller."""
_NUMBERS = ("pixel_um", "resolution", "width_px", "height_px", "length_um", "width_um")
_DRIVE = re.compile(r"[A-Za-z]:/")
_TYPES = ("[t]", "[f]")
"""EcoTaxa's second row says what the columns are."""


@dataclass(frozen=True)
class TableRow:
    """What a line says of a picture; None or empty where it says nothing."""

    line: int
    place: PictureOrigin
    pixel_um: float | None
    original_px: tuple[float, float] | None
    length_um: float | None
    width_um: float | None

    def pixel_of(self, height: int, width: int, pixel_um: float | None) -> float | None:
        """Give the size of a pixel of the picture: of the table, or what a person says of the camera."""
        own = self.pixel_um or pixel_um
        if own is None or self.original_px is None:
            return own
        return own * max(self.original_px) / max(height, width)

    def length_of(self, pixel_um: float | None) -> float | None:
        """Give the length, or else the longer side of the picture; in pixels where nobody knows their size."""
        return self.length_um or self._side(max, pixel_um)

    def width_of(self, pixel_um: float | None) -> float | None:
        """Give the width, or else the shorter side of the picture; in pixels where nobody knows their size."""
        return self.width_um or self._side(min, pixel_um)

    def _side(self, which: Callable[[tuple[float, float]], float], pixel_um: float | None) -> float | None:
        return None if self.original_px is None else which(self.original_px) * (self.pixel_um or pixel_um or 1.0)


class PictureTable:
    """A table of pictures.

    Raises
    ------
    Refused
        It cannot be read, has no column of files, or a number in it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        sheet = read_sheet(path, SheetKind("table", "--table", (), "picture", "a picture"))
        by_folded = {plain(column).casefold(): column for column in reversed(sheet.columns)}
        self._columns = {
            what: column
            for what, names in _NAMES.items()
            if (column := next((by_folded[name] for name in names if name in by_folded), None)) is not None
        }
        if "file" not in self._columns:
            raise Refused(
                f"{path} has no column of files among {', '.join(sheet.columns)}; name one {_NAMES['file'][0]}"
            )
        self.columns = tuple(self._columns.values())
        self.doubt = sheet.doubt
        self._rows: dict[str, TableRow] = {}
        self._by_file: dict[str, list[str]] = {}
        self.notes: list[str] = []
        for line, cells in sheet.rows:
            name = posixpath.normpath(cells[self._columns["file"]].replace("\\", "/"))
            if cells[self._columns["file"]] in _TYPES:
                continue
            if not cells[self._columns["file"]]:
                self.notes.append(f"{path.name}, line {line} names no file, so nothing is taken from it")
                continue
            row = self._row(sheet.at(line), line, cells, sheet.comma_is_decimal)
            if name in self._rows and self._rows[name].place != row.place:
                self.notes.append(f"{name}: lines {self._rows[name].line} and {line} of {path.name} differ")
            if name not in self._rows:
                self._by_file.setdefault(name.rpartition("/")[2], []).append(name)
            self._rows[name] = row
        self._met: dict[str, list[str]] = {}

    def of(self, name: str) -> TableRow | None:
        """Find the line of a picture.

        Parameters
        ----------
        name
            below its folder (posix). A line may have it, its end, such as the file's name alone, or the whole path on
            another computer.
        """
        fitting = [one for one in self._by_file.get(name.rpartition("/")[2], ()) if _fits(one, name)]
        found = name if name in fitting else fitting[0] if len(fitting) == 1 else None
        if found is None:
            return None
        self._met.setdefault(found, []).append(name)
        return self._rows[found]

    def several(self) -> Iterator[str]:
        """Name the files of lines that fit several pictures, each of which is taken to be meant."""
        return (name for name, met in self._met.items() if len(met) > 1)

    def left(self) -> Iterator[str]:
        """Name the files of lines that no picture was found for."""
        return (name for name in self._rows if name not in self._met)

    def _row(self, at: str, line: int, cells: Mapping[str, str], comma_is_decimal: bool) -> TableRow:
        text = {what: cells[column] for what, column in self._columns.items()}
        number = {
            what: self._number(at, what, with_point(text[what], comma_is_decimal))
            for what in _NUMBERS
            if text.get(what)
        }
        pixel_um = number.get("pixel_um")
        if pixel_um is None and "resolution" in number:
            pixel_um = 1000 / number["resolution"]
        sides = "width_px" in number and "height_px" in number
        return TableRow(
            line,
            PictureOrigin(
                text.get("label", ""), plain(text.get("sample", "")), plain(text.get("slide", "")),
                day_of(text.get("day", "")),
            ),
            pixel_um,
            (number["width_px"], number["height_px"]) if sides else None,
            number.get("length_um"),
            number.get("width_um"),
        )  # fmt: skip

    def _number(self, at: str, what: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not 0 < number < float("inf"):
            raise Refused(
                f"{at}: {self._columns[what]} is {text!r}, which is no number above 0; correct it or leave it empty"
            )
        return number


def _fits(line: str, name: str) -> bool:
    """Whether a line may be of a picture: one path ends as the other, or the line's is of another computer."""
    elsewhere = line.startswith("/") or _DRIVE.match(line) is not None
    return elsewhere or f"/{name}".endswith(f"/{line}") or f"/{line}".endswith(f"/{name}")
