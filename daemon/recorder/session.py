"""How a recorder takes in a night: messages in, answers out; a field's files first, then the catalog, then the ack."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.dataset.catalog import Catalog
from daemon.protocols import delivery
from daemon.recorder.incoming import Incoming, RecordingRefused
from daemon.records.names import CATALOG, INCOMING, OBJECTS_TABLE, attempt_of, field_of, slide_folder
from daemon.records.records import (
    AnyRecord,
    AttemptsOrdered,
    FieldAnalysed,
    FieldSecured,
    FieldSkipped,
    FileEntry,
    NightStarted,
    decode,
)
from daemon.system import crash_points
from daemon.system.durable_files import PART_SUFFIX, disk_full, make_folder
from daemon.system.errors import ProtocolViolation, Refused
from daemon.system.throttle import Refusals

MAX_WINDOW_BYTES = 64 << 20
RESERVE_BYTES = 4 << 20
"""Left free on the dataset's disk, so that the catalog can be closed in good order."""

_log = logging.getLogger(__name__)


@dataclass
class _SenderSession:
    """One sender's session. `incoming` is the record whose files are on their way, None between records."""

    number: int
    peer: bytes
    night: str
    window: int
    received: int = 0
    limit: int = 0
    incoming: Incoming | None = None


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
        try:
            for slide, what in self._catalog.mend_tables():
                _log.warning("%s/%s %s; it was made anew from the catalog", slide_folder(slide), OBJECTS_TABLE, what)
        except BaseException:
            self._catalog.close()
            raise
        self._session: _SenderSession | None = None
        self.violations = Refusals(_log)

    def handle(self, peer: bytes, frames: Sequence[bytes]) -> list[delivery.FromRecorder]:
        """Take in one message of a peer; returns the answers to send to it.

        A message that breaks the protocol is counted and refused, and changes nothing.
        """
        session = 0
        try:
            message, payload = delivery.decode_from_sender(frames)
            session = message.session
            return self._dispatch(peer, message, payload)
        except ProtocolViolation as violation:
            self.violations.add(str(violation))
            return [self._refusal(session, "violation", str(violation), retry=False)]
        except RecordingRefused as refused:
            self._end_session()
            _log.warning("refused: %s", refused)
            return [self._refusal(session, refused.code, str(refused), retry=refused.retry)]
        except (OSError, sqlite3.OperationalError) as error:
            self._end_session()
            code = "disk full" if disk_full(error) else "storage"
            _log.error("%s: cannot store in %s: %s", code, self._into, error)
            return [self._refusal(session, code, f"{code}: cannot store in {self._into} ({error})", retry=True)]

    def night_closed(self) -> bool:
        """Whether the dataset holds a complete night."""
        return self._catalog.night_closed()

    def close(self) -> None:
        """Let go of all files; may be called again."""
        self._end_session()
        self._catalog.close()

    def _refusal(self, session: int, code: str, reason: str, *, retry: bool) -> delivery.Refuse:
        return delivery.Refuse(
            session=session, code=code, reason=reason[:1000], retry=retry, violations=self.violations.count
        )

    def _dispatch(self, peer: bytes, message: delivery.FromSender, payload: bytes) -> list[delivery.FromRecorder]:
        if isinstance(message, delivery.Hello):
            return [self._welcome(peer, message)]
        session = self._session
        if session is None or (session.number, session.peer) != (message.session, peer):
            return [self._refusal(message.session, "no session", "the session is over; say hello", retry=True)]
        if isinstance(message, delivery.Beat):
            return [delivery.Beat(session=session.number)]
        if isinstance(message, delivery.RecordFollows):
            answers = self._take_record(session, message.seq, payload)
        else:
            answers = self._take_chunk(session, message, payload)
        return answers + self._account(session, len(payload))

    def _welcome(self, peer: bytes, hello: delivery.Hello) -> delivery.Welcome | delivery.Refuse:
        bound = self._catalog.night()
        if bound is not None and bound != hello.night:
            reason = f"the dataset {self._into} holds night {bound!r}, not {hello.night!r}; record into another folder"
            return self._refusal(hello.session, "other night", reason, retry=False)
        self._end_session()
        window = min(hello.window, MAX_WINDOW_BYTES)
        self._session = _SenderSession(hello.session, peer, hello.night, window, limit=window)
        parts = {path.stem: path.stat().st_size for path in self._parts()}
        return delivery.Welcome(
            session=hello.session,
            acknowledged=self._catalog.received(),
            digest=self._catalog.digest(),
            parts=dict(sorted(parts.items())[: delivery.MAX_PARTS]),
            limit=window,
        )

    def _end_session(self) -> None:
        if self._session is not None and self._session.incoming is not None:
            self._session.incoming.close()
        self._session = None

    def _parts(self) -> list[Path]:
        return [path for path in (self._into / INCOMING).glob(f"*{PART_SUFFIX}") if _is_sha256(path.stem)]

    def _account(self, session: _SenderSession, size: int) -> list[delivery.FromRecorder]:
        session.received += size
        if self._session is not session or session.limit - session.received > session.window * 3 // 4:
            return []
        session.limit = session.received + session.window
        return [delivery.Credit(session=session.number, limit=session.limit)]

    def _take_record(self, session: _SenderSession, seq: int, body: bytes) -> list[delivery.FromRecorder]:
        try:
            record = decode(body)
        except msgspec.DecodeError as error:
            raise ProtocolViolation(f"record {seq} cannot be read: {error}") from error
        last = self._catalog.received()
        if session.incoming is not None or seq > last + 1:
            raise RecordingRefused("gap", f"record {seq} came where {last + 1} is wanted; say hello", retry=True)
        if seq <= last:
            if self._catalog.body(seq) != body:
                raise RecordingRefused("conflict", f"record {seq} is held with other contents already", retry=False)
            return [delivery.Ack(session=session.number, seq=last)]
        self._admit(session, seq, record)
        files = record.files if isinstance(record, FieldSecured) else ()
        wanted = {file.sha256 for file in files}
        for part in self._parts():
            if part.stem not in wanted:
                part.unlink()
        self._check_room(files)
        session.incoming = Incoming(self._into, seq, body, record, files)
        return self._finish_if_whole(session)

    def _take_chunk(
        self, session: _SenderSession, chunk: delivery.ChunkFollows, payload: bytes
    ) -> list[delivery.FromRecorder]:
        incoming = session.incoming
        if incoming is None and chunk.seq <= self._catalog.received():
            return []  # of a record that is held already and was acknowledged again
        if incoming is None or not incoming.continues(chunk):
            reason = f"byte {chunk.offset} of file {chunk.file} of record {chunk.seq} came out of turn; say hello"
            raise RecordingRefused("gap", reason, retry=True)
        incoming.write(payload)
        return self._finish_if_whole(session)

    def _finish_if_whole(self, session: _SenderSession) -> list[delivery.FromRecorder]:
        incoming = session.incoming
        if incoming is None or not incoming.whole():
            return []
        if incoming.files:
            crash_points.reach("file without catalog")
        try:
            self._catalog.commit(incoming.seq, incoming.body)
        except (sqlite3.IntegrityError, OverflowError) as error:
            reason = f"record {incoming.seq} does not fit the catalog: {error}"
            raise RecordingRefused("record", reason, retry=False) from error
        session.incoming = None
        crash_points.reach("acknowledgement lost")
        return [delivery.Ack(session=session.number, seq=incoming.seq)]

    def _admit(self, session: _SenderSession, seq: int, record: AnyRecord) -> None:
        """Refuse a record that contradicts what the dataset holds."""
        if isinstance(record, NightStarted) != (seq == 1):
            raise RecordingRefused(
                "record", f"record {seq} is {_kind(record)}; a night starts once, first", retry=False
            )
        if isinstance(record, NightStarted) and record.night != session.night:
            reason = f"the session is for night {session.night!r} and the record starts {record.night!r}"
            raise RecordingRefused("record", reason, retry=False)
        if isinstance(record, NightStarted) and not all(
            1 <= slide <= 8 and 0 <= fields < 10**6 for slide, fields in record.planned.items()
        ):
            reason = f"{record.planned} is not a plan; mini-slides are 1 to 8 with less than a million fields each"
            raise RecordingRefused("record", reason, retry=False)
        if isinstance(record, FieldAnalysed):
            reason = f"record {seq} is {_kind(record)}; what is found later is added where the dataset lies"
            raise RecordingRefused("record", reason, retry=False)
        if self._catalog.night_closed() and not isinstance(record, AttemptsOrdered):
            raise RecordingRefused("record", f"record {seq} came after the night was closed", retry=False)
        if isinstance(record, FieldSecured | FieldSkipped):
            self._admit_field(seq, record)

    def _admit_field(self, seq: int, record: FieldSecured | FieldSkipped) -> None:
        place = f"slide {record.slide} field {record.field}"
        name = (record.slide, record.field, record.attempt)
        held = self._catalog.attempt_seq(*name)
        if held is not None:
            what = place if record.attempt == 1 else f"attempt {record.attempt} at {place}"
            raise RecordingRefused("conflict", f"{what} is held already by record {held}, not {seq}", retry=False)
        if record.attempt > 1 and not self._catalog.ordered(*name):
            told = f"attempt {record.attempt} at {place} was not ordered"
            raise RecordingRefused("record", told, retry=False)
        # An ordered attempt opens its slide again.
        closed = record.attempt == 1 and self._catalog.closed(record.slide)
        if not 1 <= record.field <= self._catalog.planned().get(record.slide, 0) or closed:
            raise RecordingRefused("record", f"{place} is not planned, or the slide is closed already", retry=False)
        if isinstance(record, FieldSecured):
            for file in record.files:
                named = (*(field_of(file.name) or (0, 0)), attempt_of(file.name))
                if named != name or file.size < 1 or not _is_sha256(file.sha256):
                    raise RecordingRefused("record", f"{file} is not a file of {place}", retry=False)

    def _check_room(self, files: Sequence[FileEntry]) -> None:
        begun = sum(part.stat().st_size for part in self._parts())
        missing = sum(file.size for file in files) - begun
        free = shutil.disk_usage(self._into).free
        if free < missing + RESERVE_BYTES:
            reason = (
                f"disk full: {free} bytes are free for {self._into}, {missing + RESERVE_BYTES} are needed; make room"
            )
            raise RecordingRefused("disk full", reason, retry=True)


def _kind(record: AnyRecord) -> str:
    return str(record.__struct_config__.tag)


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
