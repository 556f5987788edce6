"""`lamelle monitor`: follow a night, and serve the page until interrupted."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from daemon.config.loading import load_keys
from daemon.config.model import CurveKeys
from daemon.monitor.application import Page
from daemon.monitor.feed import Feed
from daemon.monitor.metrics import make_registry
from daemon.monitor.night_place import NightPlace
from daemon.protocols.sockets import check_endpoint
from daemon.run_folder.endpoints import find_endpoint
from daemon.web.access import Door
from daemon.web.connection import Patience
from daemon.web.morning import Morning, RunningNight
from daemon.web.server import PageAddress, PageServer, set_up_log

MakeMorning = Callable[[Path, Door, Callable[[], RunningNight | None]], Morning]
"""Makes the page on what a night recorded: its run folder, who may see it, how the night stands."""


class MonitorServer(PageServer):
    """Serves the page of one night; lets open pages go before it ends.

    Parameters
    ----------
    feed
        what is known of the night.
    page
        what is served of it.
    answers
        counts the answers by their status.
    ready
        called once it serves.
    patience
        with browsers that do not ask or read.
    """

    def __init__(
        self,
        feed: Feed,
        page: Page,
        answers: Counter[int],
        ready: Callable[[], object],
        patience: Patience = Patience(),  # noqa: B008 - it cannot change
    ) -> None:
        super().__init__(page.application(), answers, ready, patience)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the pages go, then end."""
        self._feed.end_streams()
        await super().shutdown(sockets)


def monitor(
    place: str,
    http: str,
    token_file: Path | None,
    keys_file: Path | None,
    *,
    control: bool,
    morning: MakeMorning,
    console: Console,
) -> None:
    """Serve the page of the night at `place` until interrupted, and what it recorded when it is over.

    Parameters
    ----------
    place
        where the night is.
    http
        `HOST:PORT` of the page; port 0 takes a free one.
    token_file
        file with the token that the page asks for.
    keys_file
        YAML file that names CURVE keys.
    control
        whether orders may be given through the page.
    morning
        makes the page on what a night of this computer recorded.

    Raises
    ------
    Refused
        An address, a key or the token cannot be used, or others could reach the page without a token.
    """
    keys = None if keys_file is None else load_keys(keys_file)
    where = find_night(place, keys)
    served = PageAddress.of(http, token_file)
    here = NightPlace(None if "://" in place else Path(place))
    feed = Feed(where, keys, orders=control, place=here)
    if here.run is not None:
        here.morning = morning(here.run, served.door, feed.running)
    answers = Counter[int]()
    page = Page(feed, served.door, keys, where, make_registry(feed, served.door, answers))
    set_up_log("lamelle.monitor")
    with served.bind() as listening:
        address = served.address(listening)
        ready = lambda: console.print(f"open {address}", highlight=False, soft_wrap=True)  # noqa: E731
        MonitorServer(feed, page, answers, ready).run([listening])


def find_night(place: str, keys: CurveKeys | None) -> Callable[[], str]:
    """Return where a night answers with snapshots, each time it is looked for; its run folder may come later.

    Raises
    ------
    Refused
        `place` is an endpoint that needs keys, or a file.
    """
    if "://" in place:
        check_endpoint(place, keys, "client")
    return find_endpoint(place, begun=False)
