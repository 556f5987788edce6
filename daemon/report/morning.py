"""The report that is made by itself once a night is complete: in a process of its own, low in priority, bounded.

Nothing that befalls it touches the night. Whoever records hears what became of it, in words.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from daemon.config.loading import thaw
from daemon.config.model import ReportSettings
from daemon.dataset.reader import Dataset
from daemon.protocols.pipes import Reported, decode, encode
from daemon.records.names import REPORT
from daemon.system.errors import LamelleError

POLL_S = 0.1
END_S = 5.0
NICE = 10
REMEDY = "`lamelle report` makes it"

_log = logging.getLogger(__name__)


class MorningReport:
    """Makes the report of a dataset. `begin` and the others may be called by two threads; close it in the end."""

    def __init__(self, dataset: Path) -> None:
        self._dataset = dataset
        self._process: multiprocessing.process.BaseProcess | None = None
        self._until_s = 0.0
        self._within_s = 0.0
        self._reported: Reported | None = None
        self._told = False

    def begin(self) -> None:
        """Begin, unless the night does not want it or a report of the complete night is there already."""
        try:
            self._begin()
        except (OSError, LamelleError) as error:
            self._reported = Reported(problem=f"it cannot begin: {error}; {REMEDY}")

    def _begin(self) -> None:
        settings, closed_utc = _wanted(self._dataset)
        page = self._dataset / REPORT
        if settings.make == "never" or (page.exists() and page.stat().st_mtime >= closed_utc):
            return
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe(duplex=False)
        self._within_s, self._until_s = settings.within_s, time.monotonic() + settings.within_s
        process = context.Process(target=_make, args=(theirs, self._dataset), name="lamelle report")
        process.start()
        theirs.close()
        self._process = process

    def poll(self) -> Reported | None:
        """Return, once, what became of it; None while there is nothing to say."""
        process = self._process
        if self._told or (process is None and self._reported is None):
            return None
        if process is not None and self._connection.poll():
            self._reported = self._hear(process)
        elif process is not None and time.monotonic() > self._until_s:
            self._reported = Reported(problem=f"it took longer than {self._within_s:g} s (report.within_s); {REMEDY}")
        if self._reported is not None:
            self._told = True
            _log.info("report: %s", self._reported.page or self._reported.problem)
            self.close()
        return self._reported

    def wait(self, abandoned: Callable[[], bool]) -> Reported:
        """Wait until it is there, has failed or may take no longer, or until nobody waits any more."""
        while self._process is not None and not self._told and not abandoned():
            if self.poll() is None:
                time.sleep(POLL_S)
        return self._reported or Reported()

    def close(self) -> None:
        """End what still runs; may be called again."""
        if self._process is None or self._connection.closed:
            return
        if self._reported is not None and self._reported.page:
            self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
        self._process.join(END_S)
        self._connection.close()

    def _hear(self, process: multiprocessing.process.BaseProcess) -> Reported:
        try:
            told = decode(self._connection.recv_bytes())
        except (EOFError, OSError):
            process.join(END_S)
            return Reported(problem=f"its process ended (exit status {process.exitcode}); {REMEDY}")
        return told if isinstance(told, Reported) else Reported(problem=f"it answered {told!r}; {REMEDY}")


def _wanted(dataset: Path) -> tuple[ReportSettings, float]:
    """Read what a night wants of its report, and when it was complete, UTC seconds."""
    with closing(Dataset.open(dataset)) as there:
        started, closed_utc = there.night(), there.closed_utc()
    config = None if started is None else thaw(started.configuration)
    return ReportSettings() if config is None else config.report, closed_utc or 0.0


def _make(connection: Connection, dataset: Path) -> None:
    """Make the report, in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        psutil.Process().nice(NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from daemon.report.report import report

        told = Reported(page=str(report(dataset, None, None).page))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the night stands
        told = Reported(problem=f"{type(error).__name__}: {error}; {REMEDY}")
    connection.send_bytes(encode(told))
    connection.close()


def _end_with_parent() -> None:
    """End at once when the recorder is gone: nobody would hear what became of it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
