"""What objects are called now: what a person said last, else what the newest naming says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from daemon.config.taxonomy import Taxonomy
from daemon.counts.called import name_of, said_by_persons
from daemon.counts.taxa import taxonomy_of
from daemon.dataset.later_tables import Given, TableOrigin, later_tables, objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, file_of
from daemon.dataset.standing import content_of
from daemon.records.names import field_file
from daemon.records.objects import ObjectName
from daemon.records.records import FieldSecured, ObjectRow
from daemon.system.errors import DamagedFile

UNREADABLE = "name not readable"


class Recorded(NamedTuple):
    """An object where it is recorded: the folder of its dataset, its field, and what the record says of it."""

    folder: Path
    field: FieldSecured
    row: ObjectRow


@dataclass(frozen=True)
class SortedObject:
    """An object as it is put before a person.

    Attributes
    ----------
    called
        its taxon as people call it, with the probability, or with who says so.
    pixels
        where they lie; else why they cannot be shown.
    """

    name: ObjectName
    row: ObjectRow
    sample: str
    called: str
    pixels: Chosen | str


class NamedNow(NamedTuple):
    """Objects with what they are called, and whose names cannot be read, a sentence each."""

    objects: tuple[SortedObject, ...]
    notes: tuple[str, ...]


def named_now(objects: Sequence[Recorded]) -> NamedNow:
    """Give objects of any nights, in their order, with what they are called.

    Raises
    ------
    Refused
        A dataset is gone by now.
    """
    shown: dict[int, SortedObject] = {}
    notes = []
    for folder in dict.fromkeys(one.folder for one in objects):
        own = {at: one for at, one in enumerate(objects) if one.folder == folder}
        with Dataset.open(folder) as dataset:
            names: _NamesNow | None = None
            try:
                names = _NamesNow(dataset)
            except DamagedFile as error:
                notes.append(f"what objects of {folder} are called is not known: {error}")
            shown |= {at: _shown(dataset, one, names) for at, one in own.items()}
    return NamedNow(tuple(shown[at] for at in range(len(objects))), tuple(notes))


def _shown(dataset: Dataset, one: Recorded, names: _NamesNow | None) -> SortedObject:
    field, row = one.field, one.row
    pixels: Chosen | str
    try:
        pixels = Chosen(field.slide, field.field, field.sample, row, file_of(dataset, field))
    except DamagedFile as error:
        pixels = str(error)
    started = dataset.night()
    night = "" if started is None else started.night
    name = ObjectName(night, field.slide, field.field, field.attempt, row.number)
    called = UNREADABLE if names is None else names.called(field, row)
    return SortedObject(name, row, field.sample, called, pixels)


class _NamesNow:
    """The names of a dataset's objects."""

    def __init__(self, dataset: Dataset) -> None:
        self._later: dict[tuple[str, int], tuple[str | None, float | None]] = {}
        origin = TableOrigin(Given.NAMED)
        if later_tables(dataset.folder, Given.NAMED):
            table, origins = objects_table(dataset)
            origin = origins.named
            columns = (table[name].to_pylist() for name in ("field_file", "number", "taxon", "taxon_probability"))
            self._later = {(file, number): (taxon, sure) for file, number, taxon, sure in zip(*columns, strict=True)}
        self._taxonomy: Taxonomy = taxonomy_of(dataset, origin)
        labels = said_by_persons(dataset, self._taxonomy).labels
        self._labels = {
            content: (taxon, status, who)
            for content, taxon, status, who in zip(
                *(labels[name].to_pylist() for name in ("content", "taxon", "status", "who")), strict=True
            )
        }

    def called(self, field: FieldSecured, row: ObjectRow) -> str:
        file = field_file(field.slide, field.field, attempt=field.attempt)
        sha256 = next((one.sha256 for one in field.files if one.name == file), "")
        if label := self._labels.get(content_of(sha256, row.number)):
            taxon, status, who = label
            return f"{name_of(taxon, self._taxonomy)} ({status}{f' by {who}' if who else ''})"
        taxon, sure = self._later.get((file, row.number), (row.taxon, row.taxon_probability))
        return name_of(taxon, self._taxonomy) + ("" if taxon is None or sure is None else f" {sure:.2f}")
