"""The tables that lie beside those of the night: of later measurements, and of names that were given later."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemon.dataset.exclusions import COUNTS_BY, standing_exclusions, with_exclusions
from daemon.dataset.objects_table import completed, read_parquet
from daemon.dataset.reader import Dataset
from daemon.records.names import slide_folder
from daemon.records.records import MEASURED, NAMED
from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import DamagedFile, Refused
from daemon.system.progress import ranges
from inference.wording import counted

_PLACE = ("slide", "field", "number")
_SAME = ("field_file", "class_name", "score", "box_x0", "box_y0", "box_x1", "box_y1")
"""What an object and what was said of it later have in common; the name of the file tells the attempt at the field."""
OF_AN_OBJECT = ("night", *_PLACE, *_SAME)


class Given(StrEnum):
    """What later tables give objects; their files are named after it: `measured-001.parquet`."""

    MEASURED = "measured"
    NAMED = "named"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of objects that such tables give."""
        return MEASURED if self is Given.MEASURED else NAMED

    @property
    def metadata(self) -> bytes:
        """Key of a table's metadata that says when and with what it was made."""
        return f"lamelle.{self}".encode()

    def path(self, folder: Path, slide: int, number: int) -> Path:
        """Place of a mini-slide's table below a folder."""
        return folder / slide_folder(slide) / f"{self}-{number:03d}.parquet"


class MeasuredWith(msgspec.Struct, frozen=True, kw_only=True):
    """When and with what a table was measured: UTC seconds, versions, formulas, names of calibration records."""

    number: int
    utc: float
    versions: dict[str, str]
    formulas: dict[str, str]
    calibrations: tuple[str, ...]


class NamedWith(msgspec.Struct, frozen=True, kw_only=True):
    """When and with what names were given: UTC seconds, versions, sha256 of the classifier and of its encoder.

    `taxonomy` is that whose identifiers are said, as records keep it; empty: the classifier's own are. `reference` is
    what the classifier's library looked like, as features keep it.
    """

    number: int
    utc: float
    versions: dict[str, str]
    named_by: str
    encoder: str
    taxonomy: str = ""
    reference: str = ""


_With = TypeVar("_With", MeasuredWith, NamedWith)


@dataclass(frozen=True)
class TableOrigin:
    """Where what is said of objects comes from.

    Attributes
    ----------
    given
        what it is.
    number
        of the later table, 0 for the night's own.
    uncovered
        slide and field of those whose objects, as they count now, it does not hold: theirs is the night's own.
    """

    given: Given
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
        what, own, how = {
            Given.MEASURED: ("measurement", "numbers", "`lamelle measure` measures all of them alike"),
            Given.NAMED: ("naming", "names", "`lamelle classify` names all of them alike"),
        }[self.given]
        return (
            f"{what} {self.number} does not cover {counted(len(self.uncovered), 'field')} ({where}), whose "
            f"objects have the night's own {own}; {how}"
        )


@dataclass(frozen=True)
class TableOrigins:
    """Where the measurements of objects come from, and where their names do."""

    measured: TableOrigin = TableOrigin(Given.MEASURED)
    named: TableOrigin = TableOrigin(Given.NAMED)

    @property
    def gaps(self) -> list[str]:
        """Say what they do not cover."""
        return [origin.gap for origin in (self.measured, self.named) if origin.gap]


def later_tables(folder: Path, given: Given) -> dict[int, list[Path]]:
    """Find the later tables in a dataset, by their number, in the order of their slides."""
    name = re.compile(rf"{given}-(\d{{3,}})\.parquet", re.ASCII)
    tables: dict[int, list[Path]] = {}
    for path in sorted(folder.glob(f"slide-*/{given}-*.parquet"), key=lambda path: int(path.parent.name[6:])):
        if match := name.fullmatch(path.name):
            tables.setdefault(int(match[1]), []).append(path)
    return dict(sorted(tables.items()))


def write_later_table(folder: Path, given: Given, slide: int, table: pa.Table, made: MeasuredWith | NamedWith) -> None:
    """Write a mini-slide's table, whole or not at all.

    Raises
    ------
    Refused
        It cannot be written there.
    """
    path = given.path(folder, slide, made.number)
    metadata = {**(table.schema.metadata or {}), given.metadata: msgspec.json.encode(made)}
    with refusing(path):
        make_folder(path.parent)
        with replacing(path) as stream:
            pq.write_table(table.replace_schema_metadata(metadata), stream)


def measured_with(path: Path) -> MeasuredWith:
    """Read when and with what a table was measured.

    Raises
    ------
    DamagedFile
        It cannot be read, or has lost that.
    """
    return _made_with(path, Given.MEASURED, MeasuredWith)


def named_with(path: Path) -> NamedWith:
    """Read when and with what the objects of a table were named.

    Raises
    ------
    DamagedFile
        It cannot be read, or has lost that.
    """
    return _made_with(path, Given.NAMED, NamedWith)


