"""The sample sheet: which sample lies on which mini-slide, and what is known of it.

A CSV file (UTF-8, UTF-16 or Windows-1252; commas, semicolons or tabs, or what a line `sep=` above says) whose first row
names the columns. `position` and
`sample` are mandatory, the columns of `COUNTING` are numbers and handed on with a decimal point, any further column is
carried as it stands. One sample may lie on several mini-slides: replicates are usual, and every record names the
mini-slide beside the sample. Names are read so that what looks the same is the same.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from daemon.system.errors import Refused
from drivers.texts import EncodingUnknown, OutsideText, decode, plain

POSITION = "position"
SAMPLE = "sample"
_NO_LETTERS = ("Cc", "Zl", "Zp")
"""Categories of Unicode: control characters, separators of lines and of paragraphs."""
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d)[\s'\u2019](?=\d{3}(?!\d))")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""1,234 is 1.234 to one and 1234 to another, unless the sheet separates cells by semicolons."""

_SEPARATOR = re.compile(r'"?sep=([^\s\w"]|\t)"?\1*[^\S\t\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""A first line by which Excel says what separates cells; whoever saves it as one of the table adds empty cells."""


@dataclass(frozen=True)
class CountingColumn:
    """A number needed to turn counts into densities or fluxes; it must be greater than `above` or at least `least`."""

    meaning: str
    above: float | None = None
    least: float | None = None

    def refusal(self, text: str) -> str | None:
        """Say what is wrong with a cell, None for a good one."""
        try:
            value = float(text)
        except ValueError:
            either = ", which may be meant in two ways" if _EITHER.fullmatch(text) else ""
            return f"it must be a number with a decimal point{either}"
        if not math.isfinite(value):
            return "it must be finite"
        if self.above is not None and value <= self.above:
            return f"it must be greater than {self.above:g}"
        if self.least is not None and value < self.least:
            return f"it must be at least {self.least:g}"
        return None


COUNTING: dict[str, CountingColumn] = {
    "settling_area_mm2": CountingColumn("floor area of the settling beaker", above=0),
    "sediment_mass_mg": CountingColumn("dry sediment brought into the beaker", above=0),
    "aliquot_factor": CountingColumn("whole suspension over the part that was settled", least=1),
    "split_factor": CountingColumn("whole trap sample over the split that was settled", least=1),
    "trap_area_m2": CountingColumn("opening of the sediment trap", above=0),
    "collection_days": CountingColumn("time the trap collected this sample", above=0),
}


def read_samples(path: Path, positions: Collection[int]) -> dict[int, dict[str, str]]:
    """Columns of the sheet, without the position, for each of the mini-slides `positions`.

    Raises
    ------
    Refused
        The sheet cannot be read or is broken; the sentence names file, line, column, value and remedy.
    """
    header, rows, delimiter = _rows(path)
    samples: dict[int, dict[str, str]] = {}
    lines: dict[int, int] = {}
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        position = _position(path, line, row.pop(POSITION))
        if position in lines:
            raise Refused(
                f"{path}, line {line}: {POSITION} {position} is already given in line {lines[position]}; "
                "give every mini-slide one line"
            )
        _check_row(path, line, row, delimiter == ";")
        row[SAMPLE] = plain(row[SAMPLE])
        lines[position] = line
        samples[position] = row
    missing = sorted(set(positions) - samples.keys())
    if missing:
        raise Refused(
            f"{path}: no line has {POSITION} {missing[0]}, which scan.slides wants scanned; "
            "add its line, or take the mini-slide out of the scan"
        )
    return {position: samples[position] for position in sorted(positions)}


def doubt_of(path: Path) -> str:
    """Say what had to be guessed about a sheet's letters; empty where nothing was.

    Raises
    ------
    Refused
        The sheet cannot be read.
    """
    return _read(path).doubt


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Names of the columns, the cells of every line that is not empty with its number, and what separates cells."""
    text = _read(path).text
    said = _SEPARATOR.match(text)
    above = 1 if said else 0
    text = text[said.end() :] if said else text
    first = text.partition("\n")[0]
    delimiter = said[1] if said else next((one for one in ",;\t" if one in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(above + reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise Refused(f"{path}, line {above + reader.line_num}: {error}; correct the quotation marks") from error
    lines = [(line, cells) for line, cells in lines if any(cells)]
    if len(lines) < 2:
        raise Refused(f"{path} holds no sample; give a first line '{POSITION},{SAMPLE}' and one line a mini-slide")
    (line, named), *rows = lines
    header = [plain(name) for name in named]
    _check_header(path, line, header)
    for line, cells in rows:
        if len(cells) != len(header):
            raise Refused(
                f"{path}, line {line}: {len(cells)} cells are in a row of {len(header)} columns; "
                "put text that holds a separator in quotation marks"
            )
    return header, rows, delimiter


def _read(path: Path) -> OutsideText:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise Refused(
            f"the sample sheet {path} cannot be read ({error.strerror}); correct scan.samples or the file"
        ) from error
    except EncodingUnknown as error:
        raise Refused(f"{path}, {error}; save the sheet as CSV UTF-8") from error


def _check_header(path: Path, line: int, header: list[str]) -> None:
    for name in (POSITION, SAMPLE):
        if name not in header:
            raise Refused(f"{path}, line {line}: there is no column {name!r} among {', '.join(header)}; add it")
    for number, name in enumerate(header, 1):
        if not name:
            raise Refused(f"{path}, line {line}: column {number} has no name; name it or delete it")
        if header.count(name) > 1:
            raise Refused(f"{path}, line {line}: column {name!r} appears {header.count(name)} times; rename one")


def _position(path: Path, line: int, text: str) -> int:
    if text not in {str(n) for n in range(1, 9)}:
        raise Refused(
            f"{path}, line {line}: {POSITION} is {text!r}; give the place in the holder, a whole number from 1 to 8"
        )
    return int(text)


def _check_row(path: Path, line: int, row: dict[str, str], comma_is_decimal: bool) -> None:
    if not plain(row[SAMPLE]):
        raise Refused(f"{path}, line {line}: {SAMPLE} is empty; name the sample that lies on this mini-slide")
    if any(unicodedata.category(letter) in _NO_LETTERS for letter in row[SAMPLE]):
        raise Refused(
            f"{path}, line {line}: {SAMPLE} is {row[SAMPLE]!r}, which holds a line break or a control character; "
            "write it on one line, without"
        )
    for name, column in COUNTING.items():
        text = row.get(name, "")
        if not text:
            continue
        row[name] = _with_point(text, comma_is_decimal)
        if refusal := column.refusal(row[name]):
            raise Refused(f"{path}, line {line}: {name} is {text!r}, but {refusal}; correct it or leave it empty")


def _with_point(text: str, comma_is_decimal: bool) -> str:
    """Write a number with a decimal point and nothing between its thousands; what may be two numbers stays as it is."""
    bare = _BETWEEN_THOUSANDS.sub("", text)
    if _WITH_COMMA.fullmatch(bare) and (comma_is_decimal or not _EITHER.fullmatch(bare)):
        return bare.replace(",", ".")
    return bare
