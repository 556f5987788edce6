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
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.config.written_sheets import write_sheet
from daemon.counts.unlike import named_from
from daemon.dataset.features import KeptFeatures
from daemon.dataset.labels import LabelStatus, label_store
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import standing, with_labels
from daemon.records.records import FieldSecured
from daemon.sorting.named import Recorded, SortedObject, named_now
from daemon.sorting.nights import nights_in
from daemon.sorting.page import PageSection, write_page
from daemon.system.errors import DamagedFile, Refused
from daemon.system.progress import follow
from inference.classification.answers import UNSURE
from inference.classification.reference import LibraryReference
from inference.errors import WeightsRefused
from inference.wording import counted

FEW = 30
"""Of taxa that were said less often every object is looked at: no sample of them tells anything."""
COLUMNS = ("night", "slide", "field", "number", "field_file", "taxon", "taxon_probability", "label_status")


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
        with the columns `taxon`, `taxon_probability` and `label_status`.
    times
        (N,), how far each is from what the classifier learnt, 1 where it begins to be unlike it; NaN where not known.
    """
    taxa = objects["taxon"].to_pylist()
    sure = np.array([1.0 if one is None else one for one in objects["taxon_probability"].to_pylist()], np.float64)
    labelled = [one not in (None, LabelStatus.PREDICTED) for one in objects["label_status"].to_pylist()]
    human = np.array(labelled, np.bool_)
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
        There is no night, or one is of another version.
    DamagedFile
        A table cannot be read.
    """
    nights = nights_in(places)
    notes: list[str] = []
    tables, times = [], []
    for at, folder in enumerate(nights):
        with Dataset.open(folder) as dataset, dataset.unchanging():
            if dataset.night() is None:
                raise Refused(f"{folder} holds no night yet; its first record has not arrived, so wait for it")
            table, far, note = _night(dataset, console)
        tables.append(table.append_column("folder", pa.array([at] * len(table), pa.int64())))
        times.append(far)
        notes += [note] if note else []
    table, far = pa.concat_tables(tables), np.concatenate(times)
    order, waiting = in_order(table, far)
    chosen = order[:most]
    rows = table.take(pa.array([one.row for one in chosen], pa.int64())).to_pylist()
    return FirstObjects(
        objects=tuple(named_now(_recorded(rows, nights))),
        why=tuple(one.why for one in chosen),
        times=tuple(float(far[one.row]) for one in chosen),
        waiting=waiting,
        notes=tuple(notes),
    )


def _night(dataset: Dataset, console: Console) -> tuple[pa.Table, NDArray[np.float64], str]:
    """Give the objects of a night that count, how far each is from what was learnt, and what is not known."""
    table, origins = objects_table(dataset)
    table = table.filter(table["counted"])
    table = with_labels(table, dataset, standing(label_store(dataset).read().table)).select(COLUMNS)
    try:
        known = named_from(dataset, origins.named)
        reference = LibraryReference.from_text("" if known is None else known.reference)
        if known is None or reference is None:
            why = "nothing tells what the library of its classifier looked like"
            return table, np.full(len(table), np.nan), f"{dataset.folder}: {why}"
        return table, _times(dataset, table, KeptFeatures(dataset.folder, known.encoder), reference, console), ""
    except (DamagedFile, WeightsRefused) as error:
        return table, np.full(len(table), np.nan), f"{dataset.folder}: {error}"


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


def _recorded(rows: Sequence[dict[str, object]], nights: Sequence[Path]) -> list[Recorded]:
    """Find the records of objects of a table."""
    found: dict[tuple[object, ...], Recorded] = {}
    for at in {row["folder"] for row in rows}:
        slides = {row["slide"] for row in rows if row["folder"] == at}
        with Dataset.open(nights[int(str(at))]) as dataset:
            for slide in slides:
                for one in dataset.fields(int(str(slide))):
                    if isinstance(one, FieldSecured):
                        found |= {
                            (at, slide, one.field, row.number): Recorded(dataset.folder, one, row)
                            for row in one.objects
                        }
    return [found[row["folder"], row["slide"], row["field"], row["number"]] for row in rows]


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
    write_sheet(into, pa.table(columns))
