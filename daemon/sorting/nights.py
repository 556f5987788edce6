"""Which nights are meant by the folders that a person names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.dataset.reader import Dataset
from daemon.system.errors import Refused

DEEPEST = 4
"""So many folders below one that is named, nights are looked for."""


def nights_in(places: Sequence[Path]) -> list[Path]:
    """List the datasets that places are, or that lie in them, each once.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some.

    Raises
    ------
    Refused
        One of them is none of these.
    """
    found: dict[Path, None] = {}
    for place in places:
        here = [one.resolve() for one in _below(place, DEEPEST)]
        if not here:
            raise Refused(f"{place} holds no dataset of a night; name a dataset, a run folder, or a folder of these")
        found |= dict.fromkeys(here)
    return list(found)


def _below(folder: Path, deep: int) -> Iterator[Path]:
    if (there := Dataset.find(folder)) is not None:
        yield there
    elif deep:
        try:
            inner = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        except OSError:  # a file, or a folder that one may not look into, holds no night for this person
            return
        for path in inner:
            yield from _below(Path(path), deep - 1)
