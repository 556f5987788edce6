"""One session of the sender with a recorder: hello, welcome, records and chunks as far as the credit goes, acks."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import zmq

from daemon.protocols import delivery
from daemon.records.records import FieldSecured, FileEntry, decode
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import JournalDamaged, OtherVersion, ProtocolViolation

_BATCH = 16
_AGAIN = ("gap", "no session", "part")
"""Refusals that only mean: say hello again."""


@dataclass(frozen=True)
class Pace:
    """Seconds between signs of life, until a silent recorder counts as lost, and between attempts after a refusal."""

    beat_s: float = 1.0
    lost_s: float = 10.0
    retry_s: float = 2.0


class SessionOver(Exception):
    """The conversation has ended and must begin anew."""


class SayHello(SessionOver):
    """At once: something was lost on the way."""


class RecorderAway(SessionOver):
    """When there is a recorder again: nothing was heard for too long."""


class RecorderWaits(SessionOver):
    """After a while: the recorder cannot store at present, and says why."""


class RecorderRefuses(SessionOver):
    """Once a person has put something right."""


class RecorderUnfit(RecorderRefuses):
    """Once the same version of lamelle is on both sides."""


class Delivery:
    """A session on a connected DEALER socket. Belongs to the thread of its journal.

    Attributes
    ----------
    welcomed
        the recorder has answered.
    contact_s
        monotonic time of its last message; at first, of the hello.
    """

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        socket: zmq.Socket[bytes],
        *,
        chunk_bytes: int,
        credit_bytes: int,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._socket = socket
        self._chunk_bytes = chunk_bytes
        self._pace = pace
        self._clock = clock
        self._number = secrets.randbelow(2**53 - 1) + 1
        self._sent = self._limit = self._last_seq = 0
        self._outgoing: Iterator[tuple[delivery.FromSender, bytes] | None] = iter(())
        self._held: tuple[delivery.FromSender, bytes] | None = None
        self.welcomed = False
        self.contact_s = self._beat_s = clock()
        self._post(delivery.Hello(session=self._number, night=journal.started().night, window=credit_bytes))

    def step(self) -> bool:
        """Send what the credit allows and take in one answer; returns whether either happened.

        Raises
        ------
        SessionOver
            In one of its kinds.
        JournalDamaged
            The recorder and the journal, or the journal and the spool, contradict each other.
        """
        moved = self._pump()
        if self._socket.poll(0):
            self.contact_s = self._clock()
            self._take(self._socket.recv_multipart())
            return True
        now = self._clock()
        if now - self.contact_s > self._pace.lost_s:
            raise RecorderAway(
                f"the recorder has not answered for {self._pace.lost_s:g} s; the spool keeps what is secured"
            )
        if now - self._beat_s > self._pace.beat_s:
            self._beat_s = now
            if self.welcomed:
                self._post(delivery.Beat(session=self._number))
        return moved

    def _post(self, message: delivery.FromSender, payload: bytes | None = None) -> bool:
        try:
            self._socket.send_multipart(delivery.encode(message, payload), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _pump(self) -> bool:
        if not self.welcomed or self._sent >= self._limit:
            return False
        if self._held is None:
            self._held = next(self._outgoing)
        if self._held is None or not self._post(*self._held):
            return False
        message, payload = self._held
        self._sent += len(payload)
        if isinstance(message, delivery.RecordFollows):
            self._last_seq = message.seq
        self._held = None
        return True

    def _take(self, frames: list[bytes]) -> None:
        try:
            message = delivery.decode_from_recorder(frames)
        except OtherVersion as other:
            raise RecorderUnfit(
                f"the recorder is of another version of lamelle: {other}; install the same on both"
            ) from other
        except ProtocolViolation as violation:
            raise RecorderRefuses(f"the recorder does not speak this protocol: {violation}") from violation
        if isinstance(message, delivery.Refuse) and message.session in (0, self._number):
            raise _refusal(message)
        if message.session != self._number:
            return  # of a session before this one
        match message:
            case delivery.Welcome() if not self.welcomed:
                self._begin(message)
            case delivery.Credit() if self.welcomed and message.limit >= self._limit:
                self._limit = message.limit
            case delivery.Ack() if self.welcomed and message.seq <= self._last_seq:
                self._acknowledge(message.seq)
            case delivery.Beat():
                pass
            case _:
                raise RecorderRefuses(f"the recorder answered {type(message).__name__} out of turn: {message}")

    def _begin(self, welcome: delivery.Welcome) -> None:
        held, known, last = welcome.acknowledged, self._journal.acknowledged(), self._journal.last_seq()
        if held < known:
            raise JournalDamaged(
                f"the recorder holds {held} records of this night and had acknowledged {known}; "
                "record into the dataset that holds them"
            )
        if held > last:
            raise JournalDamaged(
                f"the recorder holds {held} records of this night and the journal {last}; resume with its own journal"
            )
        if held and welcome.digest != hashlib.sha256(self._body(held)).hexdigest():
            raise JournalDamaged(
                f"the recorder holds another record {held} than the journal; record into another folder"
            )
        self.welcomed = True
        self._limit = welcome.limit
        self._last_seq = held
        self._acknowledge(held)
        self._outgoing = self._messages(held, dict(welcome.parts))

    def _body(self, seq: int) -> bytes:
        return self._journal.pending(seq - 1, 1)[0][1]

    def _acknowledge(self, seq: int) -> None:
        before = self._journal.acknowledged()
        if seq <= before:
            return
        names = []
        for _, body in self._journal.pending(before, seq - before):
            names += [file.name for file in _files(body)]
        self._journal.acknowledge(seq)
        for name in names:
            self._spool.remove(name)

    def _messages(self, after: int, begun: dict[str, int]) -> Iterator[tuple[delivery.FromSender, bytes] | None]:
        """Everything that follows record `after`, for ever; None whenever there is nothing to send at present."""
        while True:
            batch = self._journal.pending(after, _BATCH)
            if not batch:
                yield None
            for seq, body in batch:
                yield delivery.RecordFollows(session=self._number, seq=seq), body
                for index, file in enumerate(_files(body)):
                    yield from self._chunks(seq, index, file, begun.pop(file.sha256, 0))
                after = seq

    def _chunks(
        self, seq: int, index: int, file: FileEntry, offset: int
    ) -> Iterator[tuple[delivery.FromSender, bytes]]:
        path = self._spool.path(file.name)
        while offset < file.size:
            try:
                # Opened for each chunk: Windows cannot delete a file that someone holds open.
                with path.open("rb") as stream:
                    stream.seek(offset)
                    chunk = stream.read(min(self._chunk_bytes, file.size - offset))
            except FileNotFoundError as error:
                raise JournalDamaged(f"{path} is secured and not delivered, and is missing; restore it") from error
            if not chunk:
                raise JournalDamaged(f"{path} ends at {offset} bytes and was secured with {file.size}; restore it")
            yield delivery.ChunkFollows(session=self._number, seq=seq, file=index, offset=offset), chunk
            offset += len(chunk)


def _files(body: bytes) -> tuple[FileEntry, ...]:
    record = decode(body)
    return record.files if isinstance(record, FieldSecured) else ()


def _refusal(message: delivery.Refuse) -> SessionOver:
    if message.code in _AGAIN:
        return SayHello(message.reason)
    if message.retry:
        return RecorderWaits(f"the recorder cannot store at present: {message.reason}")
    return RecorderRefuses(f"the recorder refuses: {message.reason}")
