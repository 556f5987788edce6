"""Which label of an object stands: the newest deed of a person, by its own time. Everything else that was said is kept.

A prediction never beats a person. Of two deeds at the same time that whose row has the greater hash stands, everywhere
and whatever the order in which they were brought together. A row that is taken back says nothing, unless what takes it
back is taken back itself. A label is of an object whose content is what the person saw, of no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from daemon.added.store import ROW
from daemon.dataset.labels import COLUMNS, LABELS, SAID, Label, LabelStatus, labels_of
from daemon.dataset.reader import Dataset
from daemon.records.attempts import AttemptName
from daemon.records.names import attempt_of, field_file
from daemon.records.records import FieldAnalysed, FieldSecured, FileEntry

_OBJECT = ("slide", "field", "attempt", "number", "content")
_SHOWN = (*SAID, "who", "utc")
CONFLICT = "conflict"


class _Identified(Protocol):
    @property
    def identifier(self) -> str:
        """What records keep."""


class TaxonNames(Protocol):
    """What a taxonomy is asked for: the taxon that has this identifier, name or synonym; None where none has."""

    def of(self, text: str, /) -> _Identified | None:
        """Find the taxon."""


@dataclass(frozen=True)
class Conflict:
    """What persons said last of an object, where they say different taxa; the label that stands first."""

    said: tuple[Label, ...]


@dataclass(frozen=True)
class StandingLabels:
    """What stands of all that was said.

    Attributes
    ----------
    labels
        those that stand, one an object, with the columns of a label, its `row`, and `conflict`. Taxa are as the
        taxonomy has them today.
    conflicts
        objects of which two persons say different taxa.
    taken_back
        how many labels were taken back.
    """

    labels: pa.Table
    conflicts: tuple[Conflict, ...]
    taken_back: int


@dataclass
class _FieldHeld:
    sha256: str
    numbers: set[int] = field(default_factory=set)
    counts: bool = True


class HeldObjects:
    """The objects that a dataset holds, of all attempts, and what identifies their content.

    Attributes
    ----------
    night
        their night.
    """

    def __init__(self, night: str, fields: Mapping[AttemptName, _FieldHeld]) -> None:
        self.night = night
        self._fields = fields
        self._attempts: dict[tuple[int, int], list[int]] = {}
        for place in sorted(fields):
            self._attempts.setdefault((place.slide, place.field), []).append(place.attempt)

    @classmethod
    def of(cls, dataset: Dataset) -> HeldObjects:
        """Find them; `dataset` holds a night."""
        started = dataset.night()
        assert started is not None
        fields = {name: _FieldHeld(sha256, set(numbers)) for name, sha256, numbers in dataset.objects_held()}
        again = any(dataset.superseded(held.slide) for held in dataset.slides())
        for _, record in dataset.records() if again else ():
            if isinstance(record, FieldSecured | FieldAnalysed):
                place = AttemptName(record.slide, record.field, record.attempt)
                if place not in fields and (file := _objects_file(place, record.files)):
                    fields[place] = _FieldHeld(file.sha256, {row.number for row in record.objects}, counts=False)
        return cls(started.night, fields)

    def attempts(self, slide: int, number: int) -> list[int]:
        """List the attempts at a field that found objects."""
        return self._attempts.get((slide, number), [])

    def counts(self, place: AttemptName) -> bool:
        """Whether this attempt at a field is the one that counts."""
        return place in self._fields and self._fields[place].counts

    def content(self, place: AttemptName, number: int) -> str | None:
        """Give the content of an object; None where there is none of this number."""
        there = self._fields.get(place)
        return content_of(there.sha256, number) if there is not None and number in there.numbers else None


def content_of(file_sha256: str, number: int) -> str:
    """Identify an object's content: the file that holds its pixels, and its number in it.

    A field's file is never written again, so this survives measuring, copying and renaming; another attempt at the
    field, or another analysis of it, has another file.
    """
    return hashlib.sha256(f"object {number} of {file_sha256}".encode()).hexdigest()


def standing(rows: pa.Table, taxonomy: TaxonNames | None = None) -> StandingLabels:
    """Find what stands.

    Parameters
    ----------
    rows
        all that was said, with `row`, as `AddedStore.read` gives it.
    taxonomy
        tells what taxa are called today, and what they were merged into; without one they are as they were said.
    """
    undoing = rows.filter(pc.is_valid(rows["undone"]))
    in_force = _in_force(dict(zip(undoing[ROW].to_pylist(), undoing["undone"].to_pylist(), strict=True)))
    said = rows.filter(pc.is_null(rows["undone"]))
    back = pc.is_in(said[ROW], value_set=pa.array(sorted(in_force), pa.string()))
    there = _today(said.filter(pc.invert(back)), taxonomy)
    human = pc.not_equal(there["status"], LabelStatus.PREDICTED.value)
    there = there.append_column("human", human)
    order = [(name, "ascending") for name in (*_OBJECT, "human", "utc", ROW)]
    there = there.take(pc.sort_indices(there, sort_keys=order))
    ends = _ends(there)
    conflicts = _conflicts(there, ends)
    labels = there.take(pa.array(ends)).drop_columns("human")
    disputed = {tuple(getattr(one.said[0], name) for name in _OBJECT) for one in conflicts}
    keys = zip(*(labels[name].to_pylist() for name in _OBJECT), strict=True)
    flags = pa.array([key in disputed for key in keys], pa.bool_())
    return StandingLabels(labels.append_column(CONFLICT, flags), conflicts, pc.sum(back).as_py() or 0)


def with_labels(objects: pa.Table, dataset: Dataset, stands: StandingLabels) -> pa.Table:
    """Give a table of objects the columns of the label that stands, `label_*`; empty ones where there is none.

    Parameters
    ----------
    objects
        as `daemon.dataset.measured_tables.objects_table` gives them.
    """
    columns = [LABELS.schema.field(name) for name in _SHOWN] + [pa.field(CONFLICT, pa.bool_())]
    labels = stands.labels
    at: list[int | None] = [None] * objects.num_rows
    if labels.num_rows:
        held = HeldObjects.of(dataset)
        keys = zip(*(labels[name].to_pylist() for name in _OBJECT), strict=True)
        index = {
            key[:4]: place for place, key in enumerate(keys) if held.content(AttemptName(*key[:3]), key[3]) == key[4]
        }
        attempts = [attempt_of(name or "") for name in objects["field_file"].to_pylist()]
        whole = (objects[name].to_pylist() for name in ("slide", "field", "number"))
        at = [
            index.get((slide, number, attempt, one))
            for slide, number, one, attempt in zip(*whole, attempts, strict=True)
        ]
    aligned = labels.take(pa.array(at, pa.int64()))
    for column in columns:
        objects = objects.append_column(f"label_{column.name}", aligned[column.name].cast(column.type))
    return objects


def _objects_file(place: AttemptName, files: tuple[FileEntry, ...]) -> FileEntry | None:
    name = field_file(place.slide, place.field, attempt=place.attempt)
    return next((file for file in files if file.name == name), None)


def _in_force(undoes: Mapping[str, str]) -> set[str]:
    """Say which rows are taken back.

    Parameters
    ----------
    undoes
        rows that take back, and what they take back.
    """
    undone_by: dict[str, list[str]] = {}
    for one, target in undoes.items():
        undone_by.setdefault(target, []).append(one)
    holds: dict[str, bool] = {}
    for one in undoes:
        waiting = [one]
        while waiting:
            # A circle is not possible, as a row names another by a hash that it must have had before.
            open_ones = [other for other in undone_by.get(waiting[-1], ()) if other not in holds]
            if open_ones:
                waiting += open_ones
            else:
                last = waiting.pop()
                holds[last] = not any(holds[other] for other in undone_by.get(last, ()))
    return {target for one, target in undoes.items() if holds[one]}


def _today(rows: pa.Table, taxonomy: TaxonNames | None) -> pa.Table:
    """Write taxa as a taxonomy has them today; those that it does not know as they were said."""
    if taxonomy is None:
        return rows
    coded = rows["taxon"].combine_chunks().dictionary_encode()
    found = [(text, taxonomy.of(text)) for text in coded.dictionary.to_pylist()]
    names = [text if taxon is None else taxon.identifier for text, taxon in found]
    today = pa.array(names, pa.string()).take(coded.indices)
    return rows.set_column(rows.schema.get_field_index("taxon"), "taxon", today)


def _ends(rows: pa.Table) -> NDArray[np.int64]:
    """Find the last row of each object, in rows that are ordered by it."""
    if not rows.num_rows:
        return np.empty(0, np.int64)
    changes = np.zeros(rows.num_rows, bool)
    changes[-1] = True
    for name in _OBJECT:
        column = rows[name].combine_chunks()
        following = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1))
        changes[:-1] |= following.to_numpy(zero_copy_only=False)
    return np.flatnonzero(changes)


def _conflicts(rows: pa.Table, ends: NDArray[np.int64]) -> tuple[Conflict, ...]:
    """Find objects of which persons say different taxa, in ordered rows: each by the last that he said."""
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    several = [np.arange(first, last + 1) for first, last in zip(starts, ends, strict=True) if last > first]
    if not several:
        return ()
    chosen = rows.take(pa.array(np.concatenate(several)))
    labels = labels_of(chosen.filter(chosen["human"]).select(COLUMNS))
    found = []
    for _, group in groupby(labels, key=lambda label: (label.object, label.content)):
        last: dict[str | None, Label] = {}
        for label in reversed(list(group)):
            last.setdefault(label.who, label)
        if len({None if one.status is LabelStatus.DISCARDED else one.taxon for one in last.values()}) > 1:
            found.append(Conflict(tuple(last.values())))
    return tuple(found)