def _made_with(path: Path, given: Given, kind: type[_With]) -> _With:
    with _explaining(path):
        said = (pq.read_schema(path).metadata or {}).get(given.metadata)
        if said is None:
            raise ValueError("it does not say when and with what it was made, as where another program wrote it again")
        return msgspec.json.decode(said, type=kind)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedFile(
            f"{path} cannot be read ({error}); restore it from a copy, or move it away: "
            "its objects then have what the night itself said"
        ) from error


def nights_of_tables(folder: Path) -> set[str]:
    """Name the nights whose objects are in tables of a folder, whether a dataset lies there or not.

    Raises
    ------
    DamagedFile
        A table cannot be read.
    """
    of_features = ("field-", "features-")
    paths = [path for path in sorted(folder.glob("slide-*/*.parquet")) if not path.name.startswith(of_features)]
    nights = (_read(path, lambda table: table.select(["night"]))["night"] for path in paths)
    return {night for column in nights for night in column.unique().drop_null().to_pylist()}


def objects_table(
    dataset: Dataset,
    measured: int | None = None,
    named: int | None = None,
    beside: Path | None = None,
    field: tuple[int, int] | None = None,
    columns: Collection[str] | None = None,
) -> tuple[pa.Table, TableOrigins]:
    """Give the objects of a dataset, those too that do not count, and where their measurements and names come from.

    Which objects there are, the catalog says alone. A later table gives what it says to a field if it holds all objects
    of the attempt that counts, and no others.

    Parameters
    ----------
    measured
        number of a table of `lamelle measure`, 0 for the night's own; the newest one if left out.
    named
        number of a table of `lamelle classify`, likewise.
    beside
        a folder that a person named, where it is said too which fields are counted.
    field
        mini-slide and number of the only field whose objects are meant; of all if left out.
    columns
        only these, beside those that tell which object is meant: what is not asked for is not read.

    Raises
    ------
    Refused
        There is no such table.
    DamagedFile
        It cannot be read.
    """
    wanted = None if columns is None else {*columns, *OF_AN_OBJECT, *COUNTS_BY}
    slide, number = field or (None, None)
    own = dataset.objects(slide, number, wanted)
    table, measurement = _given_later(dataset, own, Given.MEASURED, measured, field)
    table, naming = _given_later(dataset, table, Given.NAMED, named, field)
    return with_exclusions(table, standing_exclusions(dataset, beside)), TableOrigins(measurement, naming)


def _given_later(
    dataset: Dataset, own: pa.Table, given: Given, wanted: int | None, field: tuple[int, int] | None
) -> tuple[pa.Table, TableOrigin]:
    tables = later_tables(dataset.folder, given)
    number = max(tables, default=0) if wanted is None else wanted
    if number == 0:
        return own, TableOrigin(given)
    if number not in tables:
        there = ", ".join(map(str, tables)) or "none"
        what = "measurement" if given is Given.MEASURED else "naming"
        raise Refused(f"{dataset.folder} has no {what} {number}; there are: {there}, and 0, the night's own")
    complete = completed if given is Given.MEASURED else _as_it_is
    paths = [path for path in tables[number] if field is None or path == given.path(dataset.folder, field[0], number)]
    if not paths:
        return own, TableOrigin(given, number, () if field is None else (field,))
    later = [_read(path, complete) for path in paths]
    columns = [name for name in given.columns if name in own.column_names]
    with _explaining(paths[0]):
        laid, uncovered = _laid_over(own, pa.concat_tables(later, promote_options="permissive"), columns)
    return laid, TableOrigin(given, number, uncovered)


def _as_it_is(table: pa.Table) -> pa.Table:
    return table


def _read(path: Path, complete: Callable[[pa.Table], pa.Table] = _as_it_is) -> pa.Table:
    with _explaining(path):
        return complete(read_parquet(path).replace_schema_metadata(None))


def _laid_over(own: pa.Table, later: pa.Table, columns: Sequence[str]) -> tuple[pa.Table, tuple[tuple[int, int], ...]]:
    """Give objects what a later table says, field by field, and say which fields it does not cover."""
    at = {place: index for index, place in enumerate(_places(later))}
    places = _places(own)
    # A null is no place: nothing is said there.
    aligned = later.take(pa.array([at.get(place) for place in places], pa.int64()))
    same = np.ones(len(places), bool)
    for name in _SAME:
        alike = pc.equal(own[name], aligned[name].cast(own.schema.field(name).type))
        same &= pc.fill_null(alike, False).to_numpy(zero_copy_only=False)
    held = {place[:2] for place in places}
    missed = {place[:2] for place, one in zip(places, same.tolist(), strict=True) if not one}
    missed |= {place[:2] for place in at.keys() - set(places)} & held
    covered = pa.array([place[:2] not in missed for place in places], pa.bool_())
    for name in columns:
        index = own.schema.get_field_index(name)
        field = own.schema.field(name)
        own = own.set_column(index, field, pc.if_else(covered, aligned[name].cast(field.type), own[name]))
    return own, tuple(sorted(missed))


def _places(table: pa.Table) -> Sequence[tuple[int, int, int]]:
    return list(zip(*(table[name].to_pylist() for name in _PLACE), strict=True))
