"""Tables of labels that people keep: CSV as spreadsheets save it, and Parquet.

CSV is UTF-8, UTF-16 or Windows-1252, its cells separated by commas, semicolons or tabs; columns in any order. A text
that a spreadsheet would take for a formula is written with an apostrophe before it, and read without.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from daemon.added.store import ROW
from daemon.config.sheets import separated
from daemon.config.taxonomy import folded
from daemon.dataset.labels import COLUMNS
from daemon.system.errors import Refused
from drivers.texts import EncodingUnknown, decode

OBJECT = "object"
"""Column that may stand for the five of the key: `str` of an `ObjectName`."""
STANDS = "stands"
"""Column of exports: whether this label stands. It is not read."""
READ = (*COLUMNS, OBJECT, ROW)
ENDINGS = (".csv", ".tsv", ".txt", ".parquet")
if TYPE_CHECKING:
    from _csv import Reader

_BATCH = 5_000
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_SHIELDED = re.compile(r"'+[=+\-@\t\r]")

Cells = Mapping[str, object]
"""What a row says, by column; None where it says nothing."""


@dataclass(frozen=True)
class LabelSheet:
    """A table of labels.

    Attributes
    ----------
    columns
        in small letters.
    doubt
        what had to be guessed about its letters; empty where nothing was.
    """

    path: Path
    columns: tuple[str, ...]
    doubt: str
    _text: str | None = None
    _delimiter: str = ","

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that lamelle reads nothing from."""
        return tuple(name for name in self.columns if name and name not in (*READ, STANDS))

    @property
    def comma_is_decimal(self) -> bool:
        """Whether semicolons separate cells, so that a comma stands in numbers."""
        return self._delimiter == ";"

    def rows(self) -> Iterator[tuple[int, Cells | str]]:
        """Give what each row says with its number, that of the line in a CSV file; or what is wrong with it."""
        return self._lines() if self._text is not None else self._records()

    def _lines(self) -> Iterator[tuple[int, Cells | str]]:
        reader = _reader(self._text or "", self._delimiter)
        next(cells for cells in reader if any(map(str.strip, cells)))
        for cells in reader:
            given = [_unshielded(cell.strip()) or None for cell in cells]
            if not any(given):
                continue
            if len(given) == len(self.columns):
                yield reader.line_num, dict(zip(self.columns, given, strict=True))
            else:
                where = "put text that holds a separator in quotation marks"
                yield reader.line_num, f"{len(given)} cells are in a row of {len(self.columns)} columns; {where}"

    def _records(self) -> Iterator[tuple[int, Cells | str]]:
        wanted = [name for name in self.columns if name in READ]
        number = 0
        with self.path.open("rb") as stream:
            file = pq.ParquetFile(stream, pre_buffer=False)
            stored = [file.schema_arrow.names[self.columns.index(name)] for name in wanted]
            for batch in file.iter_batches(_BATCH, columns=stored, use_threads=False):
                for record in batch.select(stored).to_pylist():
                    number += 1
                    yield number, dict(zip(wanted, record.values(), strict=True))


def read_sheet(path: Path) -> LabelSheet:
    """Open a table of labels; a row that is wrong does not end it.

    Raises
    ------
    Refused
        It cannot be read, or its columns do not name objects.
    """
    if path.suffix.lower() not in ENDINGS:
        raise Refused(f"{path} is none of the tables that are read; give one that ends in {', '.join(ENDINGS)}")
    try:
        sheet = _parquet(path) if path.suffix.lower() == ".parquet" else _text_table(path)
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror or error}); name a table of labels") from error
    for name in sheet.columns:
        if name and sheet.columns.count(name) > 1:  # spreadsheets save empty columns too
            raise Refused(f"{path}: column {name!r} appears {sheet.columns.count(name)} times; rename one")
    key = ("night", "slide", "field", "number")
    missing = [name for name in key if name not in sheet.columns]
    if missing and OBJECT not in sheet.columns:
        raise Refused(
            f"{path} has no column {missing[0]!r} among {', '.join(map(repr, sheet.columns))}; objects are named by "
            f"{', '.join(key)} and attempt, or by {OBJECT}: add it"
        )
    return sheet


def _text_table(path: Path) -> LabelSheet:
    try:
        outside = decode(path.read_bytes())
    except EncodingUnknown as error:
        raise Refused(f"{path}, {error}; save the table as CSV UTF-8") from error
    text, delimiter, above = separated(outside.text)
    reader = _reader(text, delimiter)
    header: Sequence[str] | None = None
    try:
        for cells in reader:
            if header is None and any(map(str.strip, cells)):
                header = cells
    except csv.Error as error:
        raise Refused(
            f"{path}, line {above + reader.line_num}: {error}; correct the quotation marks. Nothing was imported"
        ) from error
    if header is None:
        raise Refused(f"{path} holds no label; give a first line with the names of the columns")
    return LabelSheet(path, _names(header), outside.doubt, "\n" * above + text, delimiter)


def _parquet(path: Path) -> LabelSheet:
    try:
        with path.open("rb") as stream:
            names = pq.ParquetFile(stream, pre_buffer=False).schema_arrow.names
    except pa.ArrowException as error:
        raise Refused(f"{path} is no Parquet file that can be read ({error}); write it anew") from error
    return LabelSheet(path, _names(names), "")


def _names(header: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(folded, header))


def _reader(text: str, delimiter: str) -> Reader:
    # Line by line: a StringIO would hold the text once more, four bytes a letter.
    lines = (match[0] for match in _LINE.finditer(text))
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _unshielded(cell: str) -> str:
    return cell[1:] if _SHIELDED.match(cell) else cell
