"""The socket that takes orders: each is carried out once and answered; what is none is counted and does nothing."""

from __future__ import annotations

import asyncio
import re
import runpy
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.config.model import Control, CurveKeys
from daemon.live.order_client import give_order
from daemon.live.order_server import BURST, Controller
from daemon.live.standing import Standing
from daemon.live.steering import OrderOutcome, Steering
from daemon.protocols.control import MAX_ORDER_BYTES, PREFIX, Answer, Order, decode_answer, encode
from daemon.records.events import EventName, skipped_by
from daemon.records.records import Event
from daemon.records.states import EndedBy, NightState
from daemon.system.errors import Refused
from tests.support.deadlines import DEADLINE_MS, DEADLINE_S
from tests.support.places import ROOT
from tests.support.small_night import until

LOCAL = Control(endpoint="tcp://127.0.0.1:*")
STANDING = Standing("Scanning: 6 of 9 fields are done.", NightState.SCANNING, "", 2, 5, 1, 9)


class Loop:
    """An event loop in a thread, and the orders that reach it."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def carry_out(self, order: Order) -> OrderOutcome:
        assert threading.current_thread() is self._thread
        self.orders.append(order)
        return OrderOutcome(order.name != "resume", f"{order.name} by {order.who}")

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def steered(control: Control = LOCAL) -> Iterator[tuple[Controller, Loop]]:
    loop, controller = Loop(), Controller(control)
    try:
        controller.listen(loop.loop, loop.carry_out, lambda: STANDING)
        yield controller, loop
    finally:
        controller.close()
        loop.close()


@contextmanager
def dealer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 1000
        socket.connect(endpoint)
        yield socket


def ask(socket: zmq.Socket[bytes], order: Order) -> Answer:
    socket.send(encode(order))
    assert socket.poll(DEADLINE_MS), "no answer"
    return decode_answer(socket.recv())


def test_an_order_is_carried_out_once_and_answered_alike() -> None:
    pause = Order(id="1", name="pause", who="anna")
    with steered() as (controller, loop), dealer(controller.endpoint) as one, dealer(controller.endpoint) as other:
        answers = [ask(one, pause), ask(one, pause), ask(other, pause)]
        assert loop.orders == [pause]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0] == Answer(
            id="1", accepted=True, message="pause by anna", state=NightState.SCANNING, reason="", slide=2, secured=5,
            skipped=1, planned=9, refused=0,
        )  # fmt: skip
        stolen = ask(other, Order(id="1", name="stop", who="anna"))
        assert (stolen.accepted, stolen.refused) == (False, 1)
        assert not ask(one, Order(id="2", name="resume", who="ben")).accepted
        assert [order.id for order in loop.orders] == ["1", "2"]


def test_status_is_answered_without_the_night() -> None:
    with steered() as (controller, loop), dealer(controller.endpoint) as socket:
        told = {ask(socket, Order(id="1", name="status", who="anna")).message for _ in range(3 * BURST)}
        assert told == {STANDING.headline}
        assert loop.orders == []


def test_a_flood_of_orders_is_turned_away() -> None:
    with steered() as (controller, loop), dealer(controller.endpoint) as socket:
        answers = [ask(socket, Order(id=str(n), name="pause", who="anna")) for n in range(3 * BURST)]
        assert BURST <= len(loop.orders) < 2 * BURST
        assert sum(answer.accepted for answer in answers) == len(loop.orders)
        assert controller.refused == 3 * BURST - len(loop.orders)


def order_map(**keys: Any) -> bytes:
    plain = {"type": "order", "id": "1", "name": "stop", "who": "anna"}
    return PREFIX + msgspec.msgpack.encode({k: v for k, v in {**plain, **keys}.items() if v != "left out"})


HOSTILE = {
    "empty": [b""],
    "noise": [b"\xff" * 100],
    "version": [b"LMC\x02" + order_map()[4:]],
    "watching": [b"LMW\x02" + order_map()[4:]],
    "not msgpack": [PREFIX + b"\xc1"],
    "deep": [PREFIX + b"\x91" * 1000],
    "other type": [order_map(type="answer")],
    "other name": [order_map(name="format")],
    "more keys": [order_map(path="../../etc")],
    "nobody": [order_map(who="")],
    "blanks": [order_map(who="   ")],
    "no who": [order_map(who="left out")],
    "forged line": [order_map(who="anna\n23:00 night complete")],
    "terminal": [order_map(who="\x1b[2J")],
    "right to left": [order_map(who="a‮nna")],
    "long who": [order_map(who="a" * 101)],
    "slide nine": [order_map(name="skip", slide=9)],
    "slide as text": [order_map(name="skip", slide="1")],
    "trailing": [order_map() + b"\x00"],
    "frames before": [b"x", order_map()],
    "frames behind": [order_map(), b"x"],
    "large": [order_map() + bytes(MAX_ORDER_BYTES)],
}


def test_what_is_no_order_is_counted_and_does_nothing() -> None:
    with steered() as (controller, loop), dealer(controller.endpoint) as socket:
        for count, (name, frames) in enumerate(HOSTILE.items(), 1):
            socket.send_multipart(frames)
            until(lambda count=count: controller.refused == count, name)  # type: ignore[misc]
        assert not socket.poll(50)
        with dealer(controller.endpoint) as huge:
            huge.send(bytes(1 << 20))  # libzmq itself hangs up on that one
        assert ask(socket, Order(id="1", name="status", who="anna")).refused == len(HOSTILE)
        assert loop.orders == []


def test_no_bytes_get_through_or_kill() -> None:
    with steered() as (controller, loop), dealer(controller.endpoint) as socket:
        sent = 0

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(PREFIX.__add__), min_size=1, max_size=4))
        def throw(frames: list[bytes]) -> None:
            nonlocal sent
            socket.send_multipart(frames)
            sent += 1

        throw()
        until(lambda: controller.refused == sent, "not all were counted")
        assert loop.orders == []
        assert ask(socket, Order(id="1", name="pause", who="anna")).accepted


def test_a_connection_that_speaks_something_else_is_counted() -> None:
    with steered() as (controller, loop):
        host, port = controller.endpoint.removeprefix("tcp://").split(":")
        with sockets.create_connection((host, int(port))) as plain:
            plain.sendall(b"POST /stop HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
        until(lambda: controller.refused > 0, "not counted")
        assert loop.orders == []


def test_with_keys_only_known_clients_steer(tmp_path: Path) -> None:
    for name in ("server", "known", "stranger"):
        public, secret = zmq.curve_keypair()
        (tmp_path / f"{name}.public").write_bytes(public)
        (tmp_path / f"{name}.secret").write_bytes(secret)

    def keys(name: str) -> CurveKeys:
        return CurveKeys(
            public=tmp_path / f"{name}.public",
            secret=tmp_path / f"{name}.secret",
            server=tmp_path / "server.public",
            clients=tmp_path / "known.public",
        )

    with steered(LOCAL.model_copy(update={"keys": keys("server")})) as (controller, loop):

        def order(whose: CurveKeys | None, patience_s: float) -> Answer:
            return give_order(lambda: controller.endpoint, whose, "pause", "anna", patience_s=patience_s)

        assert order(keys("known"), DEADLINE_S).accepted
        for strange in (keys("stranger"), None):
            before = controller.refused
            with pytest.raises(Refused, match="nobody answers"):
                order(strange, 0.3)
            assert controller.refused > before
        assert len(loop.orders) == 1


def test_endpoints_are_checked_before_they_are_bound() -> None:
    with pytest.raises(Refused, match=re.escape("tcp://0.0.0.0:5555")):
        Controller(Control(endpoint="tcp://0.0.0.0:5555"))
    with steered() as (controller, _), pytest.raises(Refused, match=re.escape(controller.endpoint)):
        Controller(Control(endpoint=controller.endpoint))


@pytest.mark.slow
def test_a_night_that_does_not_answer_is_told_so_and_the_answer_is_kept() -> None:
    with steered() as (controller, loop), dealer(controller.endpoint) as socket:
        held, go_on = threading.Event(), threading.Event()

        def hang() -> None:
            held.set()
            go_on.wait(DEADLINE_S)

        loop.loop.call_soon_threadsafe(hang)
        assert held.wait(DEADLINE_S)
        stop = Order(id="1", name="stop", who="anna")
        late = ask(socket, stop)
        assert (late.accepted, "send the same order again" in late.message) == (False, True)
        go_on.set()
        assert ask(socket, stop).accepted
        assert loop.orders == [stop]


def test_the_documented_client_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "control.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "order.py"
    script.write_text(program, "utf-8")
    with steered() as (controller, loop):
        for words, status in ((["skip", "2"], 0), (["resume"], 1)):
            monkeypatch.setattr("sys.argv", ["order.py", controller.endpoint, *words])
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(str(script), run_name="__main__")
            assert ended.value.code == status
    assert [(order.name, order.slide) for order in loop.orders] == [("skip", 2), ("resume", None)]
    assert "skip by a client\nscanning: 6 of 9 fields\n" in capsys.readouterr().out


class Night:
    """What a steering tells."""

    def __init__(self, before: list[Event] | None = None) -> None:
        self.told: list[Event] = []
        self.steering = Steering(self.tell, before or [])

    def tell(
        self, level: str, name: EventName, message: str, *, who: str | None = None, by: EndedBy | None = None
    ) -> None:
        self.told.append(Event(utc=0, monotonic_s=0, level=level, name=name, message=message, who=who, by=by))

    def order(self, name: Any, slide: int | None = None, who: str = "lab 2: anna") -> bool:
        return self.steering.carry_out(Order(id="1", name=name, who=who, slide=slide)).accepted


def test_only_the_mini_slide_that_is_scanned_can_be_skipped() -> None:
    night = Night()
    assert not night.order("skip", 1)
    night.steering.slide = 3
    assert [night.order("skip", slide) for slide in (None, 2, 3, 3)] == [False, False, True, False]
    assert [night.steering.leaves(slide) for slide in (2, 3)] == [None, skipped_by("lab 2: anna")]
    assert [event.name for event in night.told].count(EventName.ORDER_REFUSED) == 4


def test_after_stop_and_after_the_last_field_nothing_is_accepted() -> None:
    night = Night()
    assert night.order("stop")
    assert night.steering.stopping
    assert not any(map(night.order, ("pause", "resume", "stop")))
    night = Night()
    night.steering.scans = False
    assert not any(map(night.order, ("pause", "resume", "stop")))


@pytest.mark.parametrize(
    ("last", "paused"),
    [
        (None, True),
        ("resume", False),
        ("stop", False),
        ("resumed", True),
        (EndedBy.PERSON, False),
        (EndedBy.SYSTEM, True),
    ],
)
def test_a_pause_outlives_the_process_unless_a_person_ended_it(last: EndedBy | str | None, paused: bool) -> None:
    before = Night()
    before.order("pause")
    if last == "resumed":
        before.tell("info", EventName.RESUMED, "what kept the night has gone")
    elif isinstance(last, EndedBy):
        before.tell("warning", EventName.INTERRUPTED, "however this is put", by=last)
    elif last is not None:
        before.order(last)
    keeps = Night(before.told).steering.keeps()
    assert (keeps is not None) is paused
    assert keeps is None or keeps.startswith("lab 2: anna keeps")
