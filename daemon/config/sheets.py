"""Sheets that people keep in spreadsheets: the one way in which rows and columns of a CSV file are read.

UTF-8, UTF-16 or Windows-1252; cells separated by commas, semicolons or tabs, or by what a line `sep=` above says; the
first row names the columns. Names of columns are read so that what looks the same is the same.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from daemon.system.errors import Refused
from drivers.texts import EncodingUnknown, OutsideText, decode, plain

_NO_LETTERS = ("Cc", "Zl", "Zp")
"""Categories of Unicode: control characters, separators of lines and of paragraphs."""
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d)[\s'\u2019](?=\d{3}(?!\d))")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""1,234 is 1.234 to one and 1234 to another, unless the sheet separates cells by semicolons."""

_SEPARATOR = re.compile(r'"?sep=([^\s\w"]|\t)"?\1*[^\S\t\r\n]*(?:\r\n|\r|\n)', re.IGNORECASE)
"""A first line by which Excel says what separates cells; whoever saves it as one of the table adds empty cells."""


@dataclass(frozen=True)
class SheetKind:
    """What a sheet is for, in the words of its refusals.

    Attributes
    ----------
    name
        such as "sample sheet".
    key
        key of the configuration that names it.
    mandatory
        columns that it must have.
    row
        what a line is of, such as "sample"; `one_each` says of what one line each is given.
    """

    name: str
    key: str
    mandatory: tuple[str, ...]
    row: str
    one_each: str


@dataclass(frozen=True)
class Sheet:
    """The cells of a sheet.

    Attributes
    ----------
    rows
        the number of each line that is not empty, and its cells by column.
    comma_is_decimal
        semicolons separate cells, so a comma stands in numbers.
    doubt
        what had to be guessed about its letters; empty where nothing was.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    comma_is_decimal: bool
    doubt: str

    def at(self, line: int) -> str:
        """Say where a fault is."""
        return f"{self.path}, line {line}"

    def notes(self, read: Collection[str]) -> tuple[str, ...]:
        """Say what was guessed, and which columns are none of those that are read."""
        told = [f"{self.path.name}, {self.doubt}"] if self.doubt else []
        if unread := [column for column in self.columns if column not in read]:
            told.append(f"{self.path.name}: lamelle reads nothing from the columns {', '.join(unread)}")
        return tuple(told)


def read_sheet(path: Path, kind: SheetKind) -> Sheet:
    """Read the cells of a sheet.

    Raises
    ------
    Refused
        It cannot be read, its columns are not told apart, or lines have more or fewer cells than there are columns; a
        sentence for each fault names file, line and remedy.
    """
    outside = _decoded(path, kind)
    header, rows, delimiter = _rows(path, kind, outside.text)
    cells = tuple((line, dict(zip(header, row, strict=True))) for line, row in rows)
    return Sheet(path, tuple(header), cells, delimiter == ";", outside.doubt)


def doubt_of(path: Path, kind: SheetKind) -> str:
    """Say what had to be guessed about a sheet's letters; empty where nothing was.

    Raises
    ------
    Refused
        The sheet cannot be read.
    """
    return _decoded(path, kind).doubt


def unprintable(text: str) -> bool:
    """Whether a text holds a line break or a control character."""
    return any(unicodedata.category(letter) in _NO_LETTERS for letter in text)


class Separated(NamedTuple):
    """The cells of a sheet, still in one text.

    Attributes
    ----------
    text
        without the line in which Excel says what separates cells.
    delimiter
        what separates them.
    above
        how many lines stand above the text.
    """

    text: str
    delimiter: str
    above: int


def separated(text: str) -> Separated:
    """Find what separates the cells of a sheet.

    Excel says it in a line of its own; else it is what is most frequent in the first line that is not empty.
    """
    if said := _SEPARATOR.match(text):
        return Separated(text[said.end() :], said[1], 1)
    first = next((line for line in text.splitlines() if line.strip()), "")
    return Separated(text, max(",;\t", key=first.count), 0)


def with_point(text: str, comma_is_decimal: bool) -> str:
    """Write a number with a decimal point and nothing between its thousands; what may be two numbers stays as it is."""
    bare = _BETWEEN_THOUSANDS.sub("", text)
    if _WITH_COMMA.fullmatch(bare) and (comma_is_decimal or not _EITHER.fullmatch(bare)):
        return bare.replace(",", ".")
    return bare


def may_be_two_numbers(text: str) -> bool:
    """Whether 1,234 is written, which is 1.234 to one and 1234 to another."""
    return _EITHER.fullmatch(text) is not None


def _rows(path: Path, kind: SheetKind, text: str) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Names of the columns, the cells of every line that is not empty with its number, and what separates cells."""
    text, delimiter, above = separated(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(above + reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise Refused(f"{path}, line {above + reader.line_num}: {error}; correct the quotation marks") from error
    lines = [(line, cells) for line, cells in lines if any(cells)]
    if len(lines) < 2:
        columns = f"'{','.join(kind.mandatory)}'" if kind.mandatory else "with the names of the columns"
        raise Refused(f"{path} holds no {kind.row}; give a first line {columns} and one line {kind.one_each}")
    (line, named), *rows = lines
    header = [plain(name) for name in named]
    faults = [*_faults_of_header(path, kind, line, header), *_faults_of_lengths(path, len(header), rows)]
    if faults:
        raise Refused("\n".join(dict.fromkeys(faults)))
    return header, rows, delimiter


def _decoded(path: Path, kind: SheetKind) -> OutsideText:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise Refused(
            f"the {kind.name} {path} cannot be read ({error.strerror}); correct {kind.key} or the file"
        ) from error
    except EncodingUnknown as error:
        raise Refused(f"{path}, {error}; save the sheet as CSV UTF-8") from error


def _faults_of_header(path: Path, kind: SheetKind, line: int, header: list[str]) -> Iterator[str]:
    for name in kind.mandatory:
        if name not in header:
            yield f"{path}, line {line}: there is no column {name!r} among {', '.join(header)}; add it"
    for number, name in enumerate(header, 1):
        if not name:
            yield f"{path}, line {line}: column {number} has no name; name it or delete it"
        elif header.count(name) > 1:
            yield f"{path}, line {line}: column {name!r} appears {header.count(name)} times; rename one"


def _faults_of_lengths(path: Path, columns: int, rows: list[tuple[int, list[str]]]) -> Iterator[str]:
    for line, cells in rows:
        if len(cells) != columns:
            yield (
                f"{path}, line {line}: {len(cells)} cells are in a row of {columns} columns; "
                "put text that holds a separator in quotation marks"
            )
