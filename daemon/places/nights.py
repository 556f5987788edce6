"""Which nights are meant by the folders that a person names; each is looked through once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.dataset.reader import Dataset
from daemon.records.records import NightStarted
from daemon.system.errors import DamagedFile, Refused

DEEPEST = 4
"""So many folders below one that is named, nights are looked for."""
Look = Callable[[Dataset, NightStarted], None]


@dataclass(frozen=True)
class FoundNights:
    """Datasets that places are, or that lie in them.

    Attributes
    ----------
    folders
        of the datasets, each once.
    notes
        what could not be looked into, a sentence each.
    """

    folders: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class NightsSeen:
    """Nights that were looked through.

    Attributes
    ----------
    folders
        of the dataset of each night, by its name.
    notes
        what was left out, a sentence each.
    """

    folders: dict[str, Path]
    notes: tuple[str, ...]


def find_nights(places: Iterable[Path]) -> FoundNights:
    """Find the datasets that places are, or that lie in them.

    Parameters
    ----------
    places
        datasets, run folders, or folders that hold some; links are followed.

    Raises
    ------
    Refused
        One of them is none of these.
    """
    folders: dict[Path, None] = {}
    notes: dict[str, None] = {}
    for place in places:
        here = _below(place)
        if not here.folders:
            why = here.notes[0] if here.notes else f"{place} holds no dataset of a night"
            raise Refused(f"{why}; name a dataset, a run folder, or a folder of these")
        folders |= dict.fromkeys(here.folders)
        notes |= dict.fromkeys(here.notes)
    return FoundNights(tuple(folders), tuple(notes))


def look_through(places: Sequence[Path], look: Look) -> NightsSeen:
    """Open one night after another, at one moment of it, and look; what keeps one from it costs no other.

    A night that lies there twice is looked through once.

    Parameters
    ----------
    places
        as of `find_nights`.
    look
        called with each; where it raises Refused or DamagedFile the night is left out, with that as the reason.

    Raises
    ------
    Refused
        A place holds no night, or none of the nights can be looked through.
    """
    found = find_nights(places)
    seen: dict[str, Path] = {}
    out: list[str] = []
    for folder in found.folders:
        try:
            with Dataset.open(folder) as dataset, dataset.unchanging():
                started = dataset.night()
                if started is None:
                    raise Refused(f"{folder} holds no night yet; its first record has not arrived, so wait for it")
                if started.night in seen:
                    raise Refused(f"{folder} holds night {started.night!r}, as {seen[started.night]} does")
                look(dataset, started)
                seen[started.night] = folder
        except (Refused, DamagedFile) as error:
            out.append(str(error))
    if not seen:
        raise Refused(out[0] if len(out) == 1 else f"none of {len(out)} nights can be looked through: {out[0]}")
    return NightsSeen(seen, tuple(f"left out: {note}" for note in (*found.notes, *out)))


def _below(place: Path) -> FoundNights:
    """Go through folders, one depth after another, each once by where it truly lies."""
    found: dict[Path, None] = {}
    notes: list[str] = []
    seen: set[Path] = set()
    here = [place]
    for deep in range(DEEPEST + 1):
        further: list[Path] = []
        for folder in here:
            try:
                if (true := folder.resolve()) in seen:
                    continue
                seen.add(true)
                if (there := Dataset.find(folder)) is not None:
                    found[there.resolve()] = None
                elif deep < DEEPEST and folder.is_dir():
                    with os.scandir(folder) as entries:
                        further += sorted(Path(entry.path) for entry in entries if _leads_on(entry))
            except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself, before Python 3.13
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                notes.append(f"{folder} cannot be looked into ({why})")
        here = further
    return FoundNights(tuple(found), tuple(notes))


def _leads_on(entry: os.DirEntry[str]) -> bool:
    # Only links need a look at where they lead; of one that leads to itself an entry's own is_dir raises an error.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())
