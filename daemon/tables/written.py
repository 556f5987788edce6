"""A set of tables in a folder: each as CSV and as Parquet, with the dictionary of their columns.

The same datasets give the same bytes, in whatever order they were named. All files are written before the first takes
its name, so that what keeps one from being written leaves an earlier set as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from daemon.config.written_sheets import write_rows
from daemon.dataset.reader import Dataset
from daemon.places.nights import look_through
from daemon.records.names import CATALOG
from daemon.records.records import NightStarted
from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import Refused
from daemon.system.progress import CountDisplay
from daemon.tables.columns import TableName, dictionary
from daemon.tables.night_tables import (
    NightSaid,
    all_objects,
    counts_table,
    fields_table,
    read_night,
    samples_table,
)

DICTIONARY = "dictionary.csv"
ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True)
class TablesWritten:
    """What was written.

    Attributes
    ----------
    rows
        of each table.
    notes
        what a person should know of the nights, a sentence each.
    missing
        what could not be read, and is not in the tables, a sentence each.
    """

    rows: dict[TableName, int]
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def tables_of(nights: Sequence[NightSaid]) -> dict[TableName, pa.Table]:
    """Make the tables of nights, in the order of their names."""
    ordered = sorted(nights, key=lambda one: one.numbers.started.night)
    numbers = [one.numbers for one in ordered]
    return {
        TableName.FIELDS: fields_table(numbers),
        TableName.SAMPLES: samples_table([(one.numbers, one.origins) for one in ordered]),
        TableName.COUNTS: counts_table(numbers),
        TableName.OBJECTS: all_objects(ordered),
    }


def write_tables(places: Sequence[Path], into: Path, console: Console, beside: Path | None = None) -> TablesWritten:
    """Write the tables of all nights in some places as one set, in place of an earlier one.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some.
    into
        folder, made if missing.
    beside
        folder where labels are kept besides.

    Raises
    ------
    Refused
        There is no night, or `into` lies inside a dataset or cannot be written.
    """
    nights: list[NightSaid] = []
    if into.exists() and not into.is_dir():
        raise Refused(f"{into} is a file; name a folder with --into")
    if within := next((one for one in (into, *into.absolute().parents) if (one / CATALOG).exists()), None):
        raise Refused(f"{into} lies inside the dataset {within}; write to a folder outside of it")
    with CountDisplay("nights", console) as display:

        def look(dataset: Dataset, _: NightStarted) -> None:
            nights.append(read_night(dataset, beside))
            display.show(len(nights))

        seen = look_through(places, look)
        tables = tables_of(nights)
    _write(into, tables, console)
    return TablesWritten(
        rows={name: int(table.num_rows) for name, table in tables.items()},
        notes=tuple(note for night in nights for note in night.notes),
        missing=(*seen.notes, *(one for night in nights for one in night.missing)),
    )


def _write(into: Path, tables: dict[TableName, pa.Table], console: Console) -> None:
    lines = [asdict(line) for name, table in tables.items() for line in dictionary(name, table)]
    files = {DICTIONARY: pa.Table.from_pylist(lines)}
    files |= {f"{name}{ending}": table for name, table in tables.items() for ending in ENDINGS}
    total, done = sum(rows.num_rows for rows in files.values()), 0
    with refusing(into), ExitStack() as all_of_them, CountDisplay("rows", console) as display:

        def more(count: int) -> None:
            nonlocal done
            done += count
            display.show(done, total)

        make_folder(into)
        for name, rows in files.items():
            write_rows(all_of_them.enter_context(replacing(into / name)), Path(name).suffix, rows, more)
