"""One process at a time writes into a dataset."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from daemon.system.errors import Refused

LOCK = "recorder.lock"


@contextmanager
def only_recorder_of(into: Path) -> Iterator[None]:
    """Hold a dataset's lock, which the operating system lets go of when the process ends, however it ends.

    Raises
    ------
    Refused
        Another process holds it, or nothing can be written there.
    """
    with ExitStack() as held:
        try:
            lock = held.enter_context(closing(sqlite3.connect(into / LOCK, timeout=0, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise Refused(f"{into} cannot be written to ({error}); copy it to where it may be written") from error
            reason = f"{into} is in use by another recorder, or by a command that writes there"
            raise Refused(f"{reason}; stop it or choose another folder") from error
        yield
