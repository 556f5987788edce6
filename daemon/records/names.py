"""Where things lie: names of files in a dataset, in a spool and where a process works; which names a field's may have.

Those that a run folder alone has stand in `daemon.run_folder.folder`.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

CATALOG = "catalog.sqlite"
OBJECTS_TABLE = "objects.parquet"
INCOMING = "incoming"
REPORT = "report.html"
LOCK = "lock"
"""Of a folder that one program at a time may work in."""
UNFINISHED = "unfinished.json"
"""Lies beside specimens of the virtual slide until their index is whole, and says what they are made with."""
LOG = "log"
PROCESSES = "processes.json"
NAME_BYTES = 100
"""Longest part of a file's name that is made of a text."""

_FIELD_FILE = re.compile(
    r"slide-([1-9]\d{0,3})/field-(\d{4,6})(?:-attempt-([2-9]|[1-9]\d{1,3}))?(?:-[a-z]+)?(?:\.[a-z]{2,8}){1,3}", re.ASCII
)


def slide_folder(slide: int) -> str:
    """Folder of a mini-slide inside a dataset or a spool."""
    return f"slide-{slide}"


def field_file(slide: int, field: int, part: str = "", attempt: int = 1) -> str:
    """Name of a field's OME-TIFF inside a dataset (posix).

    `part` tells a second file of the field, such as "raw"; the files of its first attempt are not named after it.
    """
    suffix = (f"-attempt-{attempt}" if attempt > 1 else "") + (f"-{part}" if part else "")
    return f"{slide_folder(slide)}/field-{field:04d}{suffix}.ome.tif"


def features_file(slide: int, field: int, attempt: int = 1) -> str:
    """Name of the table of the features of a field's objects inside a dataset (posix)."""
    return field_file(slide, field, "features", attempt).removesuffix(".ome.tif") + ".parquet"


def picture_file(slide: int, field: int, attempt: int = 1) -> str:
    """Name of the picture that is kept of a field inside a dataset (posix)."""
    return field_file(slide, field, "picture", attempt).removesuffix(".ome.tif") + ".jpg"


def field_of(name: str) -> tuple[int, int] | None:
    """Slide and field that a file's name speaks of, or None for a name that no file of a field may have."""
    match = _FIELD_FILE.fullmatch(name)
    if match is None or name.endswith(".part"):
        return None
    return int(match[1]), int(match[2])


def attempt_of(name: str) -> int:
    """Attempt that the name of a field's file speaks of."""
    match = _FIELD_FILE.fullmatch(name)
    return 1 if match is None or match[3] is None else int(match[3])


def inside(folder: Path, name: str) -> Path:
    """Path of a field's file below `folder`.

    Raises
    ------
    ValueError
        The name is not one that `field_file` makes, so it might lead out of the folder.
    """
    if field_of(name) is None:
        raise ValueError(f"{name!r} is not the name of a field's file; it must look like {field_file(1, 1)!r}")
    return folder.joinpath(*name.split("/"))


def safe_name(text: str) -> str:
    """Reduce a text to what every file system takes: letters and digits of any script, `-`, `_` and single dots."""
    words = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text))
    words = re.sub(r"\.{2,}", ".", words).encode()[:NAME_BYTES].decode(errors="ignore").strip("._")
    return words or "unnamed"
