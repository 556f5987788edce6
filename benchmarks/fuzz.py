"""Throw random and hostile messages at every socket of a running night, and compare it with one that was left alone.

    python -m benchmarks.fuzz [--messages 100000] [--seed 1]

Prints what was thrown at which socket and what was counted there; ends with exit status 1 if a process died or was
replaced, an event was told, a pixel differs, or a message was not counted.
"""

from __future__ import annotations

import argparse
import random
import socket as sockets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import zmq

from daemon.dataset.summary import summarise
from daemon.live.order_client import give_order
from daemon.protocols import delivery, watching
from daemon.protocols.control import Order, decode_order
from daemon.protocols.control import encode as encode_order
from daemon.run_folder.endpoints import Bound
from daemon.run_folder.folder import RunFolder
from daemon.system.errors import ProtocolViolation
from daemon.system.process_table import read_processes
from tests.support.emulated_night import digest, lamelle, running, write_configuration
from tests.support.small_night import until

FIELDS, NIGHT_S = 60, 900
MOST_BYTES = 1000
"""Of a frame that is counted: above 1024 bytes the snapshot's socket hangs up."""
HUGE = 50
"""Frames of a megabyte, connections of raw TCP: for each socket."""
BOMBS = (
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x91" * 900,
    b"\xc1",
    b"\x81\xa1\xff\x01",
)
QUIET_MS = 1000
Frames = list[bytes]


def main() -> None:
    """Run both nights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fields", type=int, default=FIELDS, help="of each of two mini-slides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config = write_configuration(base, fields=options.fields, control={"endpoint": "tcp://127.0.0.1:*"})
        print(f"a night of 2 x {options.fields} fields that is left alone ...", flush=True)
        lamelle("scan", config, "--run", base / "alone", within_s=NIGHT_S)
        good = _fuzzed(config, base, options)
        same = digest(base / "run") == digest(base / "alone")
        names = [[event.name for event in summarise(base / run).events] for run in ("run", "alone")]
        print(f"pixels {'the same' if same else 'DIFFER'}, events {'the same' if names[0] == names[1] else names}")
    sys.exit(not (good and same and names[0] == names[1]))


def _fuzzed(config: Path, base: Path, options: argparse.Namespace) -> bool:
    run = base / "run"
    with running("scan", config, "--run", run, output=base / "out") as night:
        until(RunFolder(run).endpoints.exists, "the night did not begin", NIGHT_S)
        bound = msgspec.json.decode(RunFolder(run).endpoints.read_bytes(), type=Bound)
        control = bound.control
        assert control is not None
        _await_fields(control, 3)
        before = read_processes(run)
        memory = psutil.Process(night.pid).memory_info().rss
        begun = time.monotonic()
        throwers = _throwers(bound, control, _recorder(run), options.messages // 4, options.seed)
        threads = [threading.Thread(target=thrower.run) for thrower in throwers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        fields = give_order(lambda: control, None, "status", "fuzz").secured
        good = night.poll() is None and fields < 2 * options.fields
        print(f"{sum(t.sent for t in throwers)} messages in {took:.0f} s; {fields} fields were secured by then")
        for thrower in throwers:
            good = thrower.tell() and good
        grown = (psutil.Process(night.pid).memory_info().rss - memory) / 1e6
        alive = read_processes(run) == before and all(one.find() is not None for one in before.values())
        print(f"processes {'the same' if alive else 'DIED'}, memory of the supervisor {grown:+.0f} MB", flush=True)
        status = night.wait(NIGHT_S)
        print(f"the night ended with {status}")
        return good and alive and status == 0


def _await_fields(control: str, count: int) -> None:
    until(lambda: give_order(lambda: control, None, "status", "fuzz").secured >= count, "no fields", NIGHT_S)


def _recorder(run: Path) -> str:
    """Endpoint of the night's own recorder, which it tells nobody but the supervisor."""
    process = read_processes(run)["recorder"].find()
    assert process is not None
    (port,) = {end.laddr.port for end in process.net_connections("tcp") if end.status == psutil.CONN_LISTEN}
    return f"tcp://127.0.0.1:{port}"


