"""The tables of later measurements that lie beside those of the night."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemon.dataset.objects_table import completed, read_parquet
from daemon.dataset.reader import Dataset
from daemon.records.records import MEASURED
from daemon.system.errors import DamagedFile, Refused
from daemon.system.progress import ranges
from inference.wording import counted

METADATA = b"lamelle.measured"


_NAME = re.compile(r"measured-(\d{3,})\.parquet", re.ASCII)
_PLACE = ("slide", "field", "number")
_SAME = ("field_file", "class_name", "score", "box_x0", "box_y0", "box_x1", "box_y1")
"""What an object and a measurement of it have in common; the name of the file tells the attempt at the field."""


class MeasuredWith(msgspec.Struct, frozen=True, kw_only=True):
    """When and with what a table was measured: UTC seconds, versions, formulas, names of calibration records."""

    number: int
    utc: float
    versions: dict[str, str]
    formulas: dict[str, str]
    calibrations: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """Where the numbers of objects come from.

    Attributes
    ----------
    number
        of the table of `lamelle measure`, 0 for the night's own.
    uncovered
        slide and field of those whose objects, as they count now, it does not hold: theirs are the night's own.
    """

    number: int = 0
    uncovered: tuple[tuple[int, int], ...] = ()

    @property
    def gap(self) -> str:
        """Say what it does not cover; empty where it covers everything."""
        if not self.uncovered:
            return ""
        where = "; ".join(
            f"mini-slide {slide}: {ranges([field for _, field in same])}"
            for slide, same in groupby(self.uncovered, key=lambda place: place[0])
        )
        return (
            f"measurement {self.number} does not cover {counted(len(self.uncovered), 'field')} ({where}), whose "
            f"objects have the night's own numbers; `lamelle measure` measures all of them alike"
        )


def measured_tables(folder: Path) -> dict[int, list[Path]]:
    """Find the tables of measurements in a dataset, by their number, in the order of their slides."""
    tables: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("slide-*/measured-*.parquet"), key=lambda path: int(path.parent.name[6:])):
        if match := _NAME.fullmatch(path.name):
            tables.setdefault(int(match[1]), []).append(path)
    return dict(sorted(tables.items()))


def measured_with(path: Path) -> MeasuredWith:
    """Read when and with what a table was measured."""
    return msgspec.json.decode(pq.read_schema(path).metadata[METADATA], type=MeasuredWith)


def nights_of_tables(folder: Path) -> set[str]:
    """Name the nights whose objects are in tables of a folder, whether a dataset lies there or not.

    Raises
    ------
    DamagedFile
        A table cannot be read.
    """
    tables = map(_read, sorted(folder.glob("slide-*/*.parquet")))
    return {night for table in tables for night in table["night"].unique().drop_null().to_pylist()}


def objects_table(dataset: Dataset, measured: int | None = None) -> tuple[pa.Table, Measurement]:
    """Give the objects of a dataset, those too that do not count, and where their measurements come from.

    Which objects there are, the catalog says alone. A measurement gives its numbers to a field if it holds all objects
    of the attempt that counts, and no others.

    Parameters
    ----------
    measured
        number of a table of `lamelle measure`, 0 for the night's own; the newest one if left out.

    Raises
    ------
    Refused
        There is no such table.
    DamagedFile
        It cannot be read.
    """
    tables = measured_tables(dataset.folder)
    number = max(tables, default=0) if measured is None else measured
    own = dataset.objects()
    if number == 0:
        return own, Measurement()
    if number not in tables:
        there = ", ".join(map(str, tables)) or "none"
        raise Refused(f"{dataset.folder} has no measurement {number}; there are: {there}, and 0, the night's own")
    measured_rows = pa.concat_tables(map(_read, tables[number]), promote_options="default")
    laid, uncovered = _laid_over(own, measured_rows)
    return laid, Measurement(number, uncovered)


def _read(path: Path) -> pa.Table:
    try:
        return completed(read_parquet(path).replace_schema_metadata(None))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DamagedFile(
            f"{path} cannot be read ({error}); restore it from a copy, or move it away: "
            "its objects then have the night's own numbers"
        ) from error


def _laid_over(own: pa.Table, measured: pa.Table) -> tuple[pa.Table, tuple[tuple[int, int], ...]]:
    """Give objects the numbers of a measurement, field by field, and say which fields it does not cover."""
    at = {place: index for index, place in enumerate(_places(measured))}
    places = _places(own)
    # A null is no place: nothing was measured there.
    aligned = measured.take(pa.array([at.get(place) for place in places], pa.int64()))
    same = np.ones(len(places), bool)
    for name in _SAME:
        alike = pc.equal(own[name], aligned[name].cast(own.schema.field(name).type))
        same &= pc.fill_null(alike, False).to_numpy(zero_copy_only=False)
    held = {place[:2] for place in places}
    missed = {place[:2] for place, one in zip(places, same.tolist(), strict=True) if not one}
    missed |= {place[:2] for place in at.keys() - set(places)} & held
    covered = pa.array([place[:2] not in missed for place in places], pa.bool_())
    for name in MEASURED:
        index = own.schema.get_field_index(name)
        field = own.schema.field(name)
        own = own.set_column(index, field, pc.if_else(covered, aligned[name].cast(field.type), own[name]))
    return own, tuple(sorted(missed))


def _places(table: pa.Table) -> Sequence[tuple[int, int, int]]:
    return list(zip(*(table[name].to_pylist() for name in _PLACE), strict=True))
