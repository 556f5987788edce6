"""The monitor's address after the night: it leads to what was recorded, behind one gate, or says where that is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.records.states import NightState
from daemon.run_folder.endpoints import Bound, write_endpoints
from daemon.system.process_table import ProcessTable
from daemon.verdict.afterwards import afterwards, where_kept
from daemon.view.afterwards import PLACES, MorningAfter
from daemon.view.application import MorningPage
from daemon.view.nights import ShownNights
from daemon.web.access import Door
from tests.support.a_monitor import TOKEN, Served, serving
from tests.support.asking import ask, exchange
from tests.support.pictured_night import make_pictured_night
from tests.support.played_night import PlayedNight
from tests.support.small_night import until
from tests.support.stream_messages import nowhere


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose night is over."""
    folder = tmp_path_factory.mktemp("run")
    make_pictured_night(folder / "dataset")
    return folder


@pytest.fixture
def served(run: Path) -> Iterator[Served]:
    with serving(nowhere, run=run) as one:
        yield one


def opened(served: Served) -> bool:
    assert isinstance(served.feed.place.morning, MorningAfter)
    return served.feed.place.morning.is_open


def link(served: Served) -> Any:
    with served.feed.watcher.lock:
        return served.feed.link()


def test_a_night_that_is_over_is_opened_when_somebody_asks_for_it(served: Served) -> None:
    for path in ("/live", "/live/main.js", "/metrics", "/nothing", "/favicon.ico"):
        ask(served, path)
    assert not opened(served)
    status, _, headers = ask(served, "/")
    assert (status, headers["location"], opened(served)) == (303, "/nights", True)
    assert b"/file/main.js" in ask(served, "/nights")[1]
    (night,) = json.loads(ask(served, "/data/nights")[1])["nights"]
    assert night["night"] == "N"
    assert json.loads(ask(served, "/data/running")[1]) == {"night": None}
    assert b"/live/main.js" in ask(served, "/live")[1]


def test_an_address_of_a_field_opens_it_too(served: Served) -> None:
    assert ask(served, "/objects")[0] == 200
    assert opened(served)


def test_every_address_of_the_morning_page_is_one_that_opens_it(run: Path) -> None:
    routes: list[Any] = MorningPage(ShownNights([run]), Door(None)).pages().routes
    assert {route.path.split("/")[1] for route in routes} - {""} == PLACES


def test_the_address_stays_with_a_night_that_runs_and_comes_back_to_one_that_goes_on(run: Path) -> None:
    places = [""]

    def heard(one: Served, night: PlayedNight) -> bool:
        night.counters()
        return one.feed.watcher.joined and one.feed.watcher.view.about is not None

    with serving(lambda: places[-1] or nowhere(), run=run) as served, PlayedNight(1.7e9, 6) as night:
        places.append(night.endpoint)
        until(lambda: heard(served, night), "the night is not heard")
        assert b"/live/main.js" in ask(served, "/")[1]
        assert ask(served, "/morning")[2]["location"] == "/nights"
        told = json.loads(ask(served, "/data/running")[1])["night"]
        assert (told["address"], told["running"]) == ("/live", True)
        assert (link(served).morning, link(served).afterwards) == (True, "")
        night.state(NightState.COMPLETE)
        until(lambda: served.feed.watcher.ended, "the end is not heard")
        assert ask(served, "/")[0] == 303
        assert link(served).afterwards.startswith("The night is over. Every field and object")
        night.state(NightState.SCANNING)
        until(lambda: not served.feed.watcher.ended, "that it goes on is not heard")
        assert ask(served, "/")[0] == 200


def test_a_night_that_begins_or_is_not_heard_is_no_night_that_is_over(run: Path) -> None:
    with serving(nowhere, run=run) as served:
        assert served.feed.is_over()
        ProcessTable(run).register("supervisor", os.getpid())
        try:
            assert not served.feed.is_over(), "its process runs"
        finally:
            (run / "processes.json").unlink()


def test_where_the_dataset_is_is_said_where_it_is_elsewhere(tmp_path: Path) -> None:
    elsewhere = where_kept(Path("runs/tonight"), "tcp://192.0.2.10:5990", "microscope")
    assert "tcp://192.0.2.10:5990; run `lamelle view DIR` there" in elsewhere
    write_endpoints(tmp_path, Bound(publish="", snapshot="", control=None, dataset=elsewhere))
    with serving(nowhere, run=tmp_path) as served:
        assert b"/live/main.js" in ask(served, "/")[1]
        assert (link(served).morning, link(served).afterwards) == (False, elsewhere)
    with PlayedNight(1.7e9, 6) as night, serving(lambda: night.endpoint) as served:
        night.state(NightState.COMPLETE)

        def over() -> bool:
            night.counters()
            return served.feed.watcher.ended

        until(over, "the end is not heard")
        assert ask(served, "/")[0] == 200
        said = "The dataset is on microscope; run `lamelle view runs/tonight` there to look at it."
        assert (
            link(served).afterwards == f"The night is over. {said.replace('runs/tonight', str(Path('runs/tonight')))}"
        )
        assert ask(served, "/morning")[2]["location"] == "/live"
    assert afterwards(ended=True, heard=False, here=False, where="") == "The night is over."


def test_what_cannot_be_opened_is_told_on_the_page_of_the_night(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "catalog.sqlite").write_bytes(b"no catalog" * 100)
    with serving(nowhere, run=tmp_path) as served:
        assert b"/live/main.js" in ask(served, "/")[1]
        assert "catalog.sqlite" in link(served).afterwards
        assert ask(served, "/night/N")[0] == 404


def test_one_token_and_one_gate_stand_before_both(run: Path) -> None:
    with serving(nowhere, Door(TOKEN), run=run) as served:
        for path in ("/nights", "/morning", "/night/N", "/data/nights", "/file/main.js", "/live", "/live/main.js"):
            assert ask(served, path)[:2] == (401, b"this needs the token"), path
        assert ask(served, "/")[2]["location"] == "/login"
        assert not opened(served)
        assert ask(served, "/", Authorization=f"Bearer {TOKEN}")[2]["location"] == "/nights"
        status, _, headers = ask(served, "/nights", Authorization=f"Bearer {TOKEN}")
        assert (status, headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")) == (
            200,
            True,
        )
        act = json.dumps({"night": "x", "slide": 1, "fields": "1"}).encode()
        posted = {"Content_Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        assert ask(served, "/act/exclude", act, **posted, Origin="http://evil.example")[0] == 403
        assert ask(served, "/act/exclude", act, **posted, Origin=served.address)[0] == 404, "no such night"


def test_no_address_leads_out_of_both(served: Served) -> None:
    ask(served, "/")
    for path in (
        "/file/../afterwards.py", "/file/..%2fafterwards.py", "/live/..%2ffeed.py", "/live/%2fetc%2fpasswd", "/live/",
        "//evil.example/", "/report/..%2f..%2fetc%2fpasswd", "/%ff", "/nights/", "/morning/x", "/data/night/%2e%2e%2f",
        "/docs", "/act/", "/file/night_words.js", "/live/nights.js", "/live/login.html",
    ):  # fmt: skip
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        head, _, body = exchange(served.port, request).partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 404 ", head), (path, head)
        assert body == b"there is nothing here", path
    assert ask(served, "/nights", Host="evil.example")[0] == 421
