"""The server under recorder, orders and snapshots: what it binds, what it counts, how it ends."""

from __future__ import annotations

import logging
import re
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import zmq

from daemon.protocols.router import Bounds, Router, sender_and_frame
from daemon.system.errors import ProtocolViolation, Refused
from tests.support.deadlines import DEADLINE_MS
from tests.support.small_night import until

BOUNDS = Bounds(message_bytes=1000, waiting_in=4, waiting_out=4)
LOG = logging.getLogger("test")


@contextmanager
def echoing(endpoint: str = "tcp://127.0.0.1:*") -> Iterator[Router]:
    """A server that sends every word back, but for one that it takes for a violation."""
    router = Router("echo.endpoint", endpoint, None, BOUNDS, LOG)

    def take(message: list[bytes]) -> None:
        sender, word = sender_and_frame(message)
        if word == b"bad":
            raise ProtocolViolation("that is a bad word")
        router.send([*sender, word])

    router.start("echo", take, lambda: None)
    try:
        yield router
    finally:
        router.close()


@contextmanager
def client(endpoint: str, kind: int = zmq.DEALER) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        socket.ipv6 = "[" in endpoint
        socket.connect(endpoint)
        yield socket


def said(socket: zmq.Socket[bytes], word: bytes) -> list[bytes]:
    socket.send(word)
    assert socket.poll(DEADLINE_MS), "no answer"
    return socket.recv_multipart()


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_either_kind_of_client_is_answered(kind: int) -> None:
    with echoing() as router, client(router.endpoint, kind) as socket:
        assert [said(socket, word) for word in (b"one", b"two")] == [[b"one"], [b"two"]]
        assert router.messages.count == router.connections.count == 0


def test_what_breaks_the_protocol_is_counted_and_the_next_is_served() -> None:
    with echoing() as router, client(router.endpoint) as socket:
        for frames in ([b"bad"], [b"x", b"y"], [b"", b"", b"y"]):
            socket.send_multipart(frames)
        assert said(socket, b"good") == [b"good"]
        assert router.messages.count == 3


def test_a_connection_that_speaks_something_else_is_counted_apart() -> None:
    with echoing() as router, client(router.endpoint) as socket:
        host, port = router.endpoint.removeprefix("tcp://").split(":")
        with sockets.create_connection((host, int(port))) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        until(lambda: router.connections.count > 0, "not counted")
        assert said(socket, b"good") == [b"good"]
        assert router.messages.count == 0


def test_a_frame_beyond_the_bound_costs_its_connection_alone() -> None:
    with echoing() as router, client(router.endpoint) as large, client(router.endpoint) as small:
        large.send(bytes(1001))
        assert said(small, bytes(1000)) == [bytes(1000)]
        assert not large.poll(50)


def test_an_endpoint_that_is_taken_is_refused_by_the_name_of_its_setting_and_free_again_after_the_end() -> None:
    with echoing() as router:
        told = re.escape(f"echo.endpoint {router.endpoint!r} cannot be bound")
        with pytest.raises(Refused, match=told):
            Router("echo.endpoint", router.endpoint, None, BOUNDS, LOG)
        spare = Router("spare", "tcp://127.0.0.1:*", None, BOUNDS, LOG)
        with closing(spare), pytest.raises(Refused, match=told):
            spare.publisher("echo.endpoint", router.endpoint, BOUNDS)
    router.close()
    with echoing(router.endpoint) as again, client(again.endpoint) as socket:
        assert said(socket, b"good") == [b"good"]


@pytest.mark.skipif(not sockets.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6_is_served() -> None:
    try:
        router = Router("echo.endpoint", "tcp://[::1]:*", None, BOUNDS, LOG)
    except Refused:
        pytest.skip("this computer has no loopback of IPv6")
    router.close()
    assert router.endpoint.startswith("tcp://[::1]:")


def test_a_server_in_this_thread_ends_when_it_is_told_and_tells_once_more() -> None:
    ending, turns = threading.Event(), list[bool]()
    router = Router("echo.endpoint", "tcp://127.0.0.1:*", None, BOUNDS, LOG, ending)

    def turn() -> None:
        turns.append(ending.is_set())
        if len(turns) == 3:
            ending.set()

    router.serve(lambda _: None, turn)
    assert turns == [False, False, False, True]
