"""The stream for watchers: late joiners catch up, slow ones lose, hostile ones change nothing, nothing waits."""

from __future__ import annotations

import multiprocessing
import re
import runpy
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import zmq

from daemon.config.model import CurveKeys, Watch
from daemon.live.publisher import MAX_QUEUE_BYTES, MAX_REQUEST_BYTES, Broadcaster
from daemon.protocols.watching import (
    PREFIX,
    EventNotice,
    Overview,
    Snapshot,
    SnapshotRequest,
    State,
    decode_envelope,
    decode_snapshot,
    encode,
)
from daemon.records.events import EventName
from daemon.records.states import NightState
from daemon.system.errors import ProtocolViolation, Refused
from tests.support.deadlines import DEADLINE_MS, DEADLINE_S, END_S
from tests.support.places import ROOT
from tests.support.stream_messages import ABOUT, counters, overview

REQUEST = encode(SnapshotRequest())


@pytest.fixture
def broadcaster() -> Iterator[Broadcaster]:
    made = Broadcaster(Watch(), ABOUT)
    made.start()
    try:
        yield made
    finally:
        made.close()
        assert "broadcast" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield made
    finally:
        made.destroy(linger=0)


def receive(socket: zmq.Socket[bytes]) -> list[bytes]:
    assert socket.poll(DEADLINE_MS), "nothing arrived"
    return socket.recv_multipart()


def ask(context: zmq.Context[zmq.Socket[bytes]], endpoint: str, kind: int = zmq.REQ) -> tuple[Snapshot, list[bytes]]:
    with context.socket(kind) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send(REQUEST)
        header, _fields, *images = receive(socket)
    return decode_snapshot(header), images


def subscribe(
    context: zmq.Context[zmq.Socket[bytes]], broadcaster: Broadcaster, topic: bytes = b""
) -> zmq.Socket[bytes]:
    """A subscriber that certainly is one: the broadcaster repeats a message until it arrives."""
    socket = context.socket(zmq.SUB)
    socket.subscribe(topic)
    socket.connect(broadcaster.publish_endpoint)
    end = time.monotonic() + DEADLINE_S
    while not socket.poll(50):
        assert time.monotonic() < end, "the subscription did not arrive"
        broadcaster.publish(counters(0))
    while socket.poll(200):
        socket.recv_multipart()
    return socket


