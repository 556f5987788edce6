"""The data dictionary of `lamelle tables` as docs/tables.md shows it: each table's columns, units, types, meanings.

python -m benchmarks.columns FOLDER

Writes the tables of that page anew, each between its markers, from the dictionary that `lamelle tables` wrote into
FOLDER; the columns of sample sheets are left out.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rooms import ROOT, write_between

PAGE = ROOT / "docs" / "tables.md"


def tables(dictionary: Path) -> Iterator[tuple[str, str]]:
    """Give the Markdown of each table with its name."""
    with dictionary.open(encoding="utf-8-sig", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if not line["column"].startswith("sample_")]
    for name in dict.fromkeys(line["table"] for line in lines):
        rows = [
            f"| `{line['column']}` | {line['type']} | {line['unit']} | {line['meaning']} |"
            for line in lines
            if line["table"] == name
        ]
        yield name, "\n".join(["| column | type | unit | |", "|---|---|---|---|", *rows])


def main() -> None:
    """Write the tables of the page anew."""
    write_between(PAGE, dict(tables(Path(sys.argv[1]) / "dictionary.csv")))


if __name__ == "__main__":
    main()
