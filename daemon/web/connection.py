"""One browser's connection: its answers are counted, and it ends where nobody asks or reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Patience(NamedTuple):
    """How long a request may take to come, and an answer may wait to be read, s."""

    request_s: float = 10.0
    read_s: float = 60.0


class Connection(H11Protocol):
    """A connection that speaks HTTP/1.1.

    A request that is not whole in time is refused, so that nobody keeps others out by connections that never ask; so
    is what is no HTTP. Who does not read what waits for him is hung up on.

    Attributes
    ----------
    answers
        answers by status, of all connections together.
    """

    answers: Counter[int]
    patience: Patience

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn = _Counted(self.answers, self.config.h11_max_incomplete_event_size)
        self._request_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """Hear a part of a request, or several."""
        super().data_received(data)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for timer in (self._request_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait until what was written is read."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.patience.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: it was read."""
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - named by uvicorn
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _await_request(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            if self._request_timer is not None:
                self._request_timer.cancel()
            self._request_timer = None
        elif self._request_timer is None:
            wait_s = self.patience.request_s
            self._request_timer = self.loop.call_later(wait_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Hang up, with an answer where none has begun."""
        if self.cycle is not None:
            # Whatever works at this request must not answer it as well.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [("content-length", "0"), ("connection", "close")]
            refusal = h11.Response(status_code=status, headers=headers, reason=status.phrase)
            for event in (refusal, h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Counted(h11.Connection):
    """One end of a connection that counts what it answers."""

    def __init__(self, answers: Counter[int], most_bytes: int | None) -> None:
        super().__init__(h11.SERVER, *([] if most_bytes is None else [most_bytes]))
        self._answers = answers

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Give the bytes of an answer's part; `send` does so through this, too."""
        told = super().send_with_data_passthrough(event)
        if isinstance(event, h11.Response):
            self._answers[event.status_code] += 1
        return told


def connections(counted: Counter[int], as_patient: Patience) -> type[Connection]:
    """Kind of connection that counts its answers there, and waits so long."""

    class PatientConnection(Connection):
        answers = counted
        patience = as_patient

    return PatientConnection
