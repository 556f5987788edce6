"""A disk small enough to be filled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own; skips the test where that needs privileges that it has not."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not sys.platform.startswith("linux") or mount is None or umount is None:
        pytest.skip("a small disk to fill is mounted on Linux only")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small disk needs privileges: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([umount, str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a disk that is mounted, such as "ro" or "size=6m"."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Write `filler` into a folder until its disk has no room left."""
    with (folder / "filler").open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            while shutil.disk_usage(folder).free >= size:
                stream.write(bytes(size))
