"""Tables for spreadsheets: what one would take for a formula is written with an apostrophe before it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from daemon.system.durable_files import NAME_ANOTHER, make_folder, refusing, replacing

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_BATCH = 5_000


def write_sheet(into: Path, rows: pa.Table, remedy: str = NAME_ANOTHER) -> None:
    """Write a table as CSV (UTF-8 with a byte order mark, commas), with tabs or as Parquet, by the name of the file.

    Parameters
    ----------
    remedy
        what a person should do where it cannot be written.

    Raises
    ------
    Refused
        It cannot be written.
    """
    with refusing(into, remedy):
        make_folder(into.parent)
        with replacing(into) as stream:
            write_rows(stream, into.suffix, rows)


def write_rows(stream: BinaryIO, suffix: str, rows: pa.Table, progress: Callable[[int], None] = lambda _: None) -> None:
    """Write a table into an open file, as `write_sheet` does by the ending of a name.

    Parameters
    ----------
    progress
        told how many rows more are written, now and then.
    """
    if suffix.lower() == ".parquet":
        pq.write_table(rows, stream)
        progress(rows.num_rows)
        return
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text, delimiter="\t" if suffix.lower() == ".tsv" else ",")
    writer.writerow(rows.column_names)
    for batch in rows.to_batches(max_chunksize=_BATCH):
        writer.writerows([_cell(value) for value in record.values()] for record in batch.to_pylist())
        progress(batch.num_rows)
    text.detach()


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"  # spreadsheets write truth in their own language
        case float():
            return repr(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case str():
            return f"'{value}" if _FORMULA.match(value) else value
        case list():
            return json.dumps(value, ensure_ascii=False)
    return value
