"""The index of a library: immutable, dated parts, each what one build took in and dropped. Their union is the truth.

A part is never changed. What a build did is undone by a part that says so, and that can be undone in turn.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from daemon.dataset.objects_table import read_parquet
from daemon.library.entry import Entry
from daemon.system.durable_files import PART_SUFFIX, make_folder, replacing
from daemon.system.errors import DamagedFile, Refused

INDEX = "index"
"""Folder of the parts."""
METADATA = b"lamelle.library"
VERSION = 1
_ENTRY, _KEY = "entry", "key"
_SCHEMA = pa.schema([pa.field(_KEY, pa.string()), pa.field(_ENTRY, pa.binary())])


class IndexHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a part is.

    Attributes
    ----------
    build
        which build wrote it; a long one writes several parts, `number` tells their order.
    utc
        when the build began, seconds.
    undoes
        the build that it takes back; empty where it takes specimens in.
    dropped
        keys of entries that are no longer where they were.
    source
        what was built from.
    left_out
        by name and reason what of that was not taken in; None before the last part of it.
    """

    build: str
    number: int
    utc: float
    version: int = VERSION
    undoes: str = ""
    dropped: tuple[str, ...] = ()
    source: str = ""
    left_out: dict[str, str] | None = None


@dataclass(frozen=True)
class Build:
    """What one build did, and whether it was undone."""

    name: str
    utc: float
    undoes: str
    taken: int
    dropped: int
    undone: bool


@dataclass(frozen=True)
class Index:
    """What a library holds.

    Attributes
    ----------
    entries
        by their keys, in the order of those.
    builds
        every one, the earliest first.
    left_out
        by source, by name and reason, what was not taken in when that was last built from.
    """

    entries: dict[str, Entry]
    builds: tuple[Build, ...]
    left_out: dict[str, dict[str, str]]


class IndexWriter:
    """Writes the parts of one build."""

    def __init__(self, library: Path, undoes: str = "") -> None:
        self._folder = library / INDEX
        self._utc = time.time()
        self._undoes = undoes
        self._number = 0
        self.build = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._utc))}-{uuid.uuid4().hex[:8]}"

    def write(
        self,
        entries: Sequence[Entry],
        dropped: Iterable[str] = (),
        source: str = "",
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        """Write a part, durably; what it says is as of `IndexHead`."""
        make_folder(self._folder)
        head = IndexHead(
            build=self.build,
            number=self._number,
            utc=self._utc,
            undoes=self._undoes,
            dropped=tuple(dropped),
            source=source,
            left_out=None if left_out is None else dict(left_out),
        )
        rows = {_KEY: [entry.key for entry in entries], _ENTRY: [msgspec.msgpack.encode(entry) for entry in entries]}
        table = pa.table(rows, _SCHEMA).replace_schema_metadata({METADATA: msgspec.json.encode(head)})
        with replacing(self._folder / f"{self.build}-{self._number:04d}.parquet") as stream:
            pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
        self._number += 1


def require_library(library: Path) -> None:
    """Make sure that a folder is a library.

    Raises
    ------
    Refused
        It is none.
    """
    if not (library / INDEX).is_dir():
        raise Refused(f"{library} is no library; `lamelle library build {library} SOURCE` makes one")


def read_index(library: Path) -> Index:
    """Read the union of all parts.

    Raises
    ------
    Refused
        There is no library, or a later version of lamelle wrote it.
    DamagedFile
        A part cannot be read.
    OSError
        Its folder cannot be looked into.
    """
    require_library(library)
    listed = (library / INDEX).iterdir()  # a glob finds nothing where it may not look, and says nothing
    paths = [path for path in listed if path.suffix == ".parquet"]
    parts = sorted(map(_read, paths), key=lambda part: (part[0].utc, part[0].number))
    undone = _undone([head for head, _ in parts])
    entries: dict[str, Entry] = {}
    builds: dict[str, Build] = {}
    left_out: dict[str, dict[str, str]] = {}
    for head, encoded in parts:
        before = builds.get(head.build, Build(head.build, head.utc, head.undoes, 0, 0, head.build in undone))
        taken, dropped = before.taken + len(encoded), before.dropped + len(head.dropped)
        builds[head.build] = Build(head.build, head.utc, head.undoes, taken, dropped, before.undone)
        if head.build in undone:
            continue
        if head.left_out is not None:
            left_out[head.source] = head.left_out
        for key in head.dropped:
            entries.pop(key, None)
        for entry in msgspec.convert(encoded, list[bytes]):
            decoded = msgspec.msgpack.decode(entry, type=Entry)
            entries[decoded.key] = decoded
    return Index(dict(sorted(entries.items())), tuple(builds.values()), left_out)


def _undone(heads: Sequence[IndexHead]) -> set[str]:
    """Name the builds that do not hold: undone by one that was not undone itself."""
    undone: set[str] = set()
    for head in reversed(heads):
        if head.undoes and head.build not in undone:
            undone.add(head.undoes)
    return undone


def _read(path: Path) -> tuple[IndexHead, list[bytes]]:
    try:
        table = read_parquet(path, verify=True)
        head = msgspec.json.decode(table.schema.metadata[METADATA], type=IndexHead)
    except (pa.ArrowException, OSError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise DamagedFile(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]}); restore it from a copy, or "
            "move it away and build from the same sources again"
        ) from error
    if head.version > VERSION:
        raise Refused(f"{path} was written by a later version of lamelle; read the library with that one")
    return head, table[_ENTRY].to_pylist()


def unfinished(library: Path) -> list[Path]:
    """Find what a build that was killed left behind; it can be deleted."""
    return sorted((library / INDEX).glob(f"*{PART_SUFFIX}"))
