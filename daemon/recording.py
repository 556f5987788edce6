"""The recorder as a child of the night, on the same computer."""

from __future__ import annotations

import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.errors import LamelleError
from daemon.logbook import Logbook
from daemon.messages import Failed, RecorderReady, encode
from daemon.recorder import run_recorder


def run_local_recorder(connection: Connection, run: Path) -> None:
    """Record into the run folder's dataset until the supervisor closes the pipe or is gone."""
    stop = threading.Event()

    def listen() -> None:
        with suppress(EOFError, OSError):
            connection.recv_bytes()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    with Logbook(run, "recorder"):
        try:
            run_recorder(
                "tcp://127.0.0.1:*",
                run / "dataset",
                None,
                lambda endpoint: connection.send_bytes(encode(RecorderReady(endpoint=endpoint))),
                stop,
                run,
            )
        except LamelleError as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
