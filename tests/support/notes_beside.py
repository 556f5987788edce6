"""Notes that are added beside a night, the simplest kind of what people add; and processes that add and fold them.

`python -m tests.support.notes_beside FOLDER WORK`: `add` adds notes 1000, 1001, ... one by one, `fold` folds once,
`churn` adds and folds until it is killed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pyarrow as pa

from daemon.added.store import AddedKind, AddedStore
from tests.support.places import ROOT

NOTES = AddedKind(
    "notes", 1, pa.schema([("at", pa.timestamp("us", "+00:00")), ("text", pa.string()), ("n", pa.float64())])
)
NIGHT = "2026-11-21 Å"


def notes(*numbers: int) -> pa.Table:
    at = [1_700_000_000_000_000 + number for number in numbers]
    return pa.table({"at": at, "text": [f"é {n}" for n in numbers], "n": [None] * len(at)}, schema=NOTES.schema)


def store(folder: Path, night: str = NIGHT) -> AddedStore:
    return AddedStore(NOTES, night, [folder])


def held(folder: Path) -> list[int]:
    """Numbers of the notes that lie in a folder."""
    return sorted(int(text.split()[1]) for text in store(folder).read().table["text"].to_pylist())


@contextmanager
def working(folder: Path, work: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that works in a folder; it has begun, and is killed at the end."""
    command = [sys.executable, "-m", "tests.support.notes_beside", str(folder), work]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield process
        finally:
            process.kill()


def main(folder: Path, work: str) -> None:
    own = store(folder)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    if work == "fold":
        own.fold(above=1)
        return
    for number in count(1000):
        own.add(notes(number))
        if work == "churn":
            own.fold(above=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
