"""What is not as it should be with a dataset, by name: missing, changed, twice, or at odds with the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from daemon.dataset.objects_table import COUNTED, JOINED
from daemon.dataset.queries import query, read_record
from daemon.records.attempts import supersedes
from daemon.records.records import AnyRecord, FieldAnalysed, FieldSecured, FieldSkipped
from daemon.system.durable_sqlite import Database
from inference.wording import counted


class FaultKind(StrEnum):
    """A gap: something is missing or changed. A contradiction: a table does not say what the records do."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"


class DatasetFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be: a name, such as that of a file, and what is wrong with it."""

    kind: FaultKind
    name: str
    what: str


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
                counted[place] = sum(row.counted for row in record.objects)
        elif supersedes(isinstance(record, FieldSecured), None if before is None else isinstance(before, FieldSecured)):
            counting[place] = record
            counted[place] = sum(row.counted for row in record.objects) if isinstance(record, FieldSecured) else 0
    return counted


def _of(counted: Counter[tuple[int, int]], slide: int) -> int:
    return sum(count for (of, _), count in counted.items() if of == slide)
