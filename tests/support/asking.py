"""Asking a page that is served, as a browser does, and byte for byte as strangers may."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.support.deadlines import DEADLINE_S


class Served(Protocol):
    """What is served, by its address."""

    address: str


def ask(served: Served, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    """Status, body and headers of an answer; redirects are not followed."""

    class Still(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(served.address + path, body, named)
    try:
        with urllib.request.build_opener(Still).open(request, timeout=DEADLINE_S) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def exchange(port: int, request: bytes) -> bytes:
    """Everything that comes back for some bytes, until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@contextmanager
def hung_up() -> Iterator[None]:
    """The server may hang up while it is still being written to."""
    try:
        yield
    except ConnectionError:
        return
