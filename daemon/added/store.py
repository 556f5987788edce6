"""What people add beside a dataset: immutable, dated Parquet files, the parts, of which the union is the truth.

Whoever adds rows writes a part of his own, under a name that nobody else takes. So any number of programs, on any
number of computers, add at once without a lock, also in folders of a network. A row is identified by the hash of its
content: the same row in two parts is one row. Nothing is changed or deleted but for folding, which writes the rows of
many small parts into one before it removes them, each step such that a crash leaves a row twice rather than nowhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from daemon.records.names import safe_name
from daemon.system.durable_files import PART_SUFFIX, make_folder, replacing
from daemon.system.errors import DamagedFile, Refused

ADDED = "added"
"""Folder of the parts inside a dataset."""
METADATA = b"lamelle.added"
"""Key of a part's metadata: JSON of `PartHead`."""
ROW = "row"
"""Column that identifies a row: hex sha256 of its content."""
FOLD_ABOVE = 32
"""Parts that may lie in a folder before the smallest ones are folded."""
FOLD_ROWS = 100_000
"""Most rows of a part that folding makes."""
_LOOKS = 100
_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class AddedKind:
    """A kind of rows: its name, in the names of parts too; its version; the columns of its content.

    A column that is empty is not hashed. So what a later version adds leaves the identity of older rows as it is.
    """

    name: str
    version: int
    schema: pa.Schema

    @property
    def identified(self) -> pa.Schema:
        """The columns of a part."""
        return self.schema.append(pa.field(ROW, pa.string()))


class PartHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a part holds, of which night, and when (UTC, seconds) and with which versions it was written.

    `rows_sha256` is the hash of the hashes of its rows, one after the other: nothing protects the rest of a head.
    """

    kind: str
    version: int
    night: str
    utc: float
    versions: dict[str, str]
    rows_sha256: str


class UnreadPart(msgspec.Struct, frozen=True, kw_only=True):
    """A file where parts lie that was not read, and why."""

    name: str
    what: str


@dataclass(frozen=True)
class AddedRows:
    """All rows, each once, by their hash; and the files that were not read."""

    table: pa.Table
    unread: tuple[UnreadPart, ...]


@dataclass
class _PartsSeen:
    """What was found in a folder so far: what a part held remains true after another program folded it."""

    parts: dict[Path, pa.Table] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)


class AddedStore:
    """The rows of a kind that were added to a night.

    Parameters
    ----------
    folders
        where parts may lie; they are read in all of them and written into the first that can be written to.
    """

    def __init__(self, kind: AddedKind, night: str, folders: Sequence[Path]) -> None:
        self.kind = kind
        self.night = night
        self.folders = tuple(folders)
        self._known: pa.Array | None = None

    def read(self) -> AddedRows:
        """Give the union of all parts, ordered by the hash of the rows.

        Raises
        ------
        Refused
            Other programs change a folder all the time.
        """
        return self._union(self.kind.identified.names)

    def unread(self) -> tuple[UnreadPart, ...]:
        """Name the files that are not read; errors as `read`."""
        return self._union([ROW]).unread

    def add(self, rows: pa.Table) -> int:
        """Add those of the rows that are not there yet, durably, as one part; returns how many these are.

        Parameters
        ----------
        rows
            with the columns of the kind; the hash is made here.

        Raises
        ------
        Refused
            None of the folders can be written to.
        OSError
            The disk is full, for example.
        """
        named = _each_once(identified(self.kind, rows))
        if self._known is None:
            self._known = self._union([ROW]).table[ROW].combine_chunks()
        new = named.filter(pc.invert(pc.is_in(named[ROW], value_set=self._known)))
        if new.num_rows:
            self._write_somewhere(new)
            self._known = pa.concat_arrays([self._known, new[ROW].combine_chunks()])
        return int(new.num_rows)

    def fold(self, above: int = FOLD_ABOVE) -> int:
        """Write the rows of small parts into one, in each folder that has more than `above` of them.

        A part is removed only once another that holds all its rows lies there durably and was read back. What another
        program does meanwhile is kept: names are never used again, so no part can be removed in favour of itself.

        Returns
        -------
        :
            How many parts were folded.

        Raises
        ------
        DamagedFile
            The new part does not read as it was written; the old ones are all there.
        """
        return sum(self._fold(folder, above) for folder in self.folders)

    def _union(self, columns: Sequence[str]) -> AddedRows:
        found = [self._look(folder, columns) for folder in self.folders]
        tables = [table for seen in found for table in seen.parts.values()]
        unread = (item for seen in found for item in sorted(seen.unread.items()))
        table = pa.concat_tables([self.kind.identified.empty_table().select(columns), *tables])
        return AddedRows(_each_once(table), tuple(UnreadPart(name=str(path), what=what) for path, what in unread))

    def _fold(self, folder: Path, above: int) -> int:
        smallest = self._smallest(folder) if len(_listed(folder)) > above else []
        tables = {path: table for path in smallest if isinstance(table := self._read_part(path), pa.Table)}
        if len(tables) < 2:
            return 0
        rows = _each_once(pa.concat_tables(list(tables.values())))
        try:
            path = self._write(folder, rows)
        except OSError as error:
            if error.errno in _NOT_WRITABLE:
                return 0
            raise
        back = self._read_part(path)
        if not isinstance(back, pa.Table) or not back.equals(rows):
            raise DamagedFile(f"{path} does not read as it was written; check the disk. The parts before it are kept")
        for one in tables:
            try:
                one.unlink(missing_ok=True)
            except OSError as error:  # a reader holds it, on Windows: twice is no harm
                if error.errno not in _NOT_WRITABLE:
                    raise
        return len(tables)

    def _smallest(self, folder: Path) -> list[Path]:
        """List the smallest parts of this kind, as many as make a part of `FOLD_ROWS` together."""
        counts = self._look(folder, [ROW])
        chosen, total = [], 0
        for path, table in sorted(counts.parts.items(), key=lambda item: item[1].num_rows):
            total += table.num_rows
            if table.num_rows and total <= FOLD_ROWS:
                chosen.append(path)
        return chosen

    def _write_somewhere(self, rows: pa.Table) -> None:
        refused = None
        for folder in self.folders:
            try:
                self._write(folder, rows)
                return
            except OSError as error:
                if error.errno not in _NOT_WRITABLE:
                    raise
                refused = refused or error
        one, *others = map(str, self.folders)
        written = f"neither {' nor '.join([one, *others])} can be" if others else f"{one} cannot be"
        reason = "" if refused is None else f" ({refused.strerror})"
        raise Refused(f"{written} written to{reason}; name a folder for what is added with --beside")

    def _write(self, folder: Path, rows: pa.Table) -> Path:
        make_folder(folder)
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = folder / f"{self.kind.name}-{stamp}-{uuid.uuid4().hex}.parquet"
        head = PartHead(
            kind=self.kind.name,
            version=self.kind.version,
            night=self.night,
            utc=now,
            versions={"lamelle": version("lamelle")},
            rows_sha256=_digest(rows),
        )
        rows = rows.replace_schema_metadata({METADATA: msgspec.json.encode(head)})
        with replacing(path) as stream:
            pq.write_table(rows, stream, compression="zstd", write_page_checksum=True)
        return path

    def _look(self, folder: Path, columns: Sequence[str]) -> _PartsSeen:
        """Read columns of the parts of a folder while others may add and fold: until a look finds nothing new.

        A part that vanished was folded, and what it was folded into lies there already, but perhaps not in this look.
        """
        seen = _PartsSeen()
        for _ in range(_LOOKS):
            there = _listed(folder)
            seen.unread = {path: what for path, what in seen.unread.items() if path in there}
            new = [path for path in there if path not in seen.parts and path not in seen.unread]
            if not new:
                return seen
            for path in new:
                read = self._read_part(path)
                if isinstance(read, pa.Table):
                    seen.parts[path] = read.select(columns)
                elif read is not None:
                    seen.unread[path] = read
        raise Refused(f"{folder} is changed all the time by other programs; try again once they are done")

    def _read_part(self, path: Path) -> pa.Table | str | None:
        """Give the rows of a part, none of another kind; or say why it was not read; None where it vanished."""
        if path.name.endswith(PART_SUFFIX):
            return "is not complete: a program writes it now, or was ended while it did, and it can be deleted"
        if path.suffix != ".parquet":
            return "was not written by lamelle; move it away"
        try:
            with path.open("rb") as stream:
                file = pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)
                head = _head(file.schema_arrow)
                if isinstance(head, str):
                    return head
                if head.kind != self.kind.name and path.name.startswith(f"{head.kind}-"):
                    return self.kind.identified.empty_table()
                return self._unfit(head) or self._checked(file.read(use_threads=False), head)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            said = " ".join(str(error).split())
            return f"cannot be read ({said[:200]}); restore it from a copy, or move it away"

    def _unfit(self, head: PartHead) -> str:
        if head.kind != self.kind.name:
            return f"says that it holds {head.kind}, which its name does not; restore it from a copy, or move it away"
        if head.version > self.kind.version:
            return f"was written by lamelle {head.versions.get('lamelle', '')}, a later version; read it with that one"
        if _composed(head.night) != _composed(self.night):
            return f"is of night {head.night}, not of {self.night}; move it to where that one lies"
        return ""

    def _checked(self, table: pa.Table, head: PartHead) -> pa.Table | str:
        """Give a part the columns that its version did not have; rows that are not as they were written are none."""
        wanted = self.kind.identified
        for column in wanted:
            if column.name not in table.column_names:
                table = table.append_column(column, pa.nulls(len(table), column.type))
        fitted = table.replace_schema_metadata(None).select(wanted.names).cast(wanted)
        true = identified(self.kind, fitted)
        alike = set(table.column_names) == set(wanted.names) and true.equals(fitted)
        if not alike or _digest(true) != head.rows_sha256:
            return "was changed after it was written; restore it from a copy, or move it away"
        return fitted


def folders_beside(dataset: Path, night: str, beside: Path | None = None) -> tuple[Path, ...]:
    """Say where what is added to a dataset lies: inside it, or where that cannot be written next to it.

    Parameters
    ----------
    beside
        a folder that a person named, perhaps for many nights; it comes first.
    """
    digest = hashlib.sha256(_composed(night).encode()).hexdigest()[:8]
    name = f"{ADDED}-{safe_name(night)}-{digest}"
    there = dataset.resolve()
    own = (there / ADDED, there.parent / name)
    return own if beside is None else (beside.resolve() / name, *own)


def identified(kind: AddedKind, rows: pa.Table) -> pa.Table:
    """Give rows the column that identifies them: the hash of what they say, column by column, but for empty ones.

    Hashed are the bytes of JSON in ASCII, without blanks: a list of the kind's name and of an object whose keys are
    ordered; a time is its number of microseconds since 1970.
    """
    rows = rows.select(kind.schema.names).cast(kind.schema)
    names = sorted(kind.schema.names)
    hashes = [_hash(kind.name, dict(zip(names, values, strict=True))) for values in _values(rows, names)]
    return rows.append_column(pa.field(ROW, pa.string()), pa.array(hashes, pa.string()))


def _values(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[object, ...]]:
    columns = []
    for name in names:
        column = rows[name]
        columns.append((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())
    return zip(*columns, strict=True)


def _hash(kind: str, content: Mapping[str, object]) -> str:
    said = {name: value for name, value in content.items() if value is not None}
    text = json.dumps([kind, said], sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(rows: pa.Table) -> str:
    return hashlib.sha256("".join(rows[ROW].to_pylist()).encode()).hexdigest()


def _head(schema: pa.Schema) -> PartHead | str:
    text = (schema.metadata or {}).get(METADATA)
    try:
        return "was not written by lamelle; move it away" if text is None else msgspec.json.decode(text, type=PartHead)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"has a head that cannot be read ({error}); restore it from a copy, or move it away"


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _each_once(table: pa.Table) -> pa.Table:
    """Order rows by their hash, each once."""
    table = table.combine_chunks()
    if not table.num_rows:
        return table
    table = table.take(pc.sort_indices(table[ROW]))
    hashes = table[ROW].combine_chunks()
    first = pc.not_equal(hashes.slice(1), hashes.slice(0, len(hashes) - 1))
    return table.filter(pa.concat_arrays([pa.array([True]), first]))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
