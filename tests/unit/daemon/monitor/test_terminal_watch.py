"""A night in a terminal: what it shows fits, is true, cannot be forged, and ends with the night."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from calibration.counting.poisson import interval
from daemon.config.model import Watch
from daemon.live.follower import NightView
from daemon.live.publisher import Broadcaster
from daemon.monitor.terminal import Hearing, draw, printable
from daemon.monitor.terminal_watch import watch
from daemon.protocols.watching import EventNotice, Hardware, State, Verdict
from daemon.records.events import EventName
from daemon.records.states import NightState
from daemon.run_folder.endpoints import Bound, find_endpoint, write_endpoints
from daemon.system.errors import Refused
from daemon.system.process_table import ProcessTable
from daemon.system.progress import NightProgress, describe
from tests.support.stream_messages import ABOUT, counters, done, find, night

HEARD = Hearing(True, "", 0.0)


def view() -> NightView:
    made = NightView(
        about=ABOUT, counters=counters(3), state=State(state=NightState.SCANNING), hardware=Hardware(microscope="runs")
    )
    for field, finds in ((1, 7), (2, 5)):
        one = done(1, field, *[find()] * finds)
        made.fields[1, field] = one
        made.tallies.add(one)
    return made


def drawn(made: NightView, hearing: Hearing = HEARD, width: int = 80, height: int = 24) -> str:
    return draw(made, hearing, 100.0, width, height).plain


def test_each_mini_slide_shows_how_far_it_is_and_what_was_found() -> None:
    lines = drawn(view()).splitlines()
    (first,) = [line for line in lines if "core-1" in line]
    assert "▶ 1 core-1" in first
    assert "2/3" in first
    assert "12 (6-21) objects" in first  # the table of Garwood gives 6.20 to 20.96
    assert any(line.startswith("coccolith 12 (6-21)") for line in lines)


def test_intervals_are_those_of_the_table() -> None:
    # Garwood, Biometrika 28 (1936) 437, at 95 %.
    table = {0: (0.0, 3.69), 1: (0.0253, 5.57), 10: (4.80, 18.39), 50: (37.11, 65.92)}
    for count, wanted in table.items():
        assert interval(count) == pytest.approx(wanted, abs=0.006)


def test_a_lost_night_is_told_in_words_and_since_when() -> None:
    text = drawn(view(), Hearing(False, "nothing was heard for 5 s", 40.0))
    assert text.startswith(f"lost since {time.strftime('%H:%M:%S', time.localtime(40))}, 1 min 00 s ago: nothing was")
    assert drawn(NightView(), Hearing(False, "no night runs", None)).startswith("never heard: no night runs")


def test_why_a_night_is_paused_is_never_cut() -> None:
    made = view()
    reason = "the spool " + "is full and " * 12 + "the recorder is away"
    made.verdict = Verdict(headline=f"Paused: {reason}.", tone="warning", needs=(), detail="")
    assert "the recorder is away" in drawn(made)


def test_a_long_event_is_told_whole_the_newest_last() -> None:
    made = view()
    long = "the stage did not arrive, " * 8 + "and was left where it stood"
    for message in ("the first", long, "the last"):
        made.events.append(
            EventNotice(utc=1.7e9, level="error", name=EventName.FAULT, fault="StageStuck", message=message)
        )
    lines = drawn(made).splitlines()
    assert "stage stuck: the last" in lines[-1]
    assert long in " ".join(" ".join(line.split()) for line in lines)
    room = len(drawn(view()).splitlines()) + 4
    few = " ".join(drawn(made, height=room).split())
    assert "the last" in few
    assert "the first" not in few  # where there is no room for all, the oldest are left out, and none by half
    assert ("and was left where it stood" in few) == (long in few)


def test_the_pace_is_told_in_one_unit() -> None:
    assert "12.0 fields a minute" in drawn(replace_pace(view(), 0.2))
    progress = NightProgress(10, 2, 0, 5, 0.2, None, 1)
    assert "12.0 fields a minute" in describe(progress)


def replace_pace(made: NightView, fields_per_s: float) -> NightView:
    assert made.counters is not None
    made.counters = replace(made.counters, fields_per_s=fields_per_s)
    return made


@settings(deadline=None)
@given(st.integers(40, 200), st.integers(10, 60), st.lists(st.text(max_size=200), max_size=40))
def test_everything_fits_and_nothing_steers_the_terminal(width: int, height: int, words: list[str]) -> None:
    made = view()
    made.events.extend(
        EventNotice(utc=1.7e9, level="error", name=EventName.FAULT, fault=word, message=word) for word in words
    )
    made.verdict = Verdict(headline="".join(words[:1]), tone="bad", needs=tuple(words[1:]), detail="")
    text = draw(made, HEARD, 100.0, width, height)
    lines = text.plain.split("\n")
    assert len(lines) <= height
    assert all(line.isprintable() for line in lines)
    out = io.StringIO()
    Console(file=out, width=width).print(text)
    assert max(map(cell_len, out.getvalue().splitlines())) <= width


def test_what_cannot_be_printed_is_seen_to_be_missing() -> None:
    assert printable("core\x1b[2J\n1‮") == "core?[2J?1?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder that says that this process is its night."""
    ProcessTable(tmp_path).register("supervisor", os.getpid())
    return tmp_path


