"""Folders that processes use, and that others may take away once nobody does: known by an open file in each of them.

What is open cannot be renamed on Windows; elsewhere the file is locked. Either ends with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

USED = ".used"
"""The file that whoever uses a folder has open."""
GOING = ".going-"


def hold(folder: Path) -> BinaryIO:
    """Make a folder, if need be, and use it until the stream is closed.

    Raises
    ------
    OSError
        It cannot be written to.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / USED).open("ab")
        if sys.platform != "win32":
            fcntl.flock(stream, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), (folder / USED).stat()):
                return stream
        stream.close()  # it was taken away in between


def take_away(folder: Path) -> bool:
    """Delete a folder that nobody uses; whether it is gone.

    It is renamed first: whoever comes meanwhile finds all of it, or nothing.
    """
    going = folder.with_name(f"{GOING}{uuid.uuid4().hex}")
    try:
        with (folder / USED).open("ab") as stream:
            if sys.platform != "win32":
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                folder.rename(going)
        if sys.platform == "win32":
            folder.rename(going)
    except OSError:
        return False
    shutil.rmtree(going, ignore_errors=True)
    return True
