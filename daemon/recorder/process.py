"""Recorders as a child of the night on the same computer, and by themselves elsewhere; both report complete nights."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console

from daemon.config.model import CurveKeys
from daemon.protocols.pipes import Failed, RecorderReady, Reported, encode
from daemon.recorder.server import run_recorder
from daemon.report.morning import MorningReport
from daemon.run_folder.folder import RunFolder
from daemon.system.errors import LamelleError
from daemon.system.logbook import Logbook

POLL_S = 0.2


def run_local_recorder(connection: Connection, run: Path) -> None:
    """Record into the run folder's dataset until the supervisor says Close or is gone; then tell of the report."""
    stop, gone = threading.Event(), threading.Event()

    def listen() -> None:
        with suppress(EOFError, OSError):
            connection.recv_bytes()
            stop.set()
            connection.recv_bytes()
        stop.set()
        gone.set()

    threading.Thread(target=listen, daemon=True).start()
    dataset = RunFolder(run).dataset
    with Logbook(run, "recorder"), closing(MorningReport(dataset)) as morning:
        try:
            run_recorder(
                "tcp://127.0.0.1:*",
                dataset,
                None,
                lambda endpoint: connection.send_bytes(encode(RecorderReady(endpoint=endpoint))),
                stop,
                run,
                morning.begin,
            )
        except LamelleError as error:
            connection.send_bytes(encode(Failed(kind=type(error).__name__, message=str(error), again=False)))
            return
        with suppress(OSError):
            connection.send_bytes(encode(morning.wait(gone.is_set)))


def record(listen: str, into: Path, keys: CurveKeys | None, console: Console) -> None:
    """Record a night that runs elsewhere, until interrupted, which is raised; see `run_recorder` for the others."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def serve() -> None:
        told = lambda endpoint: console.print(f"recording at {endpoint}", markup=False)  # noqa: E731
        try:
            run_recorder(listen, into, keys, told, stop, complete=morning.begin)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            failed.append(error)

    worker = threading.Thread(target=serve, name="recorder")
    with closing(MorningReport(into)) as morning:
        worker.start()
        try:
            while worker.is_alive():
                worker.join(POLL_S)
                if (reported := morning.poll()) is not None:
                    console.print(words_of(reported), markup=False, highlight=False, soft_wrap=True)
        finally:
            stop.set()
            worker.join()
    if failed:
        raise failed[0]


def words_of(reported: Reported) -> str:
    """Say what became of a report; nothing of a night that is not complete, or has one already."""
    if reported.problem:
        return f"there is no report: {reported.problem}"
    return f"report: {reported.page}" if reported.page else ""
