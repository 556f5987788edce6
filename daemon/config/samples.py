"""The sample sheet: which sample lies on which mini-slide, and what is known of it.

Of a sheet (`daemon.config.sheets`) the columns `position` and `sample` are mandatory, those of `COUNTING` are numbers
and handed on with a decimal point, any further column is carried as it stands. One sample may lie on several
mini-slides: replicates are usual, and every record names the mini-slide beside the sample. Names are read so that what
looks the same is the same.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from daemon.config import sheets
from daemon.config.sheets import SheetKind, may_be_two_numbers, read_sheet, unprintable, with_point
from daemon.system.errors import Refused
from drivers.texts import plain

POSITION = "position"
SAMPLE = "sample"
_KIND = SheetKind("sample sheet", "scan.samples", (POSITION, SAMPLE), "sample", "a mini-slide")


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
            either = ", which may be meant in two ways" if may_be_two_numbers(text) else ""
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
    sheet = read_sheet(path, _KIND)
    samples: dict[int, dict[str, str]] = {}
    lines: dict[int, int] = {}
    for line, cells in sheet.rows:
        row = dict(cells)
        position = _position(path, line, row.pop(POSITION))
        if position in lines:
            raise Refused(
                f"{path}, line {line}: {POSITION} {position} is already given in line {lines[position]}; "
                "give every mini-slide one line"
            )
        _check_row(path, line, row, sheet.comma_is_decimal)
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
    return sheets.doubt_of(path, _KIND)


def _position(path: Path, line: int, text: str) -> int:
    if text not in {str(n) for n in range(1, 9)}:
        raise Refused(
            f"{path}, line {line}: {POSITION} is {text!r}; give the place in the holder, a whole number from 1 to 8"
        )
    return int(text)


def _check_row(path: Path, line: int, row: dict[str, str], comma_is_decimal: bool) -> None:
    if not plain(row[SAMPLE]):
        raise Refused(f"{path}, line {line}: {SAMPLE} is empty; name the sample that lies on this mini-slide")
    if unprintable(row[SAMPLE]):
        raise Refused(
            f"{path}, line {line}: {SAMPLE} is {row[SAMPLE]!r}, which holds a line break or a control character; "
            "write it on one line, without"
        )
    for name, column in COUNTING.items():
        text = row.get(name, "")
        if not text:
            continue
        row[name] = with_point(text, comma_is_decimal)
        if refusal := column.refusal(row[name]):
            raise Refused(f"{path}, line {line}: {name} is {text!r}, but {refusal}; correct it or leave it empty")
