"""Files that are wholly there or not there at all, also after a power cut."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from daemon.system.errors import Refused

PART_SUFFIX = ".part"
NAME_ANOTHER = "name another place with --into"
_FULL_BY_NUMPY = re.compile(r"Not enough free space|\d+ requested and \d+ written")
"""How numpy tells that a disk is full; its errors have no number."""


def disk_full(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether an error says that there is no room left."""
    if isinstance(error, sqlite3.OperationalError):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or _FULL_BY_NUMPY.match(str(error)) is not None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Windows does this with the file itself and offers no call for it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, before_rename: Callable[[], None] | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes its name only once it is complete and synced.

    Written as `path` + ".part"; on leaving without an exception it is fsynced, renamed over `path`, and the folder is
    synced. On an exception the part is removed; one that says that the disk is full names `path`. `before_rename` is
    called between fsync and rename.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        with part.open("w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if before_rename is not None:
            before_rename()
        part.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and disk_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def make_folder(folder: Path) -> None:
    """Create a folder (parents too) whose name survives a power cut."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for f in reversed(missing):
        f.mkdir(exist_ok=True)
        sync_folder(f.parent)
    if not missing:  # made, perhaps, by a process that was killed before it synced
        sync_folder(folder.parent)


@contextmanager
def refusing(place: Path, remedy: str = NAME_ANOTHER) -> Iterator[None]:
    """Refuse, in one sentence with a remedy, where what a person asked for cannot be written.

    Raises
    ------
    Refused
        `place` is read only, full, or not where files can be.
    """
    try:
        yield
    except OSError as error:
        raise Refused(f"{place} cannot be written ({error.strerror}); {remedy}") from error


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
