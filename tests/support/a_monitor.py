"""A monitor of a night, in threads of the test's own process or as the command itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.config.model import CurveKeys
from daemon.monitor.application import Page
from daemon.monitor.command import MonitorServer
from daemon.monitor.feed import Feed
from daemon.monitor.metrics import make_registry
from daemon.monitor.night_place import NightPlace
from daemon.view.afterwards import MorningAfter
from daemon.web.access import Door
from daemon.web.connection import Patience
from daemon.web.server import PageAddress
from tests.support.deadlines import DEADLINE_S

TOKEN = "a token of many letters"


class Served:
    """A page that is served, and what serves it."""

    def __init__(self, feed: Feed, door: Door, answers: Counter[int], address: str) -> None:
        self.feed, self.door, self.answers, self.address = feed, door, answers, address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def serving(
    where: Callable[[], str],
    door: Door | None = None,
    *,
    control: bool = False,
    keys: CurveKeys | None = None,
    patience: Patience = Patience(),  # noqa: B008 - it cannot change
    run: Path | None = None,
) -> Iterator[Served]:
    """Serve the page of a night at a free port of this computer; with a run folder, what it recorded as well."""
    door = door or Door(None)
    feed = Feed(where, keys, orders=control, place=NightPlace(run))
    if run is not None:
        feed.place.morning = MorningAfter(run, door, feed.running)
    answers = Counter[int]()
    page = Page(feed, door, keys, where, make_registry(feed, door, answers))
    ready = threading.Event()
    place = PageAddress("127.0.0.1", 0, door)
    with place.bind() as listening:
        server = MonitorServer(feed, page, answers, ready.set, patience)
        thread = threading.Thread(target=server.run, args=([listening],), name="monitor")
        thread.start()
        try:
            assert ready.wait(DEADLINE_S), "the monitor does not serve"
            yield Served(feed, door, answers, place.address(listening))
        finally:
            server.should_exit = True
            thread.join()
