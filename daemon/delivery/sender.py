"""The sender: a thread that delivers what the journal lists, and empties the spool as it is acknowledged."""

from __future__ import annotations

import socket as sockets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from daemon.config.model import CurveKeys
from daemon.delivery.session import (
    Delivery,
    Pace,
    RecorderAway,
    RecorderRefuses,
    RecorderUnfit,
    RecorderWaits,
    SayHello,
    SessionOver,
)
from daemon.protocols import delivery
from daemon.protocols.sockets import check_endpoint, secure
from daemon.records.events import EmitEvent, EventName
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import LamelleError, last_line

_IDLE_MS = 200
_UNFIT = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_AGAIN_S = 0.05


@dataclass(frozen=True)
class SenderStatus:
    """How delivery stands.

    `refused` is what a person must put right; `waiting` is what the recorder or this computer cannot do at present,
    such as a full disk. Both are tried again by themselves and end with the next acknowledgement. `away` says that no
    recorder answers, until one does. `unfit` says that the recorder is of a version that this one cannot deliver to.
    `whole` says that the recorder has all of a night that is closed.
    """

    connected: bool = False
    acknowledged_seq: int = 0
    backlog_records: int = 0
    last_contact_monotonic_s: float | None = None
    refused: str | None = None
    waiting: str | None = None
    away: str | None = None
    unfit: str | None = None
    whole: bool = False


