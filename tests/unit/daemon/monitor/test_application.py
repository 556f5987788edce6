"""The monitor's server: who is let in, what it tells, what it refuses; it loses no data and leads nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import poisson

from calibration.counting.poisson import interval
from daemon.monitor.command import find_night
from daemon.monitor.feed import MAX_QUEUED_BYTES, Browser
from daemon.records.events import EventName
from daemon.records.states import NightState
from daemon.run_folder.endpoints import Bound, write_endpoints
from daemon.system.process_table import ProcessTable
from daemon.web.access import Door
from tests.support.a_monitor import TOKEN, Served, serving
from tests.support.asking import ask, exchange, hung_up
from tests.support.deadlines import DEADLINE_S
from tests.support.places import ROOT
from tests.support.played_night import PlayedNight, Steward
from tests.support.small_night import until
from tests.support.stream_messages import nowhere


def until_joined(served: Served, night: PlayedNight, fields: int) -> None:
    """Wait until the monitor knows so many fields; the night goes on telling its counters."""
    end_s = time.monotonic() + DEADLINE_S
    while True:
        with served.feed.watcher.lock:
            if served.feed.watcher.joined and len(served.feed.watcher.view.fields) >= fields:
                return
        assert time.monotonic() < end_s, served.feed.watcher.trouble
        night.counters()
        time.sleep(0.02)


@contextmanager
def whole_stream(served: Served) -> Iterator[Any]:
    with urllib.request.urlopen(f"{served.address}/stream", timeout=DEADLINE_S) as stream:
        yield stream


def next_event(stream: Any, wanted: str) -> Any:
    while True:
        line = stream.readline()
        assert line, f"the stream ended before {wanted}"
        if line == f"event: {wanted}\n".encode():
            return json.loads(stream.readline().removeprefix(b"data: "))


# Who is let in ------------------------------------------------------------------------------------------------------


def test_without_a_token_only_this_computers_names_are_answered() -> None:
    with serving(nowhere) as served:
        port = served.port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", "[::1]:1", "localhost"):
            assert ask(served, "/", Host=host)[0] == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "169.254.1.1"):
            status, body, _ = ask(served, "/", Host=host)
            assert (status, b"<" in body) == (421, False), host


def test_with_a_token_nothing_but_the_login_is_served_without_it() -> None:
    now = [0.0]
    paths = [
        "/stream",
        "/log%0Ain",
        "/live/main.js",
        "/live/style.css",
        "/picture/field/1/1/0",
        "/metrics",
        "/nothing",
        "/order",
    ]
    with serving(nowhere, Door(TOKEN, lambda: now[0])) as served:
        for path in paths:
            status, body, _ = ask(served, path)
            assert (status, body) == (401, b"this needs the token"), path
        status, _, headers = ask(served, "/")
        assert (status, headers["location"]) == (303, "/login")
        status, page, headers = ask(served, "/login")
        assert status == 200
        assert b"/live/" not in page, "the login page needs nothing else"
        assert "script-src" not in headers["content-security-policy"]

        origin = {"Origin": served.address, "Content_Type": "application/x-www-form-urlencoded"}
        assert ask(served, "/login", b"token=wrong&who=Ada", **origin)[0] == 401
        assert served.door.wrong == 1
        assert ask(served, "/login", f"token={TOKEN}".encode(), **origin)[0] == 429
        now[0] += 2
        assert ask(served, "/login", f"token={TOKEN}".encode(), Origin="http://evil.example")[0] == 403
        status, _, headers = ask(served, "/login", f"token={TOKEN.replace(' ', '+')}&who=Ada".encode(), **origin)
        assert status == 303
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        name = cookie.partition(";")[0]
        assert ask(served, "/live/main.js", Cookie=name)[0] == 200
        assert ask(served, "/", Cookie=name)[0] == 200
        assert ask(served, "/logout", b"", Cookie=name, Origin=served.address)[0] == 303
        assert ask(served, "/live/main.js", Cookie=name)[0] == 401

        assert ask(served, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(served, "/metrics", Authorization="Bearer wrong")[0] == 401
        assert ask(served, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 429
        assert served.door.wrong == 2


# Hostility ----------------------------------------------------------------------------------------------------------

CLIMBING = [
    "/live/../access.py", "/live/..%2faccess.py", "/live/%2e%2e/access.py", "/live/....//access.py", "/live/",
    "/live//etc/passwd", "/live/%2fetc%2fpasswd", "/live/C:%5cWindows%5cwin.ini", "/live/login.html",
    "/live/main.js%00", "/page/main.js", "/picture/field/1/1/-1", "/picture/field/1/1/x", "//evil.example/", "/docs",
    "/picture/object/99999999999999999999/1/1", "/openapi.json", "/%ff", "/login/..", "/stream/", "/metrics/x",
]  # fmt: skip


def test_no_path_leads_out_of_the_page() -> None:
    with serving(nowhere) as served:
        for path in CLIMBING:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            head, _, body = exchange(served.port, request).partition(b"\r\n\r\n")
            assert re.match(rb"HTTP/1.1 404 ", head), (path, head)
            assert body == b"there is nothing here", path
        for method in ("PUT", "DELETE", "TRACE", "OPTIONS", "HEAD"):
            request = f"{method} /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            assert re.match(rb"HTTP/1.1 405 ", exchange(served.port, request))


def test_oversized_requests_are_refused() -> None:
    with serving(nowhere) as served:
        assert ask(served, "/?" + "x" * 600)[0] == 414
        assert ask(served, "/order", b"x" * 5000, Origin=served.address, Content_Type="application/json")[0] == 403
        long_header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 400_000 + b"\r\n\r\n"
        with hung_up():
            assert exchange(served.port, long_header).startswith(b"HTTP/1.1 4")
        assert ask(served, "/")[0] == 200


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with serving(nowhere, Door(TOKEN)) as served:
        yield served


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "\x00", "get"]),
    path=st.text(st.characters(codec="latin-1"), max_size=60),
    header=st.binary(max_size=60),
    body=st.binary(max_size=200),
)
def test_nothing_random_is_let_in(guarded: Served, method: str, path: str, header: bytes, body: bytes) -> None:
    wrong = guarded.door.wrong
    request = (
        f"{method} /{path} HTTP/1.1\r\n".encode("latin-1") + b"Host: localhost\r\nConnection: close\r\nX: " + header
    )
    with hung_up():
        answer = exchange(guarded.port, request + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert re.match(rb"HTTP/1.1 (4\d\d|303) ", answer) or answer == b"" or path in ("login", "")
        assert b"Traceback" not in answer
    assert guarded.door.wrong == wrong


# What it tells ------------------------------------------------------------------------------------------------------


def test_an_open_page_is_told_everything_then_every_change() -> None:
    with PlayedNight(1.7e9, 6) as night, serving(lambda: night.endpoint) as served:
        night.play(8)
        until_joined(served, night, 8)
        with whole_stream(served) as stream:
            told = next_event(stream, "whole")
            assert [slide["sample"] for slide in told["about"]["slides"]][:2] == ["U1510-12H", "U1510-13H"]
            assert {slide: len(rows) for slide, rows in told["fields"].items()} == {"1": 6, "2": 2}
            first = night.done[0]
            assert told["fields"]["1"][0][:3] == [1, first.utc, first.objects]
            assert sum(one["objects"] for one in told["counts"]) == sum(one.objects for one in night.done)
            night.play(1)
            night.fault("warning", "StageStuck", "it did not arrive", 2, 3)
            assert next_event(stream, "overview")["field"] == 3
            assert next_event(stream, "field")["slide"] == 2
            assert next_event(stream, "counts")["slide"] == 2
            assert next_event(stream, "told")["message"] == "it did not arrive"
        picture = told["overviews"][0]
        path = f"/picture/field/{picture['slide']}/{picture['field']}"
        status, image, headers = ask(served, f"{path}/1")
        assert (status, image[:2], headers["content-type"]) == (200, b"\xff\xd8", "image/jpeg")
        assert ask(served, f"{path}/3")[0] == 404
        shown = told["specimens"][0]
        one = shown["specimens"][0]
        assert ask(served, f"/picture/object/{shown['slide']}/{shown['field']}/{one['number']}")[1][:2] == b"\xff\xd8"


def test_a_slow_page_loses_no_data() -> None:
    async def slow() -> None:
        browser = Browser()
        browser.behind = False
        for number in range(10):
            browser.put([b"%d" % number])
        assert await browser.take() == b"0123456789"
        for _ in range(5):
            browser.put([bytes(MAX_QUEUED_BYTES // 4 + 1)])
            assert browser.queued_bytes <= MAX_QUEUED_BYTES
        assert browser.behind, "it is told everything anew instead"
        browser.put([b"more"])
        assert await browser.take() == b""

    asyncio.run(slow())


def test_a_page_that_does_not_read_does_not_hold_others_back() -> None:
    with PlayedNight(1.7e9, 400) as night, serving(lambda: night.endpoint) as served:
        night.play(5)
        until_joined(served, night, 5)
        with socket.create_connection(("127.0.0.1", served.port)) as idle:
            idle.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(8):
                night.play(100, pictures=False)
            until_joined(served, night, 805)
            with whole_stream(served) as stream:
                assert sum(map(len, next_event(stream, "whole")["fields"].values())) == 805
            assert all(browser.queued_bytes <= MAX_QUEUED_BYTES for browser in served.feed.browsers)


@pytest.mark.slow
def test_a_lost_and_resumed_night_is_told() -> None:
    places: list[str] = []

    def where() -> str:
        return places[-1] if places else nowhere()

    with serving(where) as served:
        with whole_stream(served) as stream:
            assert next_event(stream, "whole")["link"]["joined"] is False
        with PlayedNight(1.7e9, 6) as first:
            places.append(first.endpoint)
            first.play(3)
            until_joined(served, first, 3)
        with PlayedNight(1.7e9, 6, before=tuple(first.done)) as second:
            places.append(second.endpoint)
            second.play(1)
            until_joined(served, second, 4)
            with whole_stream(served) as stream:
                told = next_event(stream, "whole")
            assert told["link"]["joined"]
            assert [note["title"] for note in told["notes"]] == ["night not heard", "night resumed"]


@pytest.mark.slow
def test_a_monitor_may_be_there_before_its_night(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "tonight"
    with PlayedNight(1.7e9, 6) as night, serving(find_night(str(run), None)) as served:
        watcher = served.feed.watcher
        until(lambda: "no night has begun in" in watcher.trouble, "the monitor does not say what it waits for")
        run.mkdir(parents=True)
        ProcessTable(run).register("supervisor", os.getpid())
        write_endpoints(run, Bound(publish="", snapshot=night.endpoint, control=None))

        def heard() -> bool:
            night.counters()
            return watcher.joined

        until(heard, "the night that began later is not heard")


def test_of_a_night_that_is_not_heard_nobody_says_that_it_needs_nothing() -> None:
    places: list[str] = []

    def where() -> str:
        return places[-1] if places else nowhere()

    with serving(where) as served:
        with PlayedNight(1.7e9, 6) as night:
            places.append(night.endpoint)
            night.state(NightState.SCANNING)
            night.play(3)
            until_joined(served, night, 3)
            assert "lamelle_night_needs" in ask(served, "/metrics")[1].decode()
        until(lambda: not served.feed.watcher.joined, "the night is not missed")
        metrics = ask(served, "/metrics")[1].decode()
        with whole_stream(served) as stream:
            verdict = next_event(stream, "whole")["verdict"]
    assert "lamelle_night_heard 0.0" in metrics
    assert "lamelle_fields{" in metrics
    assert not re.search("^lamelle_(night_needs|night_state|spool_bytes|light) ", metrics, re.MULTILINE)
    assert verdict["tone"] == "bad"
    assert verdict["needs"][0].startswith("Find out why the night is not heard: ")
    assert verdict["detail"] == verdict["needs"][0]


NO_ORDERS = [
    b"", b"{}", b"[" * 1500, b'{"name": "explode"}', b'{"name": "skip", "slide": 9}', b"\xff", b'"stop"',
    b'{"name": "stop", "x": 1}', b'{"name": "skip", "slide": "1"}',
]  # fmt: skip


def test_orders_reach_the_night_only_where_they_may() -> None:
    order = json.dumps({"name": "skip", "slide": 1}).encode()
    with Steward() as steward, PlayedNight(1.7e9, 6, control=steward.endpoint) as night:
        for control in (False, True):
            with serving(lambda: night.endpoint, control=control) as served:
                until_joined(served, night, 0)
                good = {"Origin": served.address, "Content_Type": "application/json"}
                if not control:
                    assert ask(served, "/order", order, **good)[0] == 403
                    continue
                assert ask(served, "/order", order, **{**good, "Origin": "http://evil.example"})[0] == 403
                assert ask(served, "/order", order, Content_Type="application/json")[0] == 403
                assert ask(served, "/order", order, **{**good, "Content_Type": "text/plain"})[0] == 415
                for bad in NO_ORDERS:
                    assert ask(served, "/order", bad, **good)[0] == 400, bad
                assert ask(served, "/order", b" " * 5000, **good)[0] == 413
                assert steward.orders == []
                status, body, _ = ask(served, "/order", order, **good)
                assert (status, json.loads(body)["accepted"]) == (200, True)
        (taken,) = steward.orders
        assert (taken.name, taken.slide, taken.who) == ("skip", 1, "page at 127.0.0.1")


# Metrics ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5, 100, 60_000])
def test_intervals_are_exact(count: int) -> None:
    low, high = interval(count)
    assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-6)
    assert low == 0 if count == 0 else poisson.sf(count - 1, low) == pytest.approx(0.025, rel=1e-6)


def test_metrics_are_those_documented() -> None:
    with PlayedNight(1.7e9, 6, samples=('a"b\nc', *"2345678")) as night, serving(lambda: night.endpoint) as served:
        night.play(7)
        night.skip("stuck")
        night.tell("error", EventName.SLIDE_LEFT, "ten fields failed")
        night.state(NightState.TERMINATED)
        until_joined(served, night, 8)
        until(lambda: served.feed.watcher.ended, "the night's end is not heard")
        ask(served, "/nothing")
        text = ask(served, "/metrics")[1].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    secured = [one for one in families["lamelle_fields"].samples if one.labels["outcome"] == "secured"]
    assert {one.labels["slide"]: one.value for one in secured} == dict(
        zip("12345678", (6, 1, 0, 0, 0, 0, 0, 0), strict=True)
    )
    assert secured[0].labels["sample"] == 'a"b\nc'
    objects = sum(one.value for one in families["lamelle_objects"].samples)
    assert objects == sum(one.objects for one in night.done)
    found = Counter(find.taxon for one in night.done for find in one.finds if find.taxon is not None)
    named: Counter[str] = Counter()
    for sample in families["lamelle_taxon_objects"].samples:
        named[sample.labels["taxon"]] += int(sample.value)
    assert named == found
    assert found.keys() == {"emiliania-huxleyi", "gephyrocapsa"}
    assert families["lamelle_night_heard"].samples[0].value == 1
    states = {one.labels["lamelle_night_state"]: one.value for one in families["lamelle_night_state"].samples}
    assert states == {state: float(state is NightState.TERMINATED) for state in NightState}

    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(lamelle_\w+)`", page, re.MULTILINE))
    told = {sample.name for family in families.values() for sample in family.samples}
    assert told == documented
    for path in ("grafana.json", "alerts.yml"):
        used = set(re.findall(r"lamelle_\w+", (ROOT / "docs" / "monitoring" / path).read_text("utf-8")))
        assert used <= documented, path
        assert used, path
    dashboard = json.loads((ROOT / "docs" / "monitoring" / "grafana.json").read_text("utf-8"))
    assert all(panel["targets"] for panel in dashboard["panels"] if panel["type"] != "row")


# The command --------------------------------------------------------------------------------------------------------


def command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "daemon", "monitor", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_command_serves_until_it_is_ended(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN, "utf-8")
    with PlayedNight(1.7e9, 6) as night:
        process = command("--connect", night.endpoint, "--http", "127.0.0.1:0", "--token-file", token)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            (port,) = re.findall(r"open http://127\.0\.0\.1:(\d+)", line)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=DEADLINE_S) as answer:
                assert b"Token" in answer.read()
            assert exchange(int(port), b"no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        finally:
            process.terminate()
            _, told = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in told
    assert "Invalid" not in told, "strangers could fill the log"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--connect", __file__), "is neither a run folder nor an endpoint"),
        (("--connect", "tcp://127.0.0.1:5555", "--http", "0.0.0.0:0"), "name a file with a token"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    process = command(*arguments)
    out, told = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (2, "")
    assert said in told
    assert told.count("\n") == 1
