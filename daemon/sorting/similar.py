"""`lamelle similar`: what looks like an object, in all nights, by the features that one encoder made of both.

Likeness is the cosine between two vectors. Of the measures that were tried on days held out, whitened ones among them,
it put the same taxon first most often (docs/names.md); and it needs nothing but the vectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.features import KeptFeatures, Vector, encoders_of
from daemon.dataset.reader import Dataset
from daemon.places.nights import find_nights, look_through
from daemon.records.objects import ObjectName
from daemon.records.records import FieldSecured, NightStarted, ObjectRow
from daemon.sorting.named import Recorded, SortedObject, named_now
from daemon.sorting.page import PageSection, write_page
from daemon.system.errors import DamagedFile, Refused
from daemon.system.progress import follow
from inference.wording import MICROMETRE, counted, short

_SHORT = re.compile(r"(?:slide-)?([1-9]\d{0,3})/(?:field-)?(\d{1,6})(?:/attempt-([1-9]\d{0,3}))?/(\d{1,9})", re.ASCII)


class Alike(NamedTuple):
    """An object and how much it looks like the one that was asked about."""

    likeness: float
    recorded: Recorded


@dataclass(frozen=True)
class SimilarObjects:
    """What looks like an object.

    Attributes
    ----------
    object
        that was asked about.
    likeness
        of each of `found`, -1 to 1, the greatest first.
    encoder
        sha256 of what made the features.
    searched
        how many objects it was compared with.
    nights
        in which these are.
    without
        how many objects of these nights have no features.
    notes
        what was left out, a sentence each.
    """

    object: SortedObject
    found: tuple[SortedObject, ...]
    likeness: tuple[float, ...]
    encoder: str
    searched: int
    nights: int
    without: int
    notes: tuple[str, ...]


def find_similar(folder: Path, text: str, places: Sequence[Path], most: int, console: Console) -> SimilarObjects:
    """Find the objects that look most like one.

    Parameters
    ----------
    folder
        dataset of the object, the run folder that it lies in, or a folder that holds some; it is searched too.
    text
        which object: its name, or, where the folder holds one night, mini-slide, field and number of the attempt that
        counts, as 3/17/4.
    places
        further nights: datasets, run folders, or folders that hold some.
    most
        how many are given.
    console
        where to tell how far it is.

    Raises
    ------
    Refused
        There is no such night or object, or it has no features.
    DamagedFile
        The features of the object cannot be read.
    """
    own = _night_of(folder, text)
    with Dataset.open(own) as dataset, dataset.unchanging():
        asked = object_in(dataset, text)
        encoder, vector = _features(dataset, asked)
    search = _SimilarSearch(asked, vector, encoder, most, console)
    seen = look_through([own, folder, *places], search.look)
    named = named_now([asked, *(one.recorded for one in search.best)])
    return SimilarObjects(
        object=named.objects[0],
        found=named.objects[1:],
        likeness=tuple(one.likeness for one in search.best),
        encoder=encoder,
        searched=search.searched,
        nights=len(seen.folders),
        without=search.without,
        notes=(*seen.notes, *search.notes, *named.notes),
    )


def _night_of(folder: Path, text: str) -> Path:
    """Find the dataset of an object that a person asks about."""
    nights = find_nights([folder]).folders
    if len(nights) == 1:
        return nights[0]
    if _SHORT.fullmatch(text):
        raise Refused(
            f"{folder} holds {len(nights)} nights, and {text!r} is an object of any of them; name one of the nights, "
            "or the whole name of the object"
        )
    night = _whole_name(text).night
    for one in nights:
        with suppress(Refused, DamagedFile), Dataset.open(one) as dataset:
            if (started := dataset.night()) is not None and started.night == night:
                return one
    raise Refused(f"{folder} holds no night {night!r} that can be read; name the dataset of the object")


def _whole_name(text: str) -> ObjectName:
    try:
        return ObjectName.parse(text)
    except ValueError as error:
        raise Refused(f"{error}, or like '3/17/4' for mini-slide, field and number") from error


def object_in(dataset: Dataset, text: str) -> Recorded:
    """Find an object of a night.

    Raises
    ------
    Refused
        It is no name of an object, or the night holds none of that name.
    """
    started = dataset.night()
    night = "" if started is None else started.night
    if short := _SHORT.fullmatch(text):
        slide, number = int(short[1]), int(short[2])
        attempt = int(short[3]) if short[3] else dataset.attempt(slide, number) or 1
        name = ObjectName(night, slide, number, attempt, int(short[4]))
    else:
        name = _whole_name(text)
    if name.night != night:
        raise Refused(f"{str(name)!r} is of another night than {dataset.folder}, which is {night!r}; name its dataset")
    fields = (*dataset.fields(name.slide), *dataset.superseded(name.slide))
    for one in fields:
        if isinstance(one, FieldSecured) and (one.field, one.attempt) == (name.field, name.attempt):
            for row in one.objects:
                if row.number == name.number:
                    return Recorded(dataset.folder, one, row)
    raise Refused(f"{dataset.folder} holds no object {str(name)!r}; its field's record names those that there are")


def _features(dataset: Dataset, asked: Recorded) -> tuple[str, NDArray[np.float32]]:
    """Give the features of an object, by the newest encoder that has made some of it."""
    for encoder in encoders_of(dataset):
        vector = KeptFeatures(asked.folder, encoder).of(asked.field).get(asked.row.number)
        if vector is not None and (unit := _unit(vector)) is not None:
            return encoder, unit
    raise Refused(
        f"{asked.folder} keeps no features of this object; `lamelle classify` with a classifier that holds its "
        "encoder makes them from the crops"
    )


def _unit(vector: Vector) -> NDArray[np.float32] | None:
    """Scale a vector to length 1; None where it has no direction."""
    wide = vector.astype(np.float32)
    length = float(np.linalg.norm(wide))
    return wide / np.float32(length) if np.isfinite(length) and length > 0 else None


class _SimilarSearch:
    """Goes through nights, one field in memory at a time, and keeps what is most alike."""

    def __init__(self, asked: Recorded, vector: NDArray[np.float32], encoder: str, most: int, console: Console) -> None:
        self._asked = asked
        self._vector = vector
        self._encoder = encoder
        self._most = most
        self._console = console
        self.best: list[Alike] = []
        self.searched = self.without = 0
        self.notes: list[str] = []

    def look(self, dataset: Dataset, started: NightStarted) -> None:
        """Compare with the objects of a night that count, with all of them or none.

        Raises
        ------
        Refused
            It keeps no features of the encoder.
        DamagedFile
            It cannot be read.
        """
        before = self.best, self.searched, self.without
        try:
            self._look(dataset, started)
        except (Refused, DamagedFile):
            self.best, self.searched, self.without = before
            raise

    def _look(self, dataset: Dataset, started: NightStarted) -> None:
        encoders = encoders_of(dataset)
        if self._encoder not in encoders:
            what = f"features of encoder {encoders[0][:12]}, not {self._encoder[:12]}" if encoders else "no features"
            remedy = "`lamelle classify` with the same classifier as that of the object makes them from the crops"
            raise Refused(f"{dataset.folder} keeps {what}; {remedy}")
        kept = KeptFeatures(dataset.folder, self._encoder)
        exclusions = standing_exclusions(dataset)
        unread: dict[str, None] = {}
        total = sum(held.recorded for held in dataset.slides())
        for one in follow(_fields(dataset), total, f"fields of {started.night}", self._console):
            counted = one.objects if exclusions.counted(one.slide, one.field) else ()
            rows = [row for row in counted if row.counted and not self._is_asked(dataset.folder, one, row)]
            try:
                vectors = kept.of(one) if rows else {}
            except DamagedFile as error:
                unread[str(error)] = None
                vectors = {}
            self._compare(dataset.folder, one, rows, vectors)
        self.notes += unread

    def _is_asked(self, folder: Path, field: FieldSecured, row: ObjectRow) -> bool:
        asked = self._asked
        place = asked.field.slide, asked.field.field, asked.field.attempt, asked.row.number
        return folder == asked.folder and (field.slide, field.field, field.attempt, row.number) == place

    def _compare(self, folder: Path, field: FieldSecured, rows: list[ObjectRow], vectors: dict[int, Vector]) -> None:
        there = [row for row in rows if row.number in vectors]
        self.without += len(rows) - len(there)
        self.searched += len(there)
        if not there:
            return
        wide = np.stack([vectors[row.number] for row in there]).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            likeness = (wide @ self._vector) / np.linalg.norm(wide, axis=1)
        least = self.best[-1].likeness if len(self.best) == self._most else -np.inf
        # What has no direction, or is no number, is like nothing.
        better = [
            Alike(value, Recorded(folder, field, row))
            for row, value in zip(there, likeness.tolist(), strict=True)
            if value > least
        ]
        if better:
            self.best = sorted([*self.best, *better], key=lambda one: -one.likeness)[: self._most]


def _fields(dataset: Dataset) -> Iterator[FieldSecured]:
    for held in dataset.slides():
        yield from (one for one in dataset.fields(held.slide) if isinstance(one, FieldSecured))


def show(found: SimilarObjects, console: Console) -> None:
    """Print what looks like an object."""
    table = Table(
        title=escape(f"like {found.object.name}, {found.object.called}"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("object", overflow="fold")
    table.add_column("likeness", justify="right")
    table.add_column("taxon", overflow="fold")
    table.add_column(f"length, {MICROMETRE}", justify="right")
    for one, likeness in zip(found.found, found.likeness, strict=True):
        length = "" if one.row.length_um is None else short(one.row.length_um)
        table.add_row(escape(str(one.name)), f"{likeness:.3f}", escape(one.called), length)
    lines = [Text(note, style="yellow") for note in found.notes]
    console.print(Group(table, *lines, Text(compared(found))))


def write_similar_page(found: SimilarObjects, into: Path) -> None:
    """Write what looks like an object as a page with pictures, whole or not at all."""
    captions = [f"{value:.3f} {one.called}" for one, value in zip(found.found, found.likeness, strict=True)]
    sections = [
        PageSection("The object", "", [(found.object, found.object.called)]),
        PageSection("What looks like it, the most alike first", "", list(zip(found.found, captions, strict=True))),
    ]
    write_page(into, f"Like {found.object.name}", [compared(found), *found.notes], sections)


def compared(found: SimilarObjects) -> str:
    """Say with what an object was compared."""
    without = f"; {counted(found.without, 'object has', 'objects have')} no features" if found.without else ""
    return f"compared with {counted(found.searched, 'object')} of {counted(found.nights, 'night')}{without}"