def at(folder: Path, broadcaster: Broadcaster) -> None:
    write_endpoints(
        folder,
        Bound(publish=broadcaster.publish_endpoint, snapshot=broadcaster.snapshot_endpoint, control=None),
    )


def go_on(broadcaster: Broadcaster, ended: threading.Event) -> None:
    while not ended.wait(0.05):
        broadcaster.publish(counters(3))


def test_a_night_is_shown_once_and_followed_to_its_end(folder: Path) -> None:
    shown, followed, ended = (
        Console(file=io.StringIO(), width=80),
        Console(file=io.StringIO(), width=80),
        threading.Event(),
    )
    refused = iter(["no night runs here"])

    def where() -> str:
        if (why := next(refused, None)) is not None:
            raise Refused(why)
        return find_endpoint(str(folder))()

    with night((done(1, 1, find()),)) as broadcaster:
        at(folder, broadcaster)
        going = threading.Thread(target=go_on, args=(broadcaster, ended))
        following = threading.Thread(target=watch, args=(where, None, followed), kwargs={"once": False})
        going.start()
        following.start()
        try:
            watch(find_endpoint(str(folder)), None, shown, once=True)
            while following.is_alive():
                broadcaster.publish(
                    EventNotice(
                        utc=1.7e9, level="warning", name=EventName.FAULT, fault="StageStuck", message="it waits"
                    )
                )
                broadcaster.publish(State(state=NightState.COMPLETE))
                following.join(0.05)
        finally:
            ended.set()
            going.join()
    assert "1 (0-6) objects" in shown.file.getvalue()  # type: ignore[attr-defined]
    told = followed.file.getvalue()  # type: ignore[attr-defined]
    assert "the night is not heard: no night runs here" in told
    assert "stage stuck: it waits" in told
    assert "complete" in told


def test_a_run_folder_leads_to_its_night(folder: Path) -> None:
    where = find_endpoint(str(folder))
    with pytest.raises(Refused, match="has not said yet"):
        where()
    broadcaster = Broadcaster(Watch(), ABOUT)
    try:
        at(folder, broadcaster)
        assert where() == broadcaster.snapshot_endpoint
        with pytest.raises(Refused, match="takes no orders"):
            find_endpoint(str(folder), "control")()
    finally:
        broadcaster.close()
    assert find_endpoint("tcp://127.0.0.1:5555")() == "tcp://127.0.0.1:5555"
    for place in ("nowhere", "http://127.0.0.1:5555"):
        with pytest.raises(Refused):
            find_endpoint(place)
