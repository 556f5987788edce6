"""Where what a night records can be looked at, in words."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path


def typed(path: Path) -> str:
    """Write a path as one types it in a terminal of this computer, in quotes where it needs them."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def where_kept(run: Path, recorder: str | None, computer: str) -> str:
    """Say where the dataset of a night is, and which command shows it there.

    Parameters
    ----------
    run
        its run folder.
    recorder
        endpoint of the recorder that keeps it; None where the night records into its run folder.
    computer
        name of the one that runs the night.
    """
    if recorder is None:
        return f"The dataset is on {computer}; run `lamelle view {typed(run)}` there to look at it."
    return (
        f"The dataset is with the recorder at {recorder}; run `lamelle view DIR` there to look at it, DIR being the "
        "folder that `lamelle record` records into."
    )


def afterwards(*, ended: bool, heard: bool, here: bool, where: str) -> str:
    """Say what comes after a night; empty while there is nothing to say.

    Parameters
    ----------
    ended
        whether the night said that it ends.
    heard
        whether it is heard now.
    here
        whether its dataset is on this computer.
    where
        as `where_kept` says it; empty where that is not known.
    """
    if ended:
        found = "Every field and object that it recorded can be looked at." if here else where
        return f"The night is over. {found}".strip()
    return "" if heard or here else where
