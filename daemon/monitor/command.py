"""`lamelle monitor`: follow a night, and serve the page until interrupted."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console

from daemon.config.loading import load_keys
from daemon.config.model import CurveKeys
from daemon.monitor.access import Door, check_reach, read_token, split_address
from daemon.monitor.application import Page
from daemon.monitor.connection import Patience, connections
from daemon.monitor.feed import Feed
from daemon.monitor.metrics import make_registry
from daemon.protocols.sockets import check_endpoint
from daemon.run_folder.endpoints import find_endpoint
from daemon.system.errors import Refused

MAX_HEADER_BYTES = 16_384
MAX_CONNECTIONS = 512
END_S = 3


class MonitorServer(uvicorn.Server):
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
        told once it serves.
    patience
        with browsers that do not ask or read.
    """

    def __init__(
        self,
        feed: Feed,
        page: Page,
        answers: Counter[int],
        ready: Callable[[], None],
        patience: Patience = Patience(),  # noqa: B008 - it cannot change
    ) -> None:
        super().__init__(
            uvicorn.Config(
                page.application(),
                http=connections(answers, patience),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_graceful_shutdown=END_S,
            )
        )
        self._feed = feed
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the pages go, then end."""
        self._feed.end_streams()
        await super().shutdown(sockets)


def monitor(
    place: str, http: str, token_file: Path | None, keys_file: Path | None, *, control: bool, console: Console
) -> None:
    """Serve the page of the night at `place` until interrupted.

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

    Raises
    ------
    Refused
        An address, a key or the token cannot be used, or others could reach the page without a token.
    """
    keys = None if keys_file is None else load_keys(keys_file)
    where = find_night(place, keys)
    host, port = split_address(http)
    token = None if token_file is None else read_token(token_file)
    check_reach(host, token)
    door = Door(token)
    feed = Feed(where, keys, orders=control)
    answers = Counter[int]()
    page = Page(feed, door, keys, where, make_registry(feed, door, answers))
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("lamelle.monitor").setLevel(logging.INFO)
    # What it warns of is a line for every request of a stranger; those are counted instead.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with bind(host, port) as listening:
        address = told_address(host, listening.getsockname()[1])
        ready: Callable[[], Any] = lambda: console.print(f"open {address}", highlight=False, soft_wrap=True)  # noqa: E731
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


def bind(host: str, port: int) -> socket.socket:
    """Socket that listens for browsers; raises `Refused`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise Refused(f"--http {host}:{port} cannot be used ({error}); choose another port, or 0 for any") from error


def told_address(host: str, port: int) -> str:
    """Address to type into a browser."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
