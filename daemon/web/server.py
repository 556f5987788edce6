"""One server under every page: where it listens, what it bears, and how it says that it serves."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from daemon.system.errors import Refused
from daemon.web.access import Door, check_reach, read_token, split_address
from daemon.web.connection import Patience, connections

MAX_HEADER_BYTES = 16_384
MAX_CONNECTIONS = 512
END_S = 3


class PageServer(uvicorn.Server):
    """Serves a page until it is told to exit.

    Parameters
    ----------
    application
        what is served, behind its guard.
    answers
        counts the answers by their status.
    ready
        called once it serves.
    patience
        with browsers that do not ask or read.
    """

    def __init__(
        self,
        application: Starlette,
        answers: Counter[int],
        ready: Callable[[], object],
        patience: Patience = Patience(),  # noqa: B008 - it cannot change
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
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
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()


@dataclass(frozen=True)
class PageAddress:
    """Where a page is to be served, and who may see it."""

    host: str
    port: int
    door: Door

    @classmethod
    def of(cls, http: str, token_file: Path | None) -> PageAddress:
        """Read the options `--http` and `--token-file`.

        Raises
        ------
        Refused
            The address or the token cannot be used, or others could reach the page without a token.
        """
        host, port = split_address(http)
        token = None if token_file is None else read_token(token_file)
        check_reach(host, token)
        return cls(host, port, Door(token))

    def bind(self) -> socket.socket:
        """Socket that listens for browsers; raises `Refused`."""
        try:
            family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            return socket.create_server(address[:2], family=family, backlog=128)
        except OSError as error:
            raise Refused(
                f"--http {self.host}:{self.port} cannot be used ({error}); choose another port, or 0 for any"
            ) from error

    def address(self, listening: socket.socket) -> str:
        """Address to type into a browser."""
        port = listening.getsockname()[1]
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"


def set_up_log(name: str) -> None:
    """Have a page log what a person should know, and not what strangers try.

    Parameters
    ----------
    name
        of the page's own logger.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    for own in (name, "lamelle.web"):
        logging.getLogger(own).setLevel(logging.INFO)
    # What it warns of is a line for every request of a stranger; those are counted instead.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
