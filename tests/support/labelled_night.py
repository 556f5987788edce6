"""A night with many objects and no pixels, for what is said of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from daemon.dataset.catalog import Catalog
from daemon.records.attempts import AttemptName, Purpose
from daemon.records.names import field_file
from daemon.records.records import AnyRecord, AttemptsOrdered, NightClosed, SlideClosed, encode
from daemon.system.durable_files import make_folder
from tests.support.small_night import entry, secured, started

NIGHT = "2026-11-21 A"
COLUMNS = ("night", "slide", "field", "attempt", "number", "utc", "status", "taxon", "who")


def make_night(
    folder: Path,
    fields: int = 2,
    objects: int = 5,
    night: str = NIGHT,
    salt: bytes = b"",
    encoder: str = "",
    reference: str = "",
) -> Path:
    """Write the catalog of a night with one mini-slide, closed; what its files would hold depends on `salt`."""
    make_folder(folder)
    first = replace(started(night, slides=1, fields=fields), encoder=encoder, reference=reference)
    records: list[AnyRecord] = [first]
    for field in range(1, fields + 1):
        file = entry(field_file(1, field), b"%d " % field + salt)
        records.append(secured(1, field, (file,), objects))
    records.append(SlideClosed(utc=2.0, slide=1, sample="core-1", recorded=fields, skipped=0))
    records.append(NightClosed(utc=3.0, recorded=fields, skipped=0))
    _commit(folder, records)
    return folder


def redo(folder: Path, field: int, objects: int = 5) -> None:
    """Take a field again: attempt 2, which counts from then on."""
    name = AttemptName(1, field, 2)
    again = secured(1, field, (entry(field_file(1, field, attempt=2), b"again"),), objects)
    _commit(
        folder,
        [
            AttemptsOrdered(utc=4.0, purpose=Purpose.REDO, attempts=(name,), who="lab"),
            replace(again, attempt=2, purpose=Purpose.REDO),
        ],
    )


def rows(count: int, objects: int, **said: str) -> Iterator[dict[str, str]]:
    """Give a label for each of the first objects of a night, in the words of a table."""
    for index in range(count):
        field, number = 1 + index // objects, index % objects
        place = {"night": NIGHT, "slide": "1", "field": str(field), "attempt": "1", "number": str(number)}
        second = f"2026-11-22T{index // 3600 % 24:02d}:{index // 60 % 60:02d}:{index % 60:02d}Z"
        yield place | {"utc": second, "status": "validated", "taxon": f"taxon-{index % 7}", "who": "AB"} | said


def write_table(path: Path, what: Iterable[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, dict.fromkeys(columns), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(what)
    return path


def _commit(folder: Path, records: Iterable[AnyRecord]) -> None:
    catalog = Catalog(folder)
    try:
        first = catalog.last_seq() + 1
        for seq, record in enumerate(records, start=first):
            catalog.commit(seq, encode(record))
    finally:
        catalog.close()