def test_a_watcher_sees_everything_in_order(broadcaster: Broadcaster, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    told: list[Any] = [overview(1, 7), counters(7), State(state=NightState.PAUSED, reason="spool full")]
    told.append(
        EventNotice(
            utc=1.7e9,
            level="warning",
            name=EventName.FAULT,
            fault="StageStuck",
            message="it did not arrive",
            slide=1,
            field=7,
        )
    )
    with subscribe(context, broadcaster) as socket:
        for body in told:
            broadcaster.publish(body, *([b"jpeg"] if isinstance(body, Overview) else []))
        messages = [receive(socket) for _ in told]
    assert [frames[0] for frames in messages] == [b"overview", b"counters", b"state", b"event"]
    assert [frames[2:] for frames in messages] == [[b"jpeg"], [], [], []]
    envelopes = [decode_envelope(frames[1]) for frames in messages]
    assert [envelope.body for envelope in envelopes] == told
    assert [envelope.seq - envelopes[0].seq for envelope in envelopes] == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_a_late_joiner_gets_the_latest_of_everything(
    broadcaster: Broadcaster, context: zmq.Context[zmq.Socket[bytes]], kind: int
) -> None:
    empty, images = ask(context, broadcaster.snapshot_endpoint, kind)
    assert (empty.seq, empty.state, empty.counters, empty.overviews, images) == (0, None, None, (), [])
    for slide, field in [(2, 1), (1, 1), (1, 2)]:
        broadcaster.publish(overview(slide, field), f"{slide}/{field}".encode())
    broadcaster.publish(counters(2))
    broadcaster.publish(counters(3))
    broadcaster.publish(State(state=NightState.PAUSED, reason="recorder away"))
    for number in range(103):
        broadcaster.publish(EventNotice(utc=1.7e9, level="info", name=EventName.DETECTOR, message=str(number)))
    snapshot, images = ask(context, broadcaster.snapshot_endpoint, kind)
    assert snapshot.about == ABOUT
    assert snapshot.stream == broadcaster.publish_endpoint
    assert snapshot.seq == 3 + 2 + 1 + 103
    assert snapshot.overviews == (overview(1, 2), overview(2, 1))
    assert images == [b"1/2", b"2/1"]
    assert snapshot.counters == counters(3)
    assert snapshot.state == State(state=NightState.PAUSED, reason="recorder away")
    assert [event.message for event in snapshot.events] == [str(number) for number in range(3, 103)]


def _watch(endpoint: str, pipe: Connection) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.subscribe(b"")
        socket.connect(endpoint)
        assert socket.poll(DEADLINE_MS)
        pipe.send("watching")
        pipe.recv()


def test_a_suspended_watcher_slows_nobody(broadcaster: Broadcaster, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_watch, args=(broadcaster.publish_endpoint, theirs))
    process.start()
    theirs.close()
    try:
        end = time.monotonic() + DEADLINE_S
        while not ours.poll(0.05):
            assert time.monotonic() < end, "the watcher did not start"
            broadcaster.publish(State(state=NightState.STARTING))
        psutil.Process(process.pid).suspend()
        image = bytes(200_000)
        before = psutil.Process().memory_info().rss
        slowest = 0.0
        for number in range(2000):
            began = time.perf_counter()
            broadcaster.publish(overview(1, number), image)
            slowest = max(slowest, time.perf_counter() - began)
            assert broadcaster.queued_bytes <= MAX_QUEUE_BYTES
        with subscribe(context, broadcaster, b"counters") as socket:
            broadcaster.publish(counters(2000))
            *_, header = receive(socket)
        assert decode_envelope(header).body == counters(2000)
        # 400 MB were published; a queue, and what a suspended subscriber may leave unsent, is all that may be held.
        assert psutil.Process().memory_info().rss - before < 100e6
        # Whoever waits for a suspended watcher waits for ever; a busy computer takes its time for less.
        assert slowest < 5.0
    finally:
        psutil.Process(process.pid).resume()
        ours.send("end")
        ours.close()
        process.join(END_S)
        process.kill()
        process.join()


def test_the_queue_drops_its_oldest_and_counts() -> None:
    broadcaster = Broadcaster(Watch(), ABOUT)
    try:
        image = bytes(MAX_QUEUE_BYTES // 4)
        for number in range(10):
            broadcaster.publish(overview(1, number), image)
        assert broadcaster.dropped == 7
        broadcaster.publish(overview(2, 1), bytes(MAX_QUEUE_BYTES + 1))
        # What was waiting had to make room before the message was found too large for any room.
        assert broadcaster.dropped == 11
        assert broadcaster.queued_bytes == 0
    finally:
        broadcaster.close()


HOSTILE = {
    "empty": [b""],
    "noise": [b"\xff" * 100],
    "version": [b"LMW\x02" + msgspec.msgpack.encode(SnapshotRequest())],
    "not msgpack": [PREFIX + b"\xc1"],
    "other type": [PREFIX + msgspec.msgpack.encode({"type": "shutdown"})],
    "more keys": [PREFIX + msgspec.msgpack.encode({"type": "snapshot", "path": "../../etc"})],
    "not UTF-8": [PREFIX + b"\x81\xa4type\xa8\xff\xfe\xff\xff\xff\xff\xff\xff"],
    "deep": [PREFIX + b"\x91" * 1000],
    "trailing": [REQUEST + b"\x00"],
    "many frames": [b"", b"", REQUEST],
    "frames before": [b"x", REQUEST],
    "huge": [bytes(MAX_REQUEST_BYTES * 100)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_questions_are_counted_and_change_nothing(
    broadcaster: Broadcaster, context: zmq.Context[zmq.Socket[bytes]], name: str
) -> None:
    broadcaster.publish(counters(1))
    before = ask(context, broadcaster.snapshot_endpoint)[0]
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 1000
        socket.connect(broadcaster.snapshot_endpoint)
        for _ in range(3):
            socket.send_multipart(HOSTILE[name])
        if name != "huge":  # libzmq itself hangs up on that one
            end = time.monotonic() + DEADLINE_S
            while broadcaster.violations < 3:
                assert time.monotonic() < end, f"{broadcaster.violations} of 3 were counted"
                assert not socket.poll(5)
    after = ask(context, broadcaster.snapshot_endpoint)[0]
    assert msgspec.structs.replace(after, utc=0) == msgspec.structs.replace(before, utc=0)


def test_endpoints_are_checked_before_they_are_bound(broadcaster: Broadcaster) -> None:
    with pytest.raises(Refused, match=re.escape("tcp://0.0.0.0:5555")):
        Broadcaster(Watch(snapshot="tcp://0.0.0.0:5555"), ABOUT)
    with pytest.raises(Refused, match=re.escape(broadcaster.publish_endpoint)):
        Broadcaster(Watch(publish=broadcaster.publish_endpoint), ABOUT)


def test_with_keys_only_known_watchers_see(tmp_path: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    pairs = [zmq.curve_keypair() for _ in range(3)]
    for name, (public, secret) in zip(("server", "known", "stranger"), pairs, strict=True):
        (tmp_path / f"{name}.public").write_bytes(public)
        (tmp_path / f"{name}.secret").write_bytes(secret)
    keys = CurveKeys(
        public=tmp_path / "server.public", secret=tmp_path / "server.secret", clients=tmp_path / "known.public"
    )
    broadcaster = Broadcaster(Watch(keys=keys), ABOUT)
    broadcaster.start()
    try:
        for pair, answers in ((pairs[1], True), (pairs[2], False), (None, False)):
            with context.socket(zmq.REQ) as socket:
                socket.linger = 0
                if pair is not None:
                    socket.curve_publickey, socket.curve_secretkey = pair
                    socket.curve_serverkey = pairs[0][0]
                socket.connect(broadcaster.snapshot_endpoint)
                socket.send(REQUEST)
                assert bool(socket.poll(DEADLINE_MS if answers else 300)) is answers
    finally:
        broadcaster.close()


def test_the_documented_client_works(
    broadcaster: Broadcaster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "watching.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "watch.py"
    script.write_text(program, "utf-8")
    broadcaster.publish(overview(1, 4), b"first image")
    monkeypatch.setattr("sys.argv", ["watch.py", broadcaster.snapshot_endpoint])
    monkeypatch.chdir(tmp_path)
    ended = threading.Event()

    def go_on() -> None:
        number = 5
        while not ended.wait(0.02):
            broadcaster.publish(overview(1, number), b"second image")
            broadcaster.publish(State(state=NightState.COMPLETE))
            number += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        ended.set()
        thread.join()
    printed = capsys.readouterr().out
    assert "night" in printed
    assert re.search(r"slide 1 field \d+: 1 objects", printed)
    assert "complete" in printed
    assert (tmp_path / "slide-1.jpg").read_bytes() in (b"first image", b"second image")


@pytest.mark.parametrize("frame", [b"", b"LMW", b"LML\x01\x80", PREFIX + b"\x80", PREFIX + b"\xc1", REQUEST])
def test_a_watcher_refuses_what_is_no_message(frame: bytes) -> None:
    for decode in (decode_envelope, decode_snapshot):
        with pytest.raises(ProtocolViolation):
            decode(frame)
