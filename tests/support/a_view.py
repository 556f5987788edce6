"""A morning page, in threads of the test's own process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daemon.view.actions import Action
from daemon.view.application import MorningPage
from daemon.view.nights import ShownNights
from daemon.web.access import Door
from daemon.web.server import PageAddress, PageServer
from tests.support.deadlines import DEADLINE_S


class ServedView:
    """A page that is served, the nights it shows, and who may see it."""

    def __init__(self, nights: ShownNights, door: Door, address: str) -> None:
        self.nights, self.door, self.address = nights, door, address

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def key(self, night: str) -> str:
        return next(one.key for one in self.nights.shown.values() if one.night == night)

    def wait(self) -> None:
        """Until every night is read to its end."""
        end_s = time.monotonic() + DEADLINE_S
        while self.nights.reading:
            assert time.monotonic() < end_s, [one.trouble for one in self.nights.shown.values()]
            time.sleep(0.01)


@contextmanager
def viewing(places: Sequence[Path], door: Door | None = None, actions: Sequence[Action] = ()) -> Iterator[ServedView]:
    """Serve the page of nights at a free port of this computer."""
    door = door or Door(None)
    nights = ShownNights(places)
    ready = threading.Event()
    place = PageAddress("127.0.0.1", 0, door)
    with place.bind() as listening:
        server = PageServer(MorningPage(nights, door, actions).application(), Counter(), ready.set)
        thread = threading.Thread(target=server.run, args=([listening],), name="view")
        thread.start()
        try:
            assert ready.wait(DEADLINE_S), "the page is not served"
            yield ServedView(nights, door, place.address(listening))
        finally:
            server.should_exit = True
            thread.join()