class Thrower:
    """Throws at one socket.

    `seeds` are whole messages that are damaged; `counts` says whether a message must be counted, `counted` asks how
    many were.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        kind: int,
        messages: int,
        seed: int,
        seeds: list[bytes],
        counts: Callable[[Frames], bool],
        counted: Callable[[], int] | None,
    ) -> None:
        self._name, self._endpoint, self._kind, self._messages = name, endpoint, kind, messages
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311 - repeatable, no secret
        self._seeds, self._counts, self._counted = seeds, counts, counted
        self._before = 0 if counted is None else counted()
        self._expected = 0
        self.sent = 0

    def run(self) -> None:
        """Throw everything."""
        with zmq.Context() as context, context.socket(self._kind) as socket:
            socket.linger = 60_000
            socket.connect(self._endpoint)
            for frames in self._make():
                socket.send_multipart(frames)
                self._expected += self._counts(frames)
                self.sent += 1
                while socket.poll(0):
                    socket.recv_multipart()
            # A connection that is closed over answers it has not read is reset, and what it sent last is lost.
            while self._counted is not None and socket.poll(QUIET_MS):
                socket.recv_multipart()
        for _ in range(HUGE):
            self._throw_huge()
            self._throw_raw()
            self.sent += 2

    def tell(self) -> bool:
        """Print, and say whether all is well."""
        if self._counted is None:
            print(f"{self._name:9} {self.sent} thrown; such a socket hears subscriptions and nothing else")
            return True
        counted, more = self._counted, self._before + self._expected
        with suppress(AssertionError):
            until(lambda: counted() >= more, "not all were counted")
        now = counted() - self._before
        print(f"{self._name:9} {self.sent} thrown, {self._expected} that must be counted, {now} counted", flush=True)
        return now >= self._expected

    def _make(self) -> Iterator[Frames]:
        draw = self._random
        for _ in range(self._messages - 2 * HUGE):
            kind = draw.randrange(6)
            if kind == 0:
                yield [draw.randbytes(draw.randrange(MOST_BYTES))]
            elif kind == 1:
                yield [draw.randbytes(draw.randrange(40)) for _ in range(draw.randrange(1, 6))]
            elif kind == 2:
                yield [draw.choice(self._seeds)[:4] + draw.choice(BOMBS)]
            elif kind == 3:
                yield [draw.choice(self._seeds)[:4] + draw.randbytes(draw.randrange(60))]
            else:
                yield [self._damaged()]

    def _damaged(self) -> bytes:
        draw, message = self._random, bytearray(self._random.choice(self._seeds))
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(message))
            match draw.randrange(3):
                case 0:
                    message[at] = draw.randrange(256)
                case 1:
                    del message[at:]
                    message += b"\x00"
                case 2:
                    message[at:at] = draw.randbytes(3)
        return bytes(message)

    def _throw_huge(self) -> None:
        with zmq.Context() as context, context.socket(self._kind) as socket:
            socket.linger = 200
            socket.connect(self._endpoint)
            # No 1 in front: libzmq's own subscriber dies of a subscription of that length before it sends it.
            socket.send(bytes([2]) * (1 << 20))

    def _throw_raw(self) -> None:
        host, port = self._endpoint.removeprefix("tcp://").split(":")
        with suppress(OSError), sockets.create_connection((host, int(port)), timeout=5) as plain:
            plain.sendall(self._random.randbytes(self._random.randrange(1, 200)))


def _throwers(bound: Bound, control: str, recorder: str, messages: int, seed: int) -> list[Thrower]:
    order = encode_order(Order(id="fuzz", name="status", who="fuzz"))
    request = watching.encode(watching.SnapshotRequest())
    hellos = [
        delivery.encode(delivery.Hello(session=7, night="a night", window=1000))[0],
        delivery.encode(delivery.Beat(session=7))[0],
        delivery.encode(delivery.RecordFollows(session=7, seq=1))[0],
        delivery.encode(delivery.ChunkFollows(session=7, seq=1, file=0, offset=0))[0],
    ]
    return [
        Thrower("publish", bound.publish, zmq.XSUB, messages, seed, [b"\x01field"], lambda _: False, None),
        Thrower(
            "snapshot", bound.snapshot, zmq.DEALER, messages, seed, [request],
            lambda frames: not _is(watching.decode_request, frames), lambda: _violations(bound.snapshot),
        ),
        Thrower(
            "control", control, zmq.DEALER, messages, seed, [order],
            lambda frames: not _is(decode_order, frames),
            lambda: give_order(lambda: control, None, "status", "fuzz").refused,
        ),
        Thrower(
            "recorder", recorder, zmq.DEALER, messages, seed, hellos, _breaks_the_wire, lambda: _refusals(recorder)
        ),
    ]  # fmt: skip


def _is(decode: Callable[[bytes], object], frames: Frames) -> bool:
    """Whether a message is a whole one; an empty frame may come before it, as a REQ socket sends."""
    if len(frames) > 2 or (len(frames) == 2 and frames[0]):
        return False
    try:
        decode(frames[-1])
    except ProtocolViolation:
        return False
    return True


def _breaks_the_wire(frames: Frames) -> bool:
    try:
        delivery.decode_from_sender(frames)
    except ProtocolViolation:
        return True
    return False


def _ask(endpoint: str, question: bytes) -> list[bytes]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send(question)
        assert socket.poll(20_000), f"{endpoint} does not answer"
        return socket.recv_multipart()


def _violations(snapshot: str) -> int:
    answer = _ask(snapshot, watching.encode(watching.SnapshotRequest()))
    return watching.decode_snapshot(answer[0]).violations


def _refusals(recorder: str) -> int:
    """Ask the recorder with a beat of a session that is none, which is refused and no violation."""
    refused = delivery.decode_from_recorder(_ask(recorder, delivery.encode(delivery.Beat(session=1))[0]))
    assert isinstance(refused, delivery.Refuse)
    return refused.violations


if __name__ == "__main__":
    main()
