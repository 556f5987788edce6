"""The recorder: a process that listens for one night and keeps its dataset, here or on another computer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import zmq

from daemon.config.model import CurveKeys
from daemon.dataset.only_writer import only_recorder_of
from daemon.protocols import delivery
from daemon.protocols.sockets import KnownClients, check_endpoint, secure
from daemon.recorder.session import Reception
from daemon.system import crash_points
from daemon.system.durable_files import make_folder
from daemon.system.errors import Refused

_STOP_POLL_MS = 20
_QUEUED_MESSAGES = 8
"""What a peer sends beyond its credit stays with it, once so many messages of one wait here."""

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
        zmq.Context() as context,
        KnownClients(context, keys),
        context.socket(zmq.ROUTER) as socket,
    ):
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, delivery.MAX_PAYLOAD_BYTES)
        socket.rcvhwm = _QUEUED_MESSAGES
        socket.ipv6 = "[" in listen
        secure(socket, keys, "server")
        try:
            socket.bind(listen)
        except zmq.ZMQError as error:
            raise Refused(f"cannot listen at {listen!r} ({error}); choose another endpoint") from error
        endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        _log.info("recording into %s, listening at %s", into, endpoint)
        ready(endpoint)
        told = False
        while not stop.is_set():
            if socket.poll(_STOP_POLL_MS):
                _answer(socket, reception)
            elif not told and reception.night_closed():
                told = True
                complete()


def _answer(socket: zmq.Socket[bytes], reception: Reception) -> None:
    peer, *frames = socket.recv_multipart()
    for answer in reception.handle(peer, frames):
        socket.send_multipart([peer, *delivery.encode(answer, version=delivery.answered_in(frames))])
