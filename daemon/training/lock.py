"""Keeps a second training off the file that one writes, with its checkpoint, card and page beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.system.durable_files import make_folder
from daemon.system.locks import sole


@contextmanager
def only_training(into: Path) -> Iterator[None]:
    """Hold what a training writes, from before its first file until its last.

    Raises
    ------
    Refused
        Another training writes there.
    """
    make_folder(into.resolve().parent)
    busy = f"another training writes {str(into)!r}; wait for it, stop it, or name another file with --into"
    with sole(into.with_suffix(".lock"), busy):
        yield
