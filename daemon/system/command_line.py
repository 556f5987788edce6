"""What a person can type into a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path


def typed(path: Path) -> str:
    """Write a path as one types it in a terminal of this computer, in quotes where it needs them."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))
