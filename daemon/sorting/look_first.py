"""`lamelle look-first`: the objects of nights that want a person most, one of each kind in turn.

Kinds are objects that are far from all that the classifier learnt, the farthest first; those of taxa that it said of
fewer than 30 objects of these nights, the rarest first; those it was not sure of, the least sure first; and those that
nobody named. An object stands where it comes first. What a person has labelled is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.config.written_sheets import write_sheet
from daemon.counts.called import CalledNow
from daemon.counts.unlike import named_from
from daemon.dataset.features import KeptFeatures
from daemon.dataset.reader import Dataset
from daemon.places.nights import look_through
from daemon.records.names import field_file
from daemon.records.records import FieldSecured, NightStarted
from daemon.sorting.named import Recorded, SortedObject, named_now
from daemon.sorting.page import PageSection, write_page
from daemon.system.errors import DamagedFile
from daemon.system.progress import follow
from inference.classification.answers import UNSURE
from inference.classification.reference import LibraryReference
from inference.errors import WeightsRefused
from inference.wording import counted

FEW = 30
"""Of taxa that were said less often every object is looked at: no sample of them tells anything."""
COLUMNS = ("night", "slide", "field", "number", "field_file", "taxon", "taxon_probability")


class Why(StrEnum):
    """Why a person should look at an object."""

    UNLIKE = "unlike the library"
    RARE = "rarely named"
    UNSURE = "unsure"
    NOT_NAMED = "not named"


class Wanted(NamedTuple):
    """The place of an object in a table, and why it is there."""

    row: int
    why: Why


@dataclass(frozen=True)
class FirstObjects:
    """What a person should look at first.

    Attributes
    ----------
    why
        of each of `objects`.
    times
        of each how far it is from what the classifier learnt, where 1 is farther than 99 % of what it never saw; NaN
        where that is not known.
    waiting
        how many objects there are of each kind.
    notes
        what was left out, or cannot be said, a sentence each.
    """

    objects: tuple[SortedObject, ...]
    why: tuple[Why, ...]
    times: tuple[float, ...]
    waiting: dict[Why, int]
    notes: tuple[str, ...]


def in_order(objects: pa.Table, times: NDArray[np.floating]) -> tuple[list[Wanted], dict[Why, int]]:
    """Order objects for a person to look at, and count those of each kind; the others are not in it.

    Parameters
    ----------
    objects
        with the columns `taxon`, `taxon_probability` and `said_by`, as `CalledNow` gives them.
    times
        (N,), how far each is from what the classifier learnt, 1 where it begins to be unlike it; NaN where not known.
    """
    taxa = objects["taxon"].to_pylist()
    sure = np.array([1.0 if one is None else one for one in objects["taxon_probability"].to_pylist()], np.float64)
    human = np.asarray(pc.is_valid(objects["said_by"]).to_numpy())
    said = Counter(taxon for taxon in taxa if taxon not in (None, UNSURE))
    often = np.array([said.get(taxon, 0) for taxon in taxa], np.int64)
    unsure = np.array([taxon == UNSURE for taxon in taxa], np.bool_)
    unnamed = np.array([taxon is None for taxon in taxa], np.bool_)
    far = np.where(np.isfinite(times), times, 0)
    kinds: dict[Why, tuple[NDArray[np.bool_], NDArray[np.float64]]] = {
        Why.UNLIKE: (far > 1, -far.astype(np.float64)),
        Why.RARE: ((often > 0) & (often < FEW), often + sure / 2),
        Why.UNSURE: (unsure, sure),
        Why.NOT_NAMED: (unnamed, np.zeros(len(taxa))),
    }
    turns: list[tuple[int, int, Wanted]] = []
    for kind, (why, (of, rank)) in enumerate(kinds.items()):
        rows = np.flatnonzero(of & ~human)
        ordered = rows[np.argsort(rank[rows], kind="stable")]
        turns += [(turn, kind, Wanted(int(row), why)) for turn, row in enumerate(ordered)]
    first: dict[int, Wanted] = {}
    for _, _, wanted in sorted(turns):
        first.setdefault(wanted.row, wanted)
    return list(first.values()), {why: int((of & ~human).sum()) for why, (of, _) in kinds.items()}


def find_first(places: Sequence[Path], most: int, console: Console) -> FirstObjects:
    """Find what a person should look at first in nights.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some.
    most
        how many objects are given.
    console
        where to tell how far it is.

    Raises
    ------
    Refused
        There is no night, or none that can be looked through; those that cannot are in the notes.
    """
    nights: list[_ObjectsOfNight] = []

    def look(dataset: Dataset, _: NightStarted) -> None:
        nights.append(_night(dataset, console))

    seen = look_through(places, look)
    tables = [one.table.append_column("at", pa.array([at] * len(one.table))) for at, one in enumerate(nights)]
    table, far = pa.concat_tables(tables), np.concatenate([one.times for one in nights])
    order, waiting = in_order(table, far)
    chosen = order[:most]
    rows = table.take(pa.array([one.row for one in chosen], pa.int64())).to_pylist()
    recorded = find_recorded(rows, [one.folder for one in nights])
    there = [(one, found) for one, found in zip(chosen, recorded, strict=True) if found is not None]
    named = named_now([found for _, found in there])
    gone = len(chosen) - len(there)
    changed = f"{counted(gone, 'object')} of those that want a look changed meanwhile; look again"
    return FirstObjects(
        objects=named.objects,
        why=tuple(one.why for one, _ in there),
        times=tuple(float(far[one.row]) for one, _ in there),
        waiting=waiting,
        notes=(*seen.notes, *(one.note for one in nights if one.note), *named.notes, *([changed] if gone else [])),
    )


class _ObjectsOfNight(NamedTuple):
    """Objects of a night that count, how far each is from what was learnt, and what is not known."""

    folder: Path
    table: pa.Table
    times: NDArray[np.float64]
    note: str = ""


def _night(dataset: Dataset, console: Console) -> _ObjectsOfNight:
    called = CalledNow.of(dataset, COLUMNS)
    known = named_from(dataset, called.origins.named)
    table = called.table.filter(called.table["counted"]).select([*COLUMNS, "said_by"])
    unknown = np.full(len(table), np.nan)
    try:
        reference = LibraryReference.from_text("" if known is None else known.reference)
        if known is None or reference is None:
            why = "nothing tells what the library of its classifier looked like"
            return _ObjectsOfNight(dataset.folder, table, unknown, f"{dataset.folder}: {why}")
        times = _times(dataset, table, KeptFeatures(dataset.folder, known.encoder), reference, console)
    except (DamagedFile, WeightsRefused) as error:
        return _ObjectsOfNight(dataset.folder, table, unknown, f"{dataset.folder}: {error}")
    return _ObjectsOfNight(dataset.folder, table, times)


def _times(
    dataset: Dataset, table: pa.Table, kept: KeptFeatures, reference: LibraryReference, console: Console
) -> NDArray[np.float64]:
    """Give how far each object of a table is from what was learnt; NaN without features."""
    places = zip(*(table[name].to_pylist() for name in ("slide", "field", "number")), strict=True)
    at = {place: row for row, place in enumerate(places)}
    times = np.full(len(table), np.nan)
    held = dataset.slides()
    fields = (one for slide in held for one in dataset.fields(slide.slide) if isinstance(one, FieldSecured))
    for one in follow(fields, sum(slide.recorded for slide in held), f"fields of {dataset.folder.name}", console):
        vectors = {
            at[place]: vector
            for number, vector in (kept.of(one) if one.objects else {}).items()
            if (place := (one.slide, one.field, number)) in at
        }
        if vectors:
            times[list(vectors)] = reference.times_as_far(np.stack(list(vectors.values())))
    return times


def find_recorded(rows: Sequence[dict[str, object]], nights: Sequence[Path]) -> list[Recorded | None]:
    """Find the records of objects, of the attempts that they are of: the night may have gone on since then.

    Parameters
    ----------
    rows
        of each the place `at` of its night, its mini-slide, the name of the file of its field, and its number.
    nights
        folders of their datasets.
    """
    found: dict[tuple[object, ...], Recorded] = {}
    for at, folder in enumerate(nights):
        slides = sorted({int(str(row["slide"])) for row in rows if row["at"] == at})
        with Dataset.open(folder) as dataset, dataset.unchanging():
            for one in (field for slide in slides for field in (*dataset.superseded(slide), *dataset.fields(slide))):
                if isinstance(one, FieldSecured):
                    file = field_file(one.slide, one.field, attempt=one.attempt)
                    found |= {(at, file, row.number): Recorded(folder, one, row) for row in one.objects}
    return [found.get((row["at"], row["field_file"], row["number"])) for row in rows]


def show(first: FirstObjects, console: Console) -> None:
    """Print what a person should look at first."""
    table = Table(title="to look at first", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("object", overflow="fold")
    table.add_column("why")
    table.add_column("taxon", overflow="fold")
    table.add_column("times as far", justify="right")
    for one, why, times in zip(first.objects, first.why, first.times, strict=True):
        table.add_row(escape(str(one.name)), why, escape(one.called), f"{times:.1f}" if np.isfinite(times) else "")
    console.print(Group(table, *(Text(note, style="yellow") for note in first.notes), Text(waiting(first))))


def waiting(first: FirstObjects) -> str:
    """Say how many objects want a person."""
    kinds = ", ".join(f"{number} {why}" for why, number in first.waiting.items())
    return f"{counted(len(first.objects), 'object')} of those that want a look: {kinds}"


def write_first_page(first: FirstObjects, into: Path) -> None:
    """Write the objects as a page with pictures, whole or not at all."""
    shown = [(one, f"{why}: {one.called}") for one, why in zip(first.objects, first.why, strict=True)]
    write_page(into, "To look at first", [waiting(first), *first.notes], [PageSection("Objects", "", shown)])


def write_first_sheet(first: FirstObjects, into: Path) -> None:
    """Write the objects as a table for a spreadsheet, whole or not at all.

    Raises
    ------
    Refused
        It cannot be written.
    """
    names = [one.name for one in first.objects]
    columns = {
        "object": [str(name) for name in names],
        "why": [why.value for why in first.why],
        "called": [one.called for one in first.objects],
        "times_as_far": [times if np.isfinite(times) else None for times in first.times],
        "sample": [one.sample for one in first.objects],
    }
    write_sheet(into, pa.table(columns), remedy="name another file with --csv")
