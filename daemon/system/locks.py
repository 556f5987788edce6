"""Locks that keep a second program off a folder and off a microscope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from filelock import FileLock, Timeout

from daemon.system.errors import Refused


@contextmanager
def sole(path: Path, complaint: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock, or refuse with `complaint` where another program holds it for longer than `patience_s`."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout as error:
        raise Refused(complaint) from error
    except OSError as error:
        raise Refused(f"the lock {lock.lock_file} cannot be taken ({error}); make that file writable") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def sole_on(instrument: str) -> Iterator[None]:
    """Hold the microscope of this name."""
    word = "".join(c if c.isalnum() else "-" for c in instrument)
    busy = f"instrument.name {instrument!r} is in use by another scan or calibration; wait for it, or stop it"
    with sole(Path(gettempdir()) / f"lamelle-{word}.lock", busy):
        yield
