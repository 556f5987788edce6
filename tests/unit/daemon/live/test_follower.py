"""Following a night: a watcher knows all of it, whenever it joins, whatever it loses, whoever runs the night again."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from daemon.live.follower import Follower
from daemon.live.publisher import Broadcaster
from daemon.live.tallies import LENGTHS_UM, MASSES_PG, Tallies, edges
from daemon.protocols.watching import AnyStreamMessage, EventNotice, Find, ShownSpecimen, Specimens, State
from daemon.records.events import EventName
from daemon.records.states import NightState
from daemon.system.errors import Refused
from tests.support.deadlines import DEADLINE_S
from tests.support.stream_messages import ABOUT, counters, done, find, night, overview


def specimens(field: int) -> Specimens:
    one = ShownSpecimen(number=3, class_name="coccolith", score=0.9, best_plane=4.2, tile_px=(40, 50), tile_um=6.0)
    return Specimens(
        slide=1, field=field, sample="core-1", polarizations=("crossed",), planes=9, step_um=0.3, specimens=(one, one)
    )


class Audience:
    """A watcher, and what it was told."""

    def __init__(self, where: Callable[[], str]) -> None:
        self.news: queue.Queue[AnyStreamMessage | None] = queue.Queue()
        self.watcher = Follower(where, None, self.news.put)

    def until(self, broadcaster: Broadcaster | None, heard: Callable[[Follower], bool]) -> None:
        """Wait, while the night goes on telling its counters."""
        end_s = time.monotonic() + DEADLINE_S
        while True:
            with self.watcher.lock:
                if heard(self.watcher):
                    return
            assert time.monotonic() < end_s, self.watcher.trouble
            if broadcaster is not None:
                broadcaster.publish(counters(1))
            try:
                self.news.get(timeout=0.05)
            except queue.Empty:
                continue


@contextmanager
def watching(where: Callable[[], str]) -> Iterator[Audience]:
    audience = Audience(where)
    audience.watcher.start()
    try:
        yield audience
    finally:
        audience.watcher.close()


def test_a_late_joiner_knows_what_an_early_one_knows() -> None:
    with night((done(1, 1, find()),)) as broadcaster, watching(lambda: broadcaster.snapshot_endpoint) as early:
        early.until(broadcaster, lambda one: one.joined)
        broadcaster.publish(done(1, 2, find(), find(None, None)))
        broadcaster.publish(overview(1, 2), b"fused")
        broadcaster.publish(specimens(2), b"first", b"second")
        broadcaster.publish(EventNotice(utc=1.7e9, level="warning", name=EventName.DETECTOR, message="m"))
        broadcaster.publish(State(state=NightState.PAUSED, reason="spool full"))
        early.until(broadcaster, lambda one: one.view.state is not None)
        with watching(lambda: broadcaster.snapshot_endpoint) as late:
            late.until(broadcaster, lambda one: one.joined)
            views = [audience.watcher.view for audience in (early, late)]
            assert [view.about for view in views] == [ABOUT, ABOUT]
            assert [sorted(view.fields) for view in views] == [[(1, 1), (1, 2)]] * 2
            assert [[tally.objects for tally in view.tallies.rows()] for view in views] == [[3], [3]]
            assert [view.overviews[1] for view in views] == [(overview(1, 2), (b"fused",))] * 2
            assert [[images for _, images in view.specimens] for view in views] == [[(b"first", b"second")]] * 2
            assert [view.events[0].message for view in views] == ["m", "m"]
            assert [view.latest for view in views] == [1, 1]


def test_what_was_lost_is_made_good() -> None:
    with night() as broadcaster, watching(lambda: broadcaster.snapshot_endpoint) as audience:
        audience.until(broadcaster, lambda one: one.joined)
        with audience.watcher.lock:  # deaf for a while, so that the sockets drop
            for number in range(1, 400):
                broadcaster.publish(overview(1, number), bytes(200_000))
                broadcaster.publish(done(1, number, find()))
        audience.until(broadcaster, lambda one: len(one.view.fields) == 399)
        watcher = audience.watcher
        assert watcher.view.lost > 0
        assert sum(tally.objects for tally in watcher.view.tallies.rows()) == 399


@pytest.mark.slow
def test_a_resumed_night_is_found_again() -> None:
    places: list[str] = []

    def where() -> str:
        if not places:
            raise Refused("the night does not run")
        return places[-1]

    with watching(where) as audience:
        audience.until(None, lambda one: "does not run" in one.trouble)
        with night() as first:
            places.append(first.snapshot_endpoint)
            audience.until(first, lambda one: one.joined)
            first.publish(done(1, 1, find()))
            audience.until(first, lambda one: len(one.view.fields) == 1)
        with night((done(1, 1, find()), done(1, 2, find()))) as second:
            places.append(second.snapshot_endpoint)
            audience.until(second, lambda one: one.joined and len(one.view.fields) == 2)
            assert audience.watcher.view.tallies.rows()[0].objects == 2


@pytest.mark.parametrize("covered", [LENGTHS_UM, MASSES_PG])
def test_bins_hold_what_lies_between_their_edges(covered: tuple[float, float]) -> None:
    sides = edges(covered)
    assert sides[0] == pytest.approx(covered[0])
    assert sides[-1] == pytest.approx(covered[1])
    tallies = Tallies()
    values = [0.5 * (low + high) for low, high in pairwise(sides)]
    for value in [*values, covered[0] / 2, covered[1] * 2]:
        tallies.add(done(1, 1, Find(class_name="a", length_um=value, mass_pg=value)))
    (row,) = tallies.rows()
    counts = row.lengths if covered == LENGTHS_UM else row.masses
    assert counts == (2, *[1] * (len(values) - 2), 2)
    assert Tallies([row]).rows() == (row,)
