"""Throw hostile HTTP requests at `lamelle monitor`, and compare its night with one that was left alone.

    python -m benchmarks.fuzz_http [--requests 100000] [--seed 1]

Two monitors of one night, both of which may steer it: four requests in five go to one that asks for a token, the fifth
to one that asks for none and is reached from this computer alone. Slow clients hold connections meanwhile. Prints what
was answered; ends with exit status 1 if anything was let in or changed, a process died, or an answer was not counted.
Strangers come from many addresses of loopback, which systems other than Linux may have to set up.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import psutil

from benchmarks.hostile_requests import Hostile, Maker
from daemon.dataset.summary import summarise
from daemon.live.order_client import give_order
from daemon.records.events import EventName
from daemon.run_folder.endpoints import find_endpoint
from daemon.run_folder.folder import RunFolder
from daemon.system.process_table import read_processes
from daemon.web.connection import Patience
from tests.support.emulated_night import digest, lamelle, running, write_configuration
from tests.support.small_night import until

NIGHT_S, ANSWER_S, PATIENCE_S, TELL_S = 1800, 20.0, 0.1, 10.0
THREADS = 8
SLOW = 100
"""Clients that send a byte a second and never a whole request."""
TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - of this night alone
BODIES = (
    b"", b"refused", b"that is too large", b"there is nothing here", b"this needs the token",
    b"the address is too long", b"that came from another page",
    b"this page answers to the names of its own computer only",
    b"too many wrong tokens; wait", b'{"accepted":false,"message":"that is not an order"}',
)  # fmt: skip
"""All that a stranger may read, beside the page that asks for the token."""
LOGIN = re.compile(re.escape((resources.files("daemon.web") / "page" / "login.html").read_bytes()).replace(
    re.escape(b"{{message}}"), b"[^<]*"
))  # fmt: skip
START = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Target:
    """One monitor, and what strangers got from it.

    Parameters
    ----------
    output
        what it prints.
    token
        the right one, or None where none is asked for.
    """

    def __init__(self, output: Path, token: str | None) -> None:
        until(lambda: "open http" in output.read_text("utf-8"), "the monitor does not serve", ANSWER_S)
        (port,) = re.findall(r"open http://127\.0\.0\.1:(\d+)", output.read_text("utf-8"))
        self.port, self.output, self.token = int(port), output, token
        self.seen, self.kinds = Counter[int](), Counter[tuple[str, str]]()
        self.cut = self.wrong = self.sent = 0
        self.leaks: list[tuple[Hostile, bytes]] = []
        self._lock = threading.Lock()
        self.cookie: str | None = None
        self.cookie = self._log_in() if token is not None else None
        self.before = self.counted()
        # The answer that tells these counts is not yet among them.
        self.seen = Counter({200: 1})

    def _log_in(self) -> str:
        body = f"token={quote(str(self.token))}&who=owner".encode()
        answer = self.ask("POST", "/login", "Content-Type: application/x-www-form-urlencoded", body=body)
        (cookie,) = re.findall(rb"lamelle-session=([\w-]+)", answer)
        return str(cookie.decode())

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
        """Ask rightfully, with the cookie; the whole answer."""
        host = f"127.0.0.1:{self.port}"
        own = [f"Host: {host}", f"Origin: http://{host}", "Connection: close", f"Content-Length: {len(body)}", *headers]
        if self.cookie is not None:
            own.append(f"Cookie: lamelle-session={self.cookie}")
        with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S) as connection:
            connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", *own, "", ""]).encode() + body)
            answer = b""
            while b"event: whole" not in answer and (piece := connection.recv(65536)):
                answer += piece
        self.note(Counter({int(START.findall(answer)[0]): 1}))
        return answer

    def note(self, seen: Counter[int]) -> None:
        """Count answers that came."""
        with self._lock:
            self.seen += seen

    def counted(self) -> tuple[Counter[int], int]:
        """Answers by status, and wrong tokens, that the monitor has counted."""
        text = self.ask("GET", "/metrics").decode()
        answers = re.findall(r'lamelle_monitor_answers_total\{status="(\d+)"\} ([\d.e+]+)', text)
        (wrong,) = re.findall(r"lamelle_monitor_wrong_tokens_total ([\d.e+]+)", text)
        return Counter({int(status): int(float(count)) for status, count in answers}), int(float(wrong))

    def throw(self, hostile: Hostile, address: str) -> None:
        """Send a request over a connection of its own, and look at all that comes back."""
        answer, cut = b"", False
        patience_s = PATIENCE_S if hostile.waits else ANSWER_S
        try:
            with socket.create_connection(
                ("127.0.0.1", self.port), timeout=ANSWER_S, source_address=(address, 0)
            ) as connection:
                for number, piece in enumerate(hostile.pieces):
                    connection.sendall(piece)
                    connection.settimeout(patience_s)
                    if number < len(hostile.pieces) - 1:
                        with suppress(TimeoutError):
                            answer += connection.recv(65536)
                while piece := connection.recv(65536):
                    answer += piece
        except OSError:
            cut = True
        statuses = [int(status) for status in START.findall(answer)]
        seen = Counter(status for status in statuses if status >= 200)
        with self._lock:
            self.sent += 1
            self.seen += seen
            self.cut += cut
            self.wrong += (hostile.tries_token and 401 in seen) or b"That is not the token." in answer
            for status in seen.elements():
                self.kinds[hostile.kind, str(status)] += 1
            if not seen:
                self.kinds[hostile.kind, "none"] += 1
            if not self._harmless(answer) and len(self.leaks) < 20:
                self.leaks.append((hostile, answer))

    def _harmless(self, answer: bytes) -> bool:
        pieces = [piece for piece in re.split(rb"(?=HTTP/1\.1 \d{3} )", answer) if piece]
        for piece in pieces:
            head, end, body = piece.partition(b"\r\n\r\n")
            status = int(head[9:12]) if START.match(head) else 0
            shown = LOGIN.fullmatch(body) is not None and self.token is not None
            refused = body in BODIES and (status in (100, 303) or 400 <= status < 500)
            if not (end and (refused or (shown and status in (200, 401, 429)))):
                return False
        return True


def main() -> None:
    """Run both nights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fields", type=int, default=40, help="of each of two mini-slides")
    parser.add_argument("--move-ms", type=int, default=3000, help="how long each move of the stage takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        control = {"endpoint": "tcp://127.0.0.1:*"}
        config = write_configuration(base, fields=options.fields, control=control)
        print(f"a night of 2 x {options.fields} fields that is left alone ...", flush=True)
        lamelle("scan", config, "--run", base / "alone", within_s=NIGHT_S)
        timing = {"timing": {"xy_ms": options.move_ms, "z_ms": 0, "polarizer_ms": 0}}
        write_configuration(base, fields=options.fields, control=control, emulation=timing)
        good = _fuzzed(config, base, options)
        same = digest(base / "run") == digest(base / "alone")
        names = [[event.name for event in summarise(base / run).events] for run in ("run", "alone")]
        rightful = [EventName.PAUSE_ORDERED, EventName.PAUSED, EventName.RESUME_ORDERED, EventName.RESUMED]
        others = [name for name in names[0] if name not in rightful]
        as_alone = (
            others == names[1]
            and names[0].count(EventName.PAUSE_ORDERED) == names[0].count(EventName.RESUME_ORDERED) == 1
        )
        print(f"pixels {'the same' if same else 'DIFFER'}, events {'the same' if as_alone else names}")
    sys.exit(not (good and same and as_alone))


def _fuzzed(config: Path, base: Path, options: argparse.Namespace) -> bool:
    run, secret = base / "run", base / "token"
    secret.write_text(TOKEN, encoding="utf-8")
    with ExitStack() as stack:
        night = stack.enter_context(running("scan", config, "--run", run, output=base / "out"))
        until(RunFolder(run).endpoints.exists, "the night did not begin", NIGHT_S)
        control = find_endpoint(str(run), "control")
        until(lambda: give_order(control, None, "status", "fuzz").secured >= 2, "no fields", NIGHT_S)
        words = ("monitor", "--connect", run, "--http", "127.0.0.1:0", "--control")
        monitors = [
            stack.enter_context(running(*words, *more, output=base / f"monitor{number}"))
            for number, more in enumerate([("--token-file", secret), ()])
        ]
        targets = [Target(base / "monitor0", TOKEN), Target(base / "monitor1", None)]
        processes, memory = read_processes(run), _memory([one.pid for one in monitors])
        first = give_order(control, None, "status", "fuzz")
        _throw_all(targets, options)
        last = give_order(control, None, "status", "fuzz")
        good = night.poll() is None and last.secured < last.planned and all(one.poll() is None for one in monitors)
        good = good and (last.state, last.refused) == (first.state, first.refused)
        print(f"fields {first.secured} to {last.secured}, {last.state}; {last.refused - first.refused} bad orders came")
        for target, before, after in zip(targets, memory, _memory([one.pid for one in monitors]), strict=True):
            good = _tell(target) and good
            print(f"memory of that monitor {before:.1f} MB before, {after:.1f} MB after", flush=True)
        good = read_processes(run) == processes and all(one.find() is not None for one in processes.values()) and good
        print(f"rightful requests {'answered' if (right := _is_answered(targets[0])) else 'NOT ANSWERED'}", flush=True)
        status = night.wait(NIGHT_S)
        print(f"the night ended with {status}")
        return good and right and status == 0


def _memory(pids: list[int]) -> list[float]:
    return [psutil.Process(pid).memory_full_info().uss / 1e6 for pid in pids]


def _throw_all(targets: list[Target], options: argparse.Namespace) -> None:
    begun, ending = time.monotonic(), threading.Event()

    def throw(number: int) -> None:
        makers = [
            Maker(f"{options.seed}/{number}/{index}", target.port, target.token, target.cookie)
            for index, target in enumerate(targets)
        ]
        for turn in range(number, options.requests, THREADS):
            index = int(turn // THREADS % 5 == 4)
            # Each address has its own wait after a wrong token: of few, nearly all tries would only be told to wait.
            targets[index].throw(makers[index].make(), f"127.1.{turn // 200 % 250}.{1 + turn % 200}")

    slow = [threading.Thread(target=_dribble, args=(target, ending)) for target in targets]
    threads = [threading.Thread(target=throw, args=(number,)) for number in range(THREADS)]
    for thread in (*slow, *threads):
        thread.start()
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(TELL_S)
        sent, took = sum(target.sent for target in targets), time.monotonic() - begun
        left = (options.requests - sent) * took / max(1, sent)
        print(f"{sent} of {options.requests}, {sent / took:.0f} a second, {left:.0f} s left", flush=True)
        # Strangers who try tokens do not make the owner wait, who comes from another address.
        answer = targets[0].ask("GET", "/stream", f"Authorization: Bearer {TOKEN}")
        assert b"event: whole" in answer, answer
    ending.set()
    for thread in slow:
        thread.join()


def _dribble(target: Target, ending: threading.Event) -> None:
    """Hold connections with requests that come a byte a second; each is refused after `Patience.request_s`."""
    held: list[tuple[float, socket.socket]] = []
    while held or not ending.is_set():
        while len(held) < SLOW // 2 and not ending.is_set():
            connection = socket.create_connection(("127.0.0.1", target.port), timeout=ANSWER_S)
            connection.sendall(b"GET /stream HTTP/1.1\r\nX: ")
            held.append((time.monotonic() + Patience().request_s + 2, connection))
        time.sleep(1)
        for until_s, connection in list(held):
            if time.monotonic() < until_s - 3:
                connection.sendall(b"x")
            elif time.monotonic() > until_s:
                with connection, suppress(OSError):
                    target.note(Counter(int(status) for status in START.findall(connection.recv(65536))))
                held.remove((until_s, connection))


def _tell(target: Target) -> bool:
    """Print what was thrown and what was counted; whether all is well."""
    seen = Counter(target.seen)
    (counts, wrong), (counts_before, wrong_before) = target.counted(), target.before
    counted = counts - counts_before
    print(f"{'with' if target.token else 'without'} a token: {target.sent} connections, {target.cut} of them cut")
    for kind in sorted({kind for kind, _ in target.kinds}):
        told = ", ".join(f"{status} {target.kinds[kind, status]}" for _, status in sorted(
            pair for pair in target.kinds if pair[0] == kind
        ))  # fmt: skip
        print(f"  {kind:28} {told}")
    good = not target.leaks
    for hostile, answer in target.leaks:
        print(f"LET IN: {hostile} was answered {answer[:300]!r}")
    unseen = 0
    for status in sorted(counted | seen):
        print(f"  {status}: {seen[status]} came, {counted[status]} counted")
        good = good and counted[status] >= seen[status]
        unseen += counted[status] - seen[status]
    print(f"  {unseen} were counted that did not come, of {target.cut} cut connections")
    tried = wrong - wrong_before
    print(f"  {target.wrong} wrong tokens refused as such, {tried} counted")
    faults = target.output.read_text("utf-8").count("Traceback")
    lines = target.output.read_text("utf-8").count("\n")
    print(f"  its output: {lines} lines, {faults} faults")
    return good and unseen <= target.cut and target.wrong <= tried <= target.wrong + target.cut and not faults


def _is_answered(target: Target) -> bool:
    """Whether the owner sees the page and may steer: pause, and go on."""
    json = "Content-Type: application/json"
    return (
        b"<title>" in target.ask("GET", "/")
        and b"event: whole" in target.ask("GET", "/stream")
        and all(
            b'"accepted":true' in target.ask("POST", "/order", json, body=b'{"name":"%s"}' % name)
            for name in (b"pause", b"resume")
        )
    )


if __name__ == "__main__":
    main()
