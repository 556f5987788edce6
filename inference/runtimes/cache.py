"""What takes long to make and is kept in the user's cache: folders that are whole or not there."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

SUMS = "sha256.json"
_log = logging.getLogger(__name__)


def cabinet(kind: str, kept_in: Path | None) -> Path:
    """Folder of everything of a kind, in the user's cache or in `kept_in`."""
    return (user_cache_path("lamelle") if kept_in is None else kept_in) / kind


def keep(folder: Path, make: Callable[[Path], None]) -> None:
    """Make a folder, unless it lies there and no file in it has changed.

    Parameters
    ----------
    make
        writes the files into an empty folder beside; that takes the name once all is synced.

    Raises
    ------
    OSError
        It cannot be written.
    """
    if folder.is_dir() and not is_whole(folder):
        _log.warning("%s was changed by somebody; it is made again", folder)
        shutil.rmtree(folder)
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        make(beside)
        (beside / SUMS).write_bytes(msgspec.json.encode({path.name: _sha256(path) for path in beside.iterdir()}))
        for path in beside.iterdir():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        beside.rename(folder)
    except OSError:
        # Another process may have been faster.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether every file that was made is there, unchanged."""
    try:
        sums = msgspec.json.decode((folder / SUMS).read_bytes(), type=dict[str, str])
        return bool(sums) and all(_sha256(folder / name) == sum_ for name, sum_ in sums.items())
    except (OSError, msgspec.DecodeError):
        return False


def source_of(module: str) -> str:
    """Code of a module that decides what is kept; looked up, not imported.

    Raises
    ------
    ModuleNotFoundError
        There is none of that name.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {module}, whose code decides what is kept")
    return Path(spec.origin).read_text("utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