class Sender(threading.Thread):
    """Delivers records and files in the journal's order; never sends what the journal does not list.

    Parameters
    ----------
    journal_path
        where the journal lies; the thread opens one of its own.
    spool
        files that are still to be delivered.
    endpoint
        where the recorder listens.
    emit
        called from this thread with level, name and message when the state of delivery changes.
    keys
        CURVE keys, needed unless the endpoint is loopback.
    chunk_bytes
        size of a piece of a file.
    credit_bytes
        how many bytes may be on their way.

    Attributes
    ----------
    error
        what ended the thread, as the last line of its traceback in the log; empty where none did.

    Raises
    ------
    Refused
        The endpoint may not be used.
    """

    def __init__(
        self,
        journal_path: Path,
        spool: Spool,
        endpoint: str,
        *,
        emit: EmitEvent,
        keys: CurveKeys | None = None,
        chunk_bytes: int = 1 << 20,
        credit_bytes: int = 16 << 20,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="sender", daemon=True)
        check_endpoint(endpoint, keys, "client")
        self._journal_path = journal_path
        self._spool = spool
        self._endpoint = endpoint
        self._emit = emit
        self._keys = keys
        self._chunk_bytes = min(chunk_bytes, delivery.MAX_PAYLOAD_BYTES)
        self._credit_bytes = credit_bytes
        self._pace = pace or Pace()
        self._clock = clock
        self._drain_until_s: float | None = None
        self._bell, self._ear = sockets.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._status = SenderStatus()
        self._told: EventName | None = None
        self.error = ""

    @property
    def endpoint(self) -> str:
        """Where it delivers to."""
        return self._endpoint

    def status(self) -> SenderStatus:
        """How delivery stands."""
        return self._status

    def explain(self) -> str:
        """Return why the spool does not grow emptier."""
        status = self._status
        if not self.is_alive():
            return f"delivery has ended with an error ({self.error}); the log says where"
        slow = "the recorder takes fields more slowly than they come"
        return status.refused or status.waiting or status.away or slow

    def wake(self) -> None:
        """Note that the journal has grown; returns at once, from any thread."""
        with suppress(OSError):  # rung often enough already, or stopped
            self._bell.send(b"\0")

    def redirect(self, endpoint: str) -> None:
        """Deliver to a recorder that listens elsewhere from now on."""
        check_endpoint(endpoint, self._keys, "client")
        self._endpoint = endpoint
        self.wake()

    def stop(self, drain_s: float) -> None:
        """End the thread, once everything is acknowledged or `drain_s` seconds have passed, and wait for its end."""
        self._drain_until_s = self._clock() + drain_s
        self.wake()
        if self.is_alive():
            self.join()
        self._bell.close()
        self._ear.close()

    def run(self) -> None:
        """Deliver until told to stop."""
        try:
            self._deliver()
        except Exception as error:
            self.error = last_line(error)
            raise

    def _deliver(self) -> None:
        poller = zmq.Poller()
        poller.register(self._ear, zmq.POLLIN)
        with zmq.Context() as context:
            while True:
                endpoint = self._endpoint
                try:
                    with closing(Journal.open(self._journal_path)) as journal:
                        self._note_progress(journal)
                        if self._finished(journal):
                            return
                        self._converse(context, journal, poller, endpoint)
                except (SessionOver, LamelleError, OSError, sqlite3.OperationalError, zmq.ZMQError) as over:
                    self._pause(poller, endpoint, self._note_end(over))
                    if self._drain_until_s is not None and self._clock() >= self._drain_until_s:
                        return

    def _converse(
        self, context: zmq.Context[zmq.Socket[bytes]], journal: Journal, poller: zmq.Poller, endpoint: str
    ) -> None:
        """Hold one session, until it is over, the endpoint changes or the thread is to stop."""
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.ipv6 = "[" in endpoint
            socket.setsockopt(zmq.MAXMSGSIZE, delivery.MAX_PAYLOAD_BYTES)
            secure(socket, self._keys, "client")
            with socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | _UNFIT) as handshakes:
                socket.connect(endpoint)
                try:
                    self._talk(socket, journal, poller, endpoint)
                except RecorderAway as away:
                    _blame_keys(handshakes, endpoint, away)
                    raise
                finally:
                    socket.disable_monitor()

    def _talk(self, socket: zmq.Socket[bytes], journal: Journal, poller: zmq.Poller, endpoint: str) -> None:
        delivery = Delivery(
            journal,
            self._spool,
            socket,
            chunk_bytes=self._chunk_bytes,
            credit_bytes=self._credit_bytes,
            pace=self._pace,
            clock=self._clock,
        )
        poller.register(socket, zmq.POLLIN)
        try:
            while endpoint == self._endpoint and not self._finished(journal):
                if delivery.step():
                    self._note_contact(delivery, journal)
                else:
                    self._note_progress(journal)
                    poller.poll(min(_IDLE_MS, int(self._pace.beat_s * 1000)))
                    self._hush()
        finally:
            poller.unregister(socket)
            self._note_progress(journal)

    def _finished(self, journal: Journal) -> bool:
        if self._drain_until_s is None:
            return False
        return self._clock() >= self._drain_until_s or journal.acknowledged() == journal.last_seq()

    def _pause(self, poller: zmq.Poller, endpoint: str, seconds: float) -> None:
        """Wait, but not beyond a change of the endpoint or the end of the time to drain."""
        until = self._clock() + seconds
        while endpoint == self._endpoint and (now := self._clock()) < until:
            if self._drain_until_s is not None and now >= self._drain_until_s:
                return
            poller.poll(min(_IDLE_MS, int((until - now) * 1000) + 1))
            self._hush()

    def _hush(self) -> None:
        with suppress(BlockingIOError):
            while self._ear.recv(4096):
                pass

    def _note_end(self, over: Exception) -> float:
        """Emit why a session ended; returns how long to wait before the next, in s."""
        reason = str(over)
        match over:
            case SayHello():
                return _AGAIN_S
            case RecorderAway():
                self._status = replace(self._status, connected=False, away=reason)
                if not self._status.whole:  # a recorder that has everything may go, or write the report
                    self._say("warning", EventName.RECORDER_AWAY, reason)
                return 0.0
            case RecorderWaits():
                self._status = replace(self._status, waiting=reason)
                self._say("warning", EventName.RECORDER_WAITS, reason)
            case SessionOver() | LamelleError():
                unfit = reason if isinstance(over, RecorderUnfit) else None
                self._status = replace(self._status, refused=reason, unfit=unfit)
                self._say("error", EventName.DELIVERY_REFUSED, reason)
            case _:
                reason = f"this computer cannot deliver at present: {reason}"
                self._status = replace(self._status, waiting=reason)
                self._say("warning", EventName.DELIVERY_WAITS, reason)
        return self._pace.retry_s

    def _say(self, level: str, name: EventName, message: str) -> None:
        if self._told != name:
            self._told = name
            self._emit(level, name, message)

    def _note_contact(self, delivery: Delivery, journal: Journal) -> None:
        if delivery.welcomed:
            self._status = replace(
                self._status, connected=True, away=None, unfit=None, last_contact_monotonic_s=delivery.contact_s
            )
            if self._told == EventName.RECORDER_AWAY:
                self._go_on()
        self._note_progress(journal)

    def _note_progress(self, journal: Journal) -> None:
        acknowledged, last = journal.acknowledged(), journal.last_seq()
        if acknowledged > self._status.acknowledged_seq and (self._status.refused or self._status.waiting):
            self._go_on()
        whole = acknowledged == last and journal.night_closed()
        self._status = replace(
            self._status, acknowledged_seq=acknowledged, backlog_records=last - acknowledged, whole=whole
        )

    def _go_on(self) -> None:
        self._told = None
        self._status = replace(self._status, refused=None, waiting=None)
        self._emit("info", EventName.DELIVERY_GOES_ON, "the recorder takes records again")


def _blame_keys(handshakes: zmq.Socket[bytes], endpoint: str, away: RecorderAway) -> None:
    """Raise `RecorderRefuses` if somebody listens at the endpoint, and only the keys do not fit."""
    failures = 0
    while handshakes.poll(0):
        failures |= recv_monitor_message(handshakes)["event"]
    if failures & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        raise RecorderRefuses(
            f"the recorder at {endpoint} does not know this computer's key; add recorder.keys.public to its list of "
            "clients and restart it"
        ) from away
    if failures:
        raise RecorderRefuses(
            f"the keys of the recorder at {endpoint} and recorder.keys do not match; correct recorder.keys.server, or "
            "start the recorder with its own keys"
        ) from away
