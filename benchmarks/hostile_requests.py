"""Hostile HTTP requests: bytes as a stranger would send them to the page, none of which may be let in."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

SECRETS = (
    "etc/passwd", "proc/self/environ", "access.py", "login.html", "../../pyproject.toml", "run.yaml", "token",
)  # fmt: skip
CLIMBS = (
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", "%c0%ae%c0%ae/", "%e0%80%ae/",
    "....//", "..;/", "%00/", "/", "%2f", "//", "C:%5c", "file:///", "\\\\host\\",
)  # fmt: skip
STARTS = (
    "/", "/live/", "/picture/field/1/1/", "/login/", "/stream/", "/live/main.js/", "", "http://localhost/",
)  # fmt: skip
ROUTES = (
    "/", "/live/main.js", "/stream", "/metrics", "/picture/field/1/1/0", "/picture/object/1/1/1", "/order", "/logout",
)  # fmt: skip
METHODS = (
    "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 300, "PRI",
)  # fmt: skip
HOSTS = (
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "169.254.169.254", "a/login?", "a/login#",
    "localhost@evil.example", "0x7f.1", "2130706433", "localhost%00.evil.example", "", "a\r\nHost: localhost",
)  # fmt: skip
ORIGINS = (
    "http://evil.example", "null", "http://localhost.evil.example", "http://[", "file://", "http://localhost:1", "",
)  # fmt: skip
ORDERS = (b'{"name":"pause"}', b'{"name":"stop"}', b'{"name":"resume"}', b'{"name":"skip","slide":1}')
CHUNKS = (
    b"ZZ\r\n", b"-1\r\n\r\n", b"ffffffffffffffff\r\nx", b"5\r\nabc", b"0\r\nX: y\r\n\r\n", b"\r\n\r\n", b"1\r\naa\r\n",
    b"1;" + b"x" * 5000 + b"\r\na\r\n0\r\n\r\n", b"0" * 30 + b"1\r\na\r\n0\r\n\r\n",
)  # fmt: skip
HEADERS = (
    "Accept: text/event-stream", "Last-Event-ID: 9", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost",
    "Range: bytes=0-", "X-Original-URL: /login", "X-Rewrite-URL: /login", "X-HTTP-Method-Override: GET",
    "Expect: 100-continue", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Content-Length: 3\r\nContent-Length: 4", "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==",
)  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """What is sent over one connection.

    `kind` names it for the table; `pieces` are sent one after the other. `tries_token`: it shows a wrong one, which is
    counted unless its address must wait. `waits`: perhaps it is no whole request, which nobody answers.
    """

    kind: str
    pieces: tuple[bytes, ...]
    tries_token: bool = False
    waits: bool = False


class Maker:
    """Makes hostile requests, the same for the same seed.

    Parameters
    ----------
    seed
        of the draws.
    port
        where the page is.
    token
        the right one, or None where none is asked for; never sent, but damaged.
    cookie
        the right one, or None where none is asked for; never sent, but damaged.
    """

    def __init__(self, seed: str, port: int, token: str | None, cookie: str | None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self._host = f"localhost:{port}"
        self._origin = f"Origin: http://{self._host}"
        self._token, self._cookie = token, cookie
        anywhere: list[Callable[[], Hostile]] = [
            self._rebound, self._climbing, self._ordering, self._methods, self._large,
        ]  # fmt: skip
        # Where no token is asked for, these may come out right, and are answered.
        guarded = [
            self._bytes, self._half, self._tokens, self._cookies, self._headers, self._chunked, self._pipelined,
        ]  # fmt: skip
        self._kinds = anywhere if token is None else [*anywhere, *guarded]

    def make(self) -> Hostile:
        """Draw one."""
        return self._random.choice(self._kinds)()

    def _request(
        self, method: str, path: str, *headers: str, body: bytes = b"", host: str | None = None, last: bool = True
    ) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host if host is None else host}", *headers]
        if last:
            lines.append("Connection: close")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _damaged(self, secret: str) -> str:
        draw, at = self._random, self._random.randrange(len(secret))
        choices = (
            secret[:at], secret + "x", "x" + secret, secret[::-1], secret[:at] + "~" + secret[at + 1 :], "", "\xff\xfe",
            draw.randbytes(20).hex(), "x" * draw.randrange(1, 9000), "' OR 1=1 --", quote(secret + "\x00"),
        )  # fmt: skip
        return draw.choice(choices)

    def _rebound(self) -> Hostile:
        draw = self._random
        sent = self._request(draw.choice(("GET", "POST")), draw.choice(ROUTES), host=draw.choice(HOSTS))
        return Hostile("names of others (Host)", (sent,))

    def _climbing(self) -> Hostile:
        draw = self._random
        path = draw.choice(STARTS) + draw.choice(CLIMBS) * draw.randrange(1, 12) + draw.choice(SECRETS)
        return Hostile("paths that climb", (self._request("GET", path),))

    def _ordering(self) -> Hostile:
        draw = self._random
        kind, wrong = "Content-Type: application/json", ""
        headers = [kind, f"Origin: {draw.choice(ORIGINS)}"]
        match draw.randrange(3):
            case 0:
                headers = [kind]
            case 1 if self._token is None:
                headers = [self._origin, draw.choice(("Content-Type: text/plain", "X: application/json"))]
            case 1:
                headers = [kind, self._origin]
        if self._token is not None and draw.randrange(2):
            wrong = self._damaged(self._token)
            headers.append(f"Authorization: Bearer {wrong}")
        sent = self._request("POST", "/order", *headers, body=draw.choice(ORDERS))
        return Hostile("orders", (sent,), bool(wrong))

    def _methods(self) -> Hostile:
        draw = self._random
        sent = self._request(draw.choice(METHODS), draw.choice(ROUTES), body=draw.choice((b"", b"x" * 50)))
        return Hostile("methods", (sent,))

    def _large(self) -> Hostile:
        draw = self._random
        match draw.randrange(4):
            case 0:
                sent = self._request("GET", "/" + "x" * draw.randrange(512, 15_000))
            case 1:
                sent = self._request("GET", "/nothing?" + "x" * 600, "X: " + "x" * draw.randrange(60_000))
            case 2:
                sent = self._request(
                    "GET", "/" + "x" * 600, *(f"X{number}: y" for number in range(draw.randrange(900)))
                )
            case _:
                kind = "text/plain" if self._token is None else "application/json"
                body = b"[" * draw.randrange(1, 60_000)
                sent = self._request("POST", "/order", self._origin, f"Content-Type: {kind}", body=body)
        return Hostile("large ones", (sent,))

    def _bytes(self) -> Hostile:
        sent = self._random.randbytes(self._random.randrange(1, 2000)) + b"\r\n\r\n"
        return Hostile("random bytes", (sent,), waits=True)

    def _half(self) -> Hostile:
        whole = self._request("POST", "/login", self._origin, body=b"token=")
        return Hostile("half requests", (whole[: self._random.randrange(1, len(whole) - 1)],), waits=True)

    def _tokens(self) -> Hostile:
        assert self._token is not None
        draw, wrong = self._random, self._damaged(self._token)
        if draw.randrange(2):
            scheme = draw.choice(("Bearer ", "bearer ", "Basic ", "", "Bearer  Bearer "))
            sent = self._request("GET", draw.choice(ROUTES[1:]), f"Authorization: {scheme}{wrong}")
            tried = scheme.startswith("Bearer ") and bool(scheme.removeprefix("Bearer ") + wrong)
            return Hostile("wrong tokens", (sent,), tried)
        body = b"token=" + quote(wrong, safe="").encode()[:1900] + b"&who=" + draw.randbytes(8).hex().encode()
        return Hostile("wrong tokens", (self._request("POST", "/login", self._origin, body=body),), True)

    def _cookies(self) -> Hostile:
        assert self._cookie is not None
        name = self._random.choice(("lamelle-session", "Lamelle-Session", "session", "lamelle-session=; x"))
        sent = self._request("GET", self._random.choice(ROUTES), f"Cookie: {name}={self._damaged(self._cookie)}")
        return Hostile("wrong cookies", (sent,))

    def _headers(self) -> Hostile:
        draw = self._random
        more = [draw.choice(HEADERS) for _ in range(draw.randrange(1, 4))]
        sent = self._request(draw.choice(("GET", "POST")), draw.choice(ROUTES), *more)
        return Hostile("websockets, other headers", (sent,), waits=True)

    def _chunked(self) -> Hostile:
        draw = self._random
        origin = draw.choice(("Origin: http://evil.example", self._origin))
        head = self._request("POST", draw.choice(("/login", "/order")), origin, "Transfer-Encoding: chunked")
        body = b"".join(draw.choice(CHUNKS) for _ in range(draw.randrange(1, 4)))
        return Hostile("chunked nonsense", (head, body) if draw.randrange(4) == 0 else (head + body,), waits=True)

    def _pipelined(self) -> Hostile:
        draw = self._random
        some = [self._request("GET", draw.choice(ROUTES), last=False) for _ in range(draw.randrange(2, 8))]
        end = draw.choice((self._request("GET", "/stream"), b"\x00\r\n\r\n", b"GET /str"))
        return Hostile("many at once", (b"".join([*some, end]),), waits=end == b"GET /str")
