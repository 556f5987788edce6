"""One process at a time writes into a dataset."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from daemon.system.errors import Refused

LOCK = "recorder.lock"


@contextmanager
def only_recorder_of(into: Path) -> Iterator[None]:
    """Hold a dataset's lock, which the operating system lets go of when the process ends, however it ends.

    Raises
    ------
    Refused
        Another process holds it.
    """
    with closing(sqlite3.connect(into / LOCK, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            reason = f"{into} is in use by another recorder, or by a command that writes there ({error})"
            raise Refused(f"{reason}; stop it or choose another folder") from error
        yield
