"""How a recorder takes in a night: messages in, answers out; a field's files first, then the catalog, then the ack."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon import crashpoints, wire
from daemon.catalog import Catalog
from daemon.durable import PART_SUFFIX, make_folder, sha256_of, sync_folder
from daemon.errors import ProtocolViolation, Refused
from daemon.layout import CATALOG, INCOMING, field_of, inside
from daemon.objects_table import write_objects_table
from daemon.records import (
    AnyRecord,
    FieldSecured,
    FieldSkipped,
    FileEntry,
    NightStarted,
    SlideClosed,
    decode,
)

MAX_WINDOW_BYTES = 64 << 20
RESERVE_BYTES = 4 << 20
"""Left free on the dataset's disk, so that the catalog can be closed in good order."""

_log = logging.getLogger(__name__)


class _RefusedByRecorder(Exception):
    """What was asked is refused and the session is over."""

    def __init__(self, code: str, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.retry = retry


@dataclass
class _Session:
    """One sender's session. `incoming` is the record whose files are on their way, None between records."""

    number: int
    peer: bytes
    night: str
    window: int
    received: int = 0
    limit: int = 0
    incoming: _Incoming | None = None


class Reception:
    """The dataset's side of the conversation with one sender at a time; the latest hello wins.

    Files begun lie in `incoming/`, named by their sha256, so a session goes on where the last one ended, whoever was
    killed in between. Not thread-safe.

    Raises
    ------
    Refused
        The folder holds slides without their catalog, or a catalog of another version.
    """

    def __init__(self, into: Path) -> None:
        if not (into / CATALOG).exists() and any(into.glob("slide-*/*")):
            raise Refused(f"{into} holds slides but no {CATALOG}; restore it, or record into another folder")
        make_folder(into / INCOMING)
        self._into = into
        self._catalog = Catalog(into)
        self._session: _Session | None = None
        self.violations = 0

    def handle(self, peer: bytes, frames: Sequence[bytes]) -> list[wire.FromRecorder]:
        """Take in one message of a peer; returns the answers to send to it.

        A message that breaks the protocol is counted and refused, and changes nothing.
        """
        session = 0
        try:
            message, payload = wire.decode_from_sender(frames)
            session = message.session
            return self._dispatch(peer, message, payload)
        except ProtocolViolation as violation:
            self.violations += 1
            _log.warning("refused a message: %s", violation)
            return [self._refusal(session, "violation", str(violation), retry=False)]
        except _RefusedByRecorder as refused:
            self._end_session()
            _log.warning("refused: %s", refused)
            return [self._refusal(session, refused.code, str(refused), retry=refused.retry)]
        except (OSError, sqlite3.OperationalError) as error:
            self._end_session()
            code = "disk full" if _is_full(error) else "storage"
            _log.error("%s: cannot store in %s: %s", code, self._into, error)
            return [self._refusal(session, code, f"{code}: cannot store in {self._into} ({error})", retry=True)]

    def close(self) -> None:
        """Let go of all files; may be called again."""
        self._end_session()
        self._catalog.close()

    def _refusal(self, session: int, code: str, reason: str, *, retry: bool) -> wire.Refuse:
        return wire.Refuse(session=session, code=code, reason=reason[:1000], retry=retry, violations=self.violations)

    def _dispatch(self, peer: bytes, message: wire.FromSender, payload: bytes) -> list[wire.FromRecorder]:
        if isinstance(message, wire.Hello):
            return [self._welcome(peer, message)]
        session = self._session
        if session is None or (session.number, session.peer) != (message.session, peer):
            return [self._refusal(message.session, "no session", "the session is over; say hello", retry=True)]
        if isinstance(message, wire.Beat):
            return [wire.Beat(session=session.number)]
        if isinstance(message, wire.RecordFollows):
            answers = self._take_record(session, message.seq, payload)
        else:
            answers = self._take_chunk(session, message, payload)
        return answers + self._account(session, len(payload))

    def _welcome(self, peer: bytes, hello: wire.Hello) -> wire.Welcome | wire.Refuse:
        bound = self._catalog.night()
        if bound is not None and bound != hello.night:
            reason = f"the dataset {self._into} holds night {bound!r}, not {hello.night!r}; record into another folder"
            return self._refusal(hello.session, "other night", reason, retry=False)
        self._end_session()
        window = min(hello.window, MAX_WINDOW_BYTES)
        self._session = _Session(hello.session, peer, hello.night, window, limit=window)
        parts = {path.stem: path.stat().st_size for path in self._parts()}
        return wire.Welcome(
            session=hello.session,
            acknowledged=self._catalog.last_seq(),
            digest=self._catalog.digest(),
            parts=dict(sorted(parts.items())[: wire.MAX_PARTS]),
            limit=window,
        )

    def _end_session(self) -> None:
        if self._session is not None and self._session.incoming is not None:
            self._session.incoming.close()
        self._session = None

    def _parts(self) -> list[Path]:
        return [path for path in (self._into / INCOMING).glob(f"*{PART_SUFFIX}") if _is_sha256(path.stem)]

    def _account(self, session: _Session, size: int) -> list[wire.FromRecorder]:
        session.received += size
        if self._session is not session or session.limit - session.received > session.window * 3 // 4:
            return []
        session.limit = session.received + session.window
        return [wire.Credit(session=session.number, limit=session.limit)]

    def _take_record(self, session: _Session, seq: int, body: bytes) -> list[wire.FromRecorder]:
        try:
            record = decode(body)
        except msgspec.DecodeError as error:
            raise ProtocolViolation(f"record {seq} cannot be read: {error}") from error
        last = self._catalog.last_seq()
        if session.incoming is not None or seq > last + 1:
            raise _RefusedByRecorder("gap", f"record {seq} came where {last + 1} is wanted; say hello", retry=True)
        if seq <= last:
            if self._catalog.body(seq) != body:
                raise _RefusedByRecorder("conflict", f"record {seq} is held with other contents already", retry=False)
            return [wire.Ack(session=session.number, seq=last)]
        self._admit(session, seq, record)
        files = record.files if isinstance(record, FieldSecured) else ()
        wanted = {file.sha256 for file in files}
        for part in self._parts():
            if part.stem not in wanted:
                part.unlink()
        self._check_room(files)
        session.incoming = _Incoming(self._into, seq, body, record, files)
        return self._finish_if_whole(session)

    def _take_chunk(self, session: _Session, chunk: wire.ChunkFollows, payload: bytes) -> list[wire.FromRecorder]:
        incoming = session.incoming
        if incoming is None and chunk.seq <= self._catalog.last_seq():
            return []  # of a record that is held already and was acknowledged again
        if incoming is None or not incoming.continues(chunk):
            reason = f"byte {chunk.offset} of file {chunk.file} of record {chunk.seq} came out of turn; say hello"
            raise _RefusedByRecorder("gap", reason, retry=True)
        incoming.write(payload)
        return self._finish_if_whole(session)

    def _finish_if_whole(self, session: _Session) -> list[wire.FromRecorder]:
        incoming = session.incoming
        if incoming is None or not incoming.whole():
            return []
        if incoming.files:
            crashpoints.reach("file without catalog")
        if isinstance(incoming.record, SlideClosed):
            write_objects_table(self._into, self._catalog.database, incoming.record.slide)
        try:
            self._catalog.commit(incoming.seq, incoming.body)
        except (sqlite3.IntegrityError, OverflowError) as error:
            reason = f"record {incoming.seq} does not fit the catalog: {error}"
            raise _RefusedByRecorder("record", reason, retry=False) from error
        session.incoming = None
        crashpoints.reach("acknowledgement lost")
        return [wire.Ack(session=session.number, seq=incoming.seq)]

    def _admit(self, session: _Session, seq: int, record: AnyRecord) -> None:
        """Refuse a record that contradicts what the dataset holds."""
        if isinstance(record, NightStarted) != (seq == 1):
            raise _RefusedByRecorder(
                "record", f"record {seq} is {_kind(record)}; a night starts once, first", retry=False
            )
        if isinstance(record, NightStarted) and record.night != session.night:
            reason = f"the session is for night {session.night!r} and the record starts {record.night!r}"
            raise _RefusedByRecorder("record", reason, retry=False)
        if isinstance(record, NightStarted) and not all(
            1 <= slide <= 8 and 0 <= fields < 10**6 for slide, fields in record.planned.items()
        ):
            reason = f"the plan {record.planned} is none; mini-slides are 1 to 8 with less than a million fields each"
            raise _RefusedByRecorder("record", reason, retry=False)
        if self._catalog.night_closed():
            raise _RefusedByRecorder("record", f"record {seq} came after the night was closed", retry=False)
        if isinstance(record, FieldSecured | FieldSkipped):
            self._admit_field(seq, record)

    def _admit_field(self, seq: int, record: FieldSecured | FieldSkipped) -> None:
        place = f"slide {record.slide} field {record.field}"
        held = self._catalog.field_seq(record.slide, record.field)
        if held is not None:
            raise _RefusedByRecorder("conflict", f"{place} is held already by record {held}, not {seq}", retry=False)
        if not 1 <= record.field <= self._catalog.planned().get(record.slide, 0) or self._catalog.closed(record.slide):
            raise _RefusedByRecorder("record", f"{place} is not planned, or the slide is closed already", retry=False)
        if isinstance(record, FieldSecured):
            for file in record.files:
                if field_of(file.name) != (record.slide, record.field) or file.size < 1 or not _is_sha256(file.sha256):
                    raise _RefusedByRecorder("record", f"{file} is not a file of {place}", retry=False)

    def _check_room(self, files: Sequence[FileEntry]) -> None:
        begun = sum(part.stat().st_size for part in self._parts())
        missing = sum(file.size for file in files) - begun
        free = shutil.disk_usage(self._into).free
        if free < missing + RESERVE_BYTES:
            reason = (
                f"disk full: {free} bytes are free for {self._into}, {missing + RESERVE_BYTES} are needed; make room"
            )
            raise _RefusedByRecorder("disk full", reason, retry=True)


class _Incoming:
    """A record whose files are coming in, one after the other."""

    def __init__(self, into: Path, seq: int, body: bytes, record: AnyRecord, files: Sequence[FileEntry]) -> None:
        self.seq = seq
        self.body = body
        self.record = record
        self.files = files
        self._into = into
        self._index = -1
        self._part: _Part | None = None
        self._next_file()

    def continues(self, chunk: wire.ChunkFollows) -> bool:
        """Whether a chunk is the one that must come next; an overlong one is a protocol violation."""
        part = self._part
        return part is not None and (chunk.seq, chunk.file, chunk.offset) == (self.seq, self._index, part.size)

    def write(self, payload: bytes) -> None:
        """Add a chunk, and give the file its name when it is whole."""
        part = self._part
        assert part is not None
        if part.size + len(payload) > part.entry.size:
            raise ProtocolViolation(f"{part.entry.name} has {part.entry.size} bytes and more came")
        part.write(payload)
        if part.size == part.entry.size:
            self._next_file()

    def whole(self) -> bool:
        """Whether every file lies in its place, durably."""
        return self._index == len(self.files)

    def close(self) -> None:
        """Let go of the file begun; what came of it stays in `incoming/`."""
        if self._part is not None:
            self._part.close()

    def _next_file(self) -> None:
        if self._part is not None:
            part, self._part = self._part, None
            part.place()
        self._index += 1
        while self._index < len(self.files):
            part = _Part(self._into, self.files[self._index])
            if part.size < part.entry.size:
                self._part = part
                return
            part.place()
            self._index += 1


class _Part:
    """A file begun in `incoming/`, with the hash of what there is of it."""

    def __init__(self, into: Path, entry: FileEntry) -> None:
        self.entry = entry
        self._target = inside(into, entry.name)
        self._path = into / INCOMING / f"{entry.sha256}{PART_SUFFIX}"
        self._stream = self._path.open("a+b", buffering=0)
        self._stream.seek(0)
        self._hash = hashlib.file_digest(self._stream, "sha256")
        self.size = self._stream.tell()
        self._resumed = self.size > 0

    def write(self, payload: bytes) -> None:
        middle = len(payload) // 2
        self._write_all(payload[:middle])
        crashpoints.reach("mid chunk")
        self._write_all(payload[middle:])
        self._hash.update(payload)
        self.size += len(payload)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]

    def place(self) -> None:
        """Sync the whole file and give it its name in the dataset."""
        if self._hash.hexdigest() != self.entry.sha256 or self.size != self.entry.size:
            self.discard()
            if self._resumed:
                raise _RefusedByRecorder(
                    "part", f"what was begun of {self.entry.name} is damaged; say hello", retry=True
                )
            reason = f"{self.entry.name} came with another sha256 than its record says; its spool file is damaged"
            raise _RefusedByRecorder("hash", reason, retry=False)
        try:
            os.fsync(self._stream.fileno())
        except OSError:
            # After a failed fsync nobody knows what is on the disk: begin the file again.
            self.discard()
            raise
        self._stream.close()
        if self._target.exists():
            if sha256_of(self._target) != self.entry.sha256:
                reason = f"{self._target} exists with other contents and is not overwritten; move it away"
                raise _RefusedByRecorder("conflict", reason, retry=False)
            self._path.unlink()
            return
        make_folder(self._target.parent)
        self._path.rename(self._target)
        sync_folder(self._target.parent)

    def discard(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._stream.close()


def _kind(record: AnyRecord) -> str:
    return str(record.__struct_config__.tag)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _is_full(error: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return error.sqlite_errorcode == sqlite3.SQLITE_FULL
