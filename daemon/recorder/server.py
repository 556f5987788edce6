"""The recorder: a process that listens for one night and keeps its dataset, here or on another computer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from daemon.config.model import CurveKeys
from daemon.dataset.catalog import only_recorder_of
from daemon.protocols import delivery
from daemon.protocols.router import Bounds, Router
from daemon.protocols.sockets import check_endpoint
from daemon.recorder.session import Reception
from daemon.system import crash_points
from daemon.system.durable_files import make_folder

BOUNDS = Bounds(message_bytes=delivery.MAX_PAYLOAD_BYTES, waiting_in=8, waiting_out=1000)
"""What a peer sends beyond its credit stays with it, once eight messages of it wait here."""

_log = logging.getLogger(__name__)


def run_recorder(
    listen: str,
    into: Path,
    keys: CurveKeys | None,
    ready: Callable[[str], None],
    stop: threading.Event,
    run: Path | None = None,
    complete: Callable[[], None] = lambda: None,
) -> None:
    """Record one night into the folder `into` until `stop` is set.

    Parameters
    ----------
    listen
        endpoint to bind; `tcp://127.0.0.1:*` takes a free port.
    keys
        CURVE keys, needed unless `listen` is loopback.
    ready
        called once with the endpoint that is bound.
    run
        run folder of the night on this computer, whose processes a rehearsal may kill; None elsewhere.
    complete
        called once, when the dataset holds a complete night and everything of it is acknowledged.

    Raises
    ------
    Refused
        The endpoint may not be used or is taken, or `into` is in use by another recorder or holds something else.
    """
    check_endpoint(listen, keys, "server")
    if run is not None:
        crash_points.arm(run)
    make_folder(into)
    with (
        only_recorder_of(into),
        closing(Reception(into)) as reception,
        closing(Router("--listen", listen, keys, BOUNDS, _log, stop)) as router,
    ):
        _log.info("recording into %s, listening at %s", into, router.endpoint)
        told = False

        def take(message: list[bytes]) -> None:
            peer, *frames = message
            for answer in reception.handle(peer, frames):
                router.send([peer, *delivery.encode(answer, version=delivery.answered_in(frames))])

        def notify_complete() -> None:
            nonlocal told
            before, told = told, reception.night_closed()
            if told and not before:
                complete()

        ready(router.endpoint)
        router.serve(take, notify_complete)
