"""Throw hostile HTTP requests at `lamelle view`, and look whether its nights are as they were.

python -m benchmarks.fuzz_view [--requests 100000] [--seed 1]

Two pages of the same small nights, whose names and folders are odd: one asks for a token, the other does not. Four
requests in five go to the first. What a stranger sends is what `benchmarks.hostile_requests` draws, and beside it
addresses of nights, fields, objects and pictures that are damaged, and orders to exclude fields that come from other
pages, or are none. Every eighth connection is cut before its answer. Ends with exit status 1 if anything was let in,
changed or failed, or a page died.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from benchmarks.hostile_requests import CLIMBS, HOSTS, ORIGINS, SECRETS, Maker
from daemon.view.nights import key_of
from tests.support.pictured_night import make_pictured_night

THREADS, ANSWER_S, HALF_S = 6, 30.0, 0.1
TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of these pages alone
NAMES = ("N", "two\nlines", "\u202eneddih", "%2e%2e%2f#?&;'\"<b>", "e\u0301" * 60)
NUMBERS = ("0", "-1", "1", "99", "1e9", "99999999999999999999", "\u0661", "1%00", "..", "1;2", "%31", "01", "")
ROUTES = (
    "/night/{}", "/data/night/{}", "/data/field/{}/{}/{}", "/data/object/{}/{}/{}/{}/{}", "/report/{}", "/paper/{}",
    "/picture/field/{}/{}/{}/{}", "/picture/object/{}/{}/{}/{}/{}/{}", "/picture/plane/{}/{}/{}/{}/{}/{}/{}", "/act/{}",
    "/data/objects?night={}&slide={}&first={}&count={}", "/data/objects?score={}&sort={}", "/data/choices?night={}",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[" * 1900, b'{"night":"', b"\xff\xfe", b"null", b'{"night":"N","slide":1,"fields":"all",}',
    b'{"night":"N","slide":1e400,"fields":"all"}',
)  # fmt: skip
SECRET_TEXTS = (b"root:x:", b"[project]", b"def shell", b"SECRET")
START = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class View:
    """A page that is served, and what strangers got from it."""

    def __init__(self, stack: ExitStack, nights: Path, token: Path | None) -> None:
        guard = [] if token is None else ["--token-file", str(token)]
        self.output = nights.with_name("output-open" if token is None else "output-guarded")
        said = stack.enter_context(self.output.open("wb"))
        command = [sys.executable, "-m", "daemon", "view", str(nights), "--http", "127.0.0.1:0", *guard]
        self.process = stack.enter_context(subprocess.Popen(command, stdout=said, stderr=said))
        stack.callback(self.process.terminate)
        while not (found := re.findall(rb"open http://127\.0\.0\.1:(\d+)", self.output.read_bytes())):
            time.sleep(0.05)
        self.port, self.guarded = int(found[0]), token is not None
        self.seen, self.leaks = Counter[tuple[str, str]](), list[tuple[str, bytes, bytes]]()
        self._lock = threading.Lock()

    def throw(self, kind: str, pieces: tuple[bytes, ...], address: str, *, cut: bool, waits: bool) -> None:
        """Send a request over a connection of its own, and look at what comes back."""
        answer = b""
        with (
            suppress(OSError),
            socket.create_connection(
                ("127.0.0.1", self.port), timeout=ANSWER_S, source_address=(address, 0)
            ) as connection,
        ):
            for piece in pieces:
                connection.sendall(piece)
            connection.settimeout(HALF_S if waits else ANSWER_S)
            while not cut and (piece := connection.recv(65536)):
                answer += piece
        statuses = [status.decode() for status in START.findall(answer)]
        wrong = any(status.startswith("5") for status in statuses) or any(text in answer for text in SECRET_TEXTS)
        wrong = wrong or (self.guarded and any(status == "200" for status in statuses) and b"/login" not in answer)
        with self._lock:
            for status in statuses or ["cut" if cut else "none"]:
                self.seen[kind, status] += 1
            if wrong and len(self.leaks) < 10:
                self.leaks.append((kind, pieces[0], answer))

    def ask(self, path: str) -> bytes:
        """Ask rightfully."""
        bearer = f"Authorization: Bearer {TOKEN}\r\n" if self.guarded else ""
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S) as connection:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{bearer}Connection: close\r\n\r\n"
            connection.sendall(head.encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))


class Stranger:
    """Draws what a stranger sends to one page, the same for the same seed."""

    def __init__(self, seed: str, view: View) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        cookie = "a-session-that-is-none"
        self._maker = Maker(seed, view.port, *((TOKEN, cookie) if view.guarded else (None, None)))
        self._keys = [*(key_of(name) for name in NAMES), "N", "..", *SECRETS, *CLIMBS, "x" * 300, "%ff", "\u202e"]
        self._host = f"localhost:{view.port}"

    def draw(self) -> tuple[str, tuple[bytes, ...], bool]:
        """Give a kind of request, its pieces, and whether nobody need answer it."""
        match self._random.randrange(3):
            case 0:
                hostile = self._maker.make()
                return hostile.kind, hostile.pieces, hostile.waits
            case 1:
                return "addresses of nights", (self._address(),), False
        return "orders to exclude", (self._order(),), False

    def _address(self) -> bytes:
        draw = self._random
        route = draw.choice(ROUTES)
        parts = [draw.choice(self._keys), *(draw.choice(NUMBERS) for _ in range(route.count("{}") - 1))]
        if draw.randrange(4) == 0:
            parts[draw.randrange(len(parts))] = draw.choice(CLIMBS) * draw.randrange(1, 5) + draw.choice(SECRETS)
        head = f"GET {route.format(*parts)} HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n"
        return head.encode("utf-8")

    def _order(self) -> bytes:
        draw = self._random
        right = {"night": key_of("N"), "slide": 1, "fields": "all", "typed": "hostile"}
        body = draw.choice((*BODIES, json.dumps(right).encode()))
        origin = draw.choice(ORIGINS)
        kind = draw.choice(("application/json", "text/plain", "application/x-www-form-urlencoded"))
        host = draw.choice((self._host, self._host, *HOSTS))
        name = draw.choice(("exclude", "include", "take-back", "nothing", "..%2fexclude"))
        head = f"POST /act/{name} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Type: {kind}\r\n"
        return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("latin-1", "replace") + body


def held(folder: Path) -> dict[str, str]:
    """Give the sha256 of everything below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def throw_all(views: list[View], requests: int, seed: int) -> None:
    """Send all requests, from many addresses of loopback."""

    def throw(number: int) -> None:
        strangers = [Stranger(f"{seed}/{number}/{at}", view) for at, view in enumerate(views)]
        for turn in range(number, requests, THREADS):
            at = int(turn % 5 == 0)
            kind, pieces, waits = strangers[at].draw()
            address = f"127.{1 + turn % 200}.{turn // 200 % 250}.1" if sys.platform == "linux" else "127.0.0.1"
            views[at].throw(kind, pieces, address, cut=turn % 8 == 0, waits=waits)

    threads = [threading.Thread(target=throw, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Serve, throw, look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        base = Path(folder)
        nights, token = base / "nights", base / "token"
        token.write_text(TOKEN, "utf-8")
        (base / "SECRET").write_text("SECRET", "utf-8")
        for name in NAMES:
            with suppress(OSError):  # Windows has no such names
                make_pictured_night(nights / name.replace("/", "-"), night=name)
        before = held(base)
        views = [View(stack, nights, token), View(stack, nights, None)]
        memory = [psutil.Process(view.process.pid).memory_full_info().uss / 1e6 for view in views]
        begun_s = time.monotonic()
        throw_all(views, options.requests, options.seed)
        print(f"{options.requests} requests in {time.monotonic() - begun_s:.0f} s")
        good = held(nights).items() <= before.items() and len(held(nights)) == len(before) - 2
        for view, mb in zip(views, memory, strict=True):
            right = b'"reading"' in view.ask("/data/nights") and view.process.poll() is None
            faults = view.output.read_bytes().count(b"Traceback")
            now = psutil.Process(view.process.pid).memory_full_info().uss / 1e6
            name = "with a token" if view.guarded else "without a token"
            print(f"{name}: {mb:.0f} MB before, {now:.0f} MB after, {faults} faults")
            for kind in sorted({kind for kind, _ in view.seen}):
                told = ", ".join(f"{status} {count}" for (of, status), count in sorted(view.seen.items()) if of == kind)
                print(f"  {kind:28} {told}")
            for kind, sent, answer in view.leaks:
                print(f"WRONG: {kind} {sent[:300]!r} was answered {answer[:300]!r}")
            good = good and right and not faults and not view.leaks
    print("the nights are as they were" if good else "NOT as it should be")
    sys.exit(not good)


if __name__ == "__main__":
    main()
