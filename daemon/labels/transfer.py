"""Labels brought in from tables and from other copies of a night, and written to tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from daemon.added.store import ROW, AddedStore, UnreadPart, identified
from daemon.config.taxonomy import folded
from daemon.config.written_sheets import write_sheet
from daemon.dataset.labels import LABELS, Label, label_store, label_table, labels_of
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import HeldObjects, standing
from daemon.labels.rows import LabelReader, SaidForAll
from daemon.labels.tables import STANDS, LabelSheet, read_sheet
from daemon.records.attempts import AttemptName
from daemon.system.errors import Refused
from daemon.system.progress import CountDisplay

BATCH = 20_000
"""Labels that are written at once, as one part."""
_EDITED = (
    "it was changed after it was exported; empty its cell row, and give it the time and the initials of the change"
)


@dataclass
class Brought:
    """What became of labels that were to be brought in.

    Attributes
    ----------
    added
        labels that are new.
    known
        labels that were there already.
    left_out
        those that were not taken: where they come from, why, and which (rows of a table, or objects).
    notes
        what a person should know besides, a sentence each.
    whole
        whether all files of labels that were to be brought in could be read.
    """

    added: int = 0
    known: int = 0
    left_out: dict[tuple[str, str], list[int | str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    whole: bool = True

    @property
    def refused(self) -> int:
        """How many were not taken."""
        return sum(map(len, self.left_out.values()))

    def leave_out(self, source: object, why: str, which: int | str) -> None:
        """Take in one that is not taken."""
        self.left_out.setdefault((str(source), why), []).append(which)

    def unread(self, parts: Iterable[UnreadPart]) -> None:
        """Take in files that were not read."""
        self.notes += [f"{part.name} {part.what}" for part in parts]


def import_labels(
    folder: Path,
    tables: Sequence[Path],
    console: Console,
    for_all: SaidForAll | None = None,
    beside: Path | None = None,
    now: datetime | None = None,
) -> Brought:
    """Bring in the labels of tables; those that fit no object are left out and named, the others are taken.

    The same table brought in again adds nothing.

    Parameters
    ----------
    folder
        a dataset, or the run folder it lies in.
    for_all
        what holds of rows that do not say it.
    beside
        where labels are kept instead, for many nights.
    now
        what the clock says, if another than the computer's.

    Raises
    ------
    Refused
        A table cannot be read, before anything is brought in; or nothing can be written.
    """
    sheets = [read_sheet(path) for path in tables]
    with _labels(folder, beside) as (dataset, store), CountDisplay("labels", console) as display:
        reader = LabelReader(HeldObjects.of(dataset), for_all or SaidForAll(), now or datetime.now(UTC))
        brought = Brought()
        done = 0
        for sheet in sheets:
            if sheet.unused:
                brought.notes.append(f"{sheet.path}: nothing is read from {', '.join(sheet.unused)}")
            if sheet.doubt:
                brought.notes.append(f"{sheet.path}, {sheet.doubt}")
            for batch in _batches(sheet, reader, brought):
                _add(store, batch, brought, sheet.path)
                done += len(batch)
                display.show(done)
        _finish(store, reader, brought)
    return brought


def merge_labels(
    folder: Path, others: Sequence[Path], console: Console, beside: Path | None = None, now: datetime | None = None
) -> Brought:
    """Bring in the labels of other copies of the same night, which stay as they are.

    Parameters
    ----------
    others
        datasets, run folders, or folders of parts alone.
    beside
        as for `import_labels`.
    now
        as for `import_labels`.

    Raises
    ------
    Refused
        One of the others is of another night, or holds no labels.
    """
    with _labels(folder, beside) as (dataset, store), CountDisplay("labels", console) as display:
        reader = LabelReader(HeldObjects.of(dataset), SaidForAll(), now or datetime.now(UTC))
        brought = Brought()
        for other in others:
            there = _of_other(other, store).read()
            brought.unread(there.unread)
            brought.whole &= not there.unread
            for first in range(0, there.table.num_rows, BATCH):
                taken = []
                for label in labels_of(there.table.slice(first, BATCH)):
                    try:
                        reader.content(
                            AttemptName(label.slide, label.field, label.attempt), label.number, label.content
                        )
                    except ValueError as error:
                        brought.leave_out(other, str(error), str(label.object))
                        continue
                    reader.note(label)
                    taken.append((0, None, label))
                _add(store, taken, brought, other)
                display.show(first + BATCH)
        _finish(store, reader, brought)
    return brought


def export_labels(folder: Path, into: Path, standing_alone: bool = False, beside: Path | None = None) -> int:
    """Write the labels of a dataset as a table, CSV or Parquet by the name of the file; returns how many these are.

    Parameters
    ----------
    standing_alone
        only the labels that stand; all that was ever said, and taken back, if not.

    Raises
    ------
    Refused
        It cannot be written, or a file beside the dataset cannot be read, and an export would miss what it holds.
    """
    with _labels(folder, beside) as (_, store):
        found = store.read()
    if found.unread:
        first = found.unread[0]
        raise Refused(f"{first.name} {first.what}; what it holds would be missing in the export")
    stands = set(standing(found.table).labels[ROW].to_pylist())
    flags = pa.array([row in stands for row in found.table[ROW].to_pylist()], pa.bool_())
    rows = found.table.append_column(STANDS, flags)
    rows = rows.filter(rows[STANDS]) if standing_alone else rows
    order = [(name, "ascending") for name in ("slide", "field", "attempt", "number", "utc", ROW)]
    write_sheet(into, rows.sort_by(order))
    return int(rows.num_rows)


@contextmanager
def _labels(folder: Path, beside: Path | None) -> Iterator[tuple[Dataset, AddedStore]]:
    with Dataset.open(folder) as dataset, dataset.unchanging():
        yield dataset, label_store(dataset, beside)


_Read = tuple[int, object, Label]
"""Number of the row, what it says of its own hash, and the label."""


def _batches(sheet: LabelSheet, reader: LabelReader, brought: Brought) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    for number, cells in sheet.rows():
        try:
            if isinstance(cells, str):
                raise ValueError(cells)
            batch.append((number, cells.get(ROW), reader.label(cells, sheet.comma_is_decimal)))
        except ValueError as error:
            brought.leave_out(sheet.path, str(error), number)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _add(store: AddedStore, batch: Sequence[_Read], brought: Brought, source: Path) -> None:
    """Add labels, but for those that do not have the hash that they say they have."""
    rows = label_table(label for _, _, label in batch)
    hashes = identified(LABELS, rows)[ROW].to_pylist()
    true = [said is None or folded(str(said)) == own for (_, said, _), own in zip(batch, hashes, strict=True)]
    for (number, _, _), unchanged in zip(batch, true, strict=True):
        if not unchanged:
            brought.leave_out(source, _EDITED, number)
    rows = rows.filter(pa.array(true, pa.bool_()))
    added = store.add(rows)
    brought.added += added
    brought.known += rows.num_rows - added


def _finish(store: AddedStore, reader: LabelReader, brought: Brought) -> None:
    store.fold()
    brought.unread(store.unread())
    brought.notes += reader.notes()


def _of_other(other: Path, store: AddedStore) -> AddedStore:
    if Dataset.find(other) is None:
        if not any(other.glob("*.parquet")):
            raise Refused(f"{other} is no dataset, nor a folder of labels; name another copy of the night")
        return AddedStore(LABELS, store.night, [other])
    with Dataset.open(other) as dataset:
        there = label_store(dataset)
    if there.night != store.night:
        raise Refused(f"{other} holds night {there.night}, not {store.night}; merge copies of the same night")
    return there
