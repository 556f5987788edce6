"""What is not as it should be with a dataset, by name: missing, changed, twice, or at odds with the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from daemon.dataset.held import DatasetFault, FaultKind, SlideHeld
from daemon.dataset.objects_table import COUNTED, JOINED, table_fault
from daemon.dataset.queries import query, read_record
from daemon.records.attempts import supersedes
from daemon.records.names import OBJECTS_TABLE, field_of, slide_folder
from daemon.records.records import AnyRecord, FieldAnalysed, FieldSecured, FieldSkipped, FileEntry
from daemon.system.durable_sqlite import Database
from inference.wording import counted

AnyField = FieldSecured | FieldSkipped
Place = tuple[int, int]


def missing_numbers(database: Database) -> Iterator[DatasetFault]:
    """Find numbers that are missing in the sequence of records."""
    numbers = [seq for (seq,) in query(database, "SELECT seq FROM records")]
    for seq in sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers)):
        yield DatasetFault(kind=FaultKind.GAP, name=f"record {seq}", what="is missing from the catalog")


def passed_over(
    slides: Sequence[SlideHeld], fields: Collection[Place], *, night_closed: bool
) -> Iterator[DatasetFault]:
    """Find planned fields that are missing though a later one, the end of their slide or of the night is there."""
    for held in slides:
        there = {field for slide, field in fields if slide == held.slide}
        end = held.planned if held.closed or night_closed else max(there, default=0)
        for field in sorted(set(range(1, end + 1)) - there):
            name = f"mini-slide {held.slide} field {field}"
            yield DatasetFault(kind=FaultKind.GAP, name=name, what="was neither recorded nor skipped")


def beyond_plan(slides: Sequence[SlideHeld]) -> Iterator[DatasetFault]:
    """Find mini-slides with more fields than were planned."""
    for held in slides:
        done = held.recorded + held.skipped
        if done > held.planned:
            what = f"{done} fields were recorded or skipped, {held.planned} planned: restore it from a copy"
            yield DatasetFault(kind=FaultKind.CONTRADICTION, name=f"mini-slide {held.slide}", what=what)


def repeated(attempts: Iterable[AnyField]) -> Iterator[DatasetFault]:
    """Find attempts at fields that have several records."""
    names = Counter((record.slide, record.field, record.attempt) for record in attempts)
    for (slide, field, attempt), count in names.items():
        for _ in range(count - 1):
            name = f"mini-slide {slide} field {field}"
            yield DatasetFault(kind=FaultKind.DUPLICATE, name=name, what=f"attempt {attempt} has a second record")


def damaged_files(
    listed: Mapping[str, FileEntry], sizes: Mapping[str, int], recorded: Collection[Place]
) -> Iterator[DatasetFault]:
    """Find listed files that are missing or changed, and further ones of a recorded field.

    Parameters
    ----------
    sizes
        bytes of the files that are there, by name.
    recorded
        fields that were, by mini-slide and number.
    """
    for name, file in sorted(listed.items()):
        if name not in sizes:
            yield DatasetFault(kind=FaultKind.GAP, name=name, what="is missing")
        elif sizes[name] != file.size:
            yield DatasetFault(kind=FaultKind.GAP, name=name, what=f"has {sizes[name]} bytes, not {file.size}")
    for name in sorted(sizes.keys() - listed.keys()):
        if field_of(name) in recorded:
            yield DatasetFault(kind=FaultKind.DUPLICATE, name=name, what="is of a recorded field, but not listed")


def tables_at_odds(folder: Path, database: Database, slides: Sequence[SlideHeld]) -> Iterator[DatasetFault]:
    """Find tables of closed mini-slides that do not say what the catalog does."""
    for held in slides:
        if held.closed and (what := table_fault(folder, database, held.slide)):
            name = f"{slide_folder(held.slide)}/{OBJECTS_TABLE}"
            remade = f"{what}; `lamelle scan --resume`, and the recorder's next start, make it anew"
            yield DatasetFault(kind=FaultKind.CONTRADICTION, name=name, what=remade)


def miscounted(database: Database) -> list[DatasetFault]:
    """Name the mini-slides of which the table of objects and the records count differently, field by field."""
    statement = f"SELECT slide, field, count(*) {JOINED} WHERE {COUNTED} GROUP BY slide, field"
    table = Counter({(slide, field): count for slide, field, count in query(database, statement)})
    rows = query(database, "SELECT seq, body FROM records ORDER BY seq")
    records = _counted(read_record(database, seq, body) for seq, body in rows)
    fields: dict[int, int] = {}
    for slide, field in sorted(records.keys() | table.keys()):
        if records[slide, field] != table[slide, field]:
            fields[slide] = fields.get(slide, 0) + 1
    return [
        DatasetFault(
            kind=FaultKind.CONTRADICTION,
            name=f"mini-slide {slide}",
            what=f"the records count {_of(records, slide)} objects, the catalog's table {_of(table, slide)}; "
            f"they differ in {counted(count, 'field')}: restore the catalog from a copy",
        )
        for slide, count in fields.items()
    ]


def _counted(records: Iterable[AnyRecord]) -> Counter[tuple[int, int]]:
    """Count the objects of each field, by slide and number, as the records say: of the attempts that count."""
    counted: Counter[tuple[int, int]] = Counter()
    counting: dict[tuple[int, int], FieldSecured | FieldSkipped] = {}
    for record in records:
        if not isinstance(record, FieldSecured | FieldSkipped | FieldAnalysed):
            continue
        place = (record.slide, record.field)
        before = counting.get(place)
        if isinstance(record, FieldAnalysed):
            if before is not None and before.attempt == record.attempt:
                counted[place] = len(record.counted_objects)
        elif supersedes(isinstance(record, FieldSecured), None if before is None else isinstance(before, FieldSecured)):
            counting[place] = record
            counted[place] = len(record.counted_objects) if isinstance(record, FieldSecured) else 0
    return counted


def _of(counted: Counter[tuple[int, int]], slide: int) -> int:
    return sum(count for (of, _), count in counted.items() if of == slide)
