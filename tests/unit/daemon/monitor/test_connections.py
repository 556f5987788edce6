"""Connections of the monitor: every answer is counted, none is held for ever, and broken ones are no fault of ours."""

from __future__ import annotations

import logging
import re
import socket
import urllib.request

import pytest

from daemon.web.access import Door
from daemon.web.connection import Patience
from tests.support.a_monitor import TOKEN, serving
from tests.support.asking import exchange
from tests.support.deadlines import DEADLINE_S
from tests.support.small_night import until
from tests.support.stream_messages import nowhere

HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"
CHUNKED = b"POST /login" + HEAD + b"Origin: http://localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def until_told(connection: socket.socket, end: bytes) -> bytes:
    """What comes back, to the end of an answer."""
    answer = b""
    while not answer.endswith(end):
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    return answer


def test_every_answer_is_counted_also_to_what_is_no_http() -> None:
    requests = [
        (b"GET /stream" + HEAD + CLOSE, [401]),
        (b"GET /login" + HEAD + CLOSE, [200]),
        (b"GET /" + HEAD + CLOSE, [303]),
        (b"PUT /" + HEAD + CLOSE, [405]),
        (b"no HTTP\r\n\r\n", [400]),
        (CHUNKED + b"ZZ\r\n", [400]),
        (3 * (b"GET /stream" + HEAD + b"\r\n") + b"\x00\r\n\r\n", [401, 401, 401, 400]),
    ]
    with serving(nowhere, Door(TOKEN)) as served:
        for request, wanted in requests:
            assert statuses(exchange(served.port, request)) == wanted, request[:40]
        assert served.answers == {200: 1, 303: 1, 400: 3, 401: 4, 405: 1}
        asking = urllib.request.Request(f"{served.address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(asking, timeout=DEADLINE_S) as answer:
            assert b'lamelle_monitor_answers_total{status="400"} 3.0\n' in answer.read()


def test_what_breaks_after_it_was_answered_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.ERROR),
        serving(nowhere, Door(TOKEN)) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S) as connection,
    ):
        connection.sendall(CHUNKED.replace(b"http://localhost", b"http://evil.example"))
        assert statuses(until_told(connection, b"that came from another page")) == [403]
        connection.sendall(b"ZZ\r\n")
        assert connection.recv(65536) == b"", "it hangs up"
        assert exchange(served.port, CHUNKED + b"ZZ\r\n").startswith(b"HTTP/1.1 400 ")
        assert served.answers == {400: 1, 403: 1}
    assert caplog.messages == []


@pytest.mark.parametrize("begun", [b"", b"GET /", b"GET /login" + HEAD, CHUNKED + b"5\r\ntok"])
def test_a_request_that_does_not_come_is_not_awaited_for_ever(begun: bytes) -> None:
    with serving(nowhere, Door(TOKEN), patience=Patience(request_s=0.2)) as served:
        assert statuses(exchange(served.port, begun)) == [408]
        assert served.answers == {408: 1}


def test_the_next_request_of_a_connection_may_not_take_longer_either() -> None:
    with (
        serving(nowhere, Door(TOKEN), patience=Patience(request_s=0.2)) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S) as connection,
    ):
        connection.sendall(b"GET /stream" + HEAD + b"\r\n")
        assert statuses(until_told(connection, b"this needs the token")) == [401]
        connection.sendall(b"GET /str")
        assert statuses(connection.recv(65536)) == [408]
        assert connection.recv(1) == b""


@pytest.mark.slow
def test_an_open_page_is_held_however_long_it_asks_nothing_more() -> None:
    with serving(nowhere, patience=Patience(request_s=0.05)) as served:
        with urllib.request.urlopen(f"{served.address}/stream", timeout=DEADLINE_S) as stream:
            told = iter(stream.readline, b"event: alive\n")
            assert b"event: whole\n" in list(told), "it lives far longer than a request may take to come"
        until(lambda: not served.feed.browsers, "the page is gone")


def test_who_does_not_read_is_hung_up_on() -> None:
    def ask_and_ask(connection: socket.socket) -> None:
        """Until the buffers of both sides are full; a server that waits for ever lets this time out."""
        while True:
            connection.sendall(100 * (b"GET /login" + HEAD + b"\r\n"))

    with (
        serving(nowhere, Door(TOKEN), patience=Patience(read_s=0.2)) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S) as connection,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        ask_and_ask(connection)
