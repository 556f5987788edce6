"""The shim that watches what processes do to the files below a folder: built here, and preloaded into them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("powercut.c")


def build(folder: Path) -> Path | None:
    """Build the shim; None where that needs Linux and a C compiler that are not there."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux") or compiler is None:
        return None
    built = folder / "powercut.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl", "-lpthread"], check=True)
    return built


def watching(shim: Path, root: Path, log: Path) -> dict[str, str]:
    """Environment in which a process and its children log what they do below `root`, a path without links."""
    return os.environ | {"LD_PRELOAD": str(shim), "POWERCUT_ROOT": str(root), "POWERCUT_LOG": str(log)}
