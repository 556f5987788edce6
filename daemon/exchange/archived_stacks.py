"""The archive that a dataset was made of: its stacks, read again from their files, which must be as they were."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import yaml

from daemon.dataset.field_file import Pixels
from daemon.dataset.reader import Dataset
from daemon.exchange.field_pictures import source_of
from daemon.records.records import FieldSecured
from daemon.system.durable_files import sha256_of
from drivers.errors import ImageRefused
from drivers.recorded.file_names import STATES, NamePattern, Polarizations
from drivers.recorded.images import holds_stacks
from drivers.recorded.reading import StoredStack
from drivers.recorded.recording import replayed_planes, replayed_polarizations
from drivers.settings import Replay
from inference.errors import AnnotationError


class HowRead(NamedTuple):
    """How the files of stacks were read.

    Attributes
    ----------
    of_planes
        whether their names say which planes they are.
    polarizations
        which states they hold, along C where nothing names them.
    replayed
        whether a night replayed them, which may take fewer states and planes than they hold.
    """

    of_planes: bool
    polarizations: Polarizations
    replayed: bool


@dataclass(frozen=True)
class ImagesBehind:
    """Where the images lie that fields were read from, and how they were read.

    Attributes
    ----------
    root
        folder that their names are below.
    """

    root: Path
    how: HowRead

    @classmethod
    def find(cls, recorded: Dataset, fields: Sequence[FieldSecured], folders: Sequence[Path]) -> ImagesBehind:
        """Find the images of a dataset.

        Parameters
        ----------
        fields
            those that were read from images, one at least.
        folders
            of which one is that of these images; a night's run folder stands for the dataset in it.

        Raises
        ------
        AnnotationError
            None of them holds the first image as it was.
        """
        first = fields[0].sources[0]
        for named in folders:
            folder = Dataset.find(named) or named
            path = folder.joinpath(*first.name.split("/"))
            if path.is_file() and sha256_of(path) == first.sha256:
                return cls(folder, _how_they_were_read(recorded, fields[0]))
        listed = " or ".join(repr(str(folder)) for folder in folders)
        raise AnnotationError(
            f"{listed} holds no {first.name!r} as it was when objects were looked for in it; name the folder that the "
            "names of the images are below with --images"
        )

    def place(self, field: FieldSecured) -> Path:
        """Where a field lies, as people read it: no file where it is not one alone."""
        return self.root.joinpath(*source_of(field).split("/"))

    def content(self, field: FieldSecured) -> bytes:
        """Read the file of a field that is a single picture.

        Raises
        ------
        AnnotationError
            It is missing, or not as it was.
        """
        place = self.place(field)
        try:
            content = place.read_bytes()
        except OSError as error:
            raise AnnotationError(f"{str(place)!r} cannot be read ({error.strerror}); put it back") from error
        self._check(field, {field.sources[0].name: hashlib.sha256(content).hexdigest()})
        return content

    def stack(self, field: FieldSecured) -> Pixels:
        """Read the stack of a field, CZYX.

        Raises
        ------
        AnnotationError
            A file is missing, cannot be read, or is not as it was.
        """
        names = [source.name for source in field.sources]
        # Of an archive all is taken, and in its own order.
        held = self.how.polarizations.states if self.how.replayed else field.polarizations
        states = held if self.how.of_planes else ()
        stored = StoredStack(self.root, self._opened_as(names), self.how.polarizations, states, field.sources[0].stack)
        hashes: dict[str, str] = {}
        try:
            read = stored.read(hashes, lambda _: self._check(field, _hashes(field) | hashes))
            self._check(field, hashes)
            return self._taken(read.pixels, read.states, field)
        except (ImageRefused, OSError) as error:
            raise AnnotationError(f"{str(self.place(field))!r} cannot be read: {error}") from error

    def _taken(self, stack: Pixels, states: tuple[str, ...], field: FieldSecured) -> Pixels:
        """Pick from a stack (CZYX) what the field has of it: all of it, where no night replayed it."""
        wanted, planes = field.polarizations, field.shape_czyx[1]
        fits = set(wanted) <= set(states) and planes <= stack.shape[1] and stack.shape[2:] == field.shape_czyx[2:]
        if not fits or (not self.how.replayed and stack.shape != field.shape_czyx):
            raise ImageRefused(f"its stack is {stack.shape} (CZYX), of which {field.shape_czyx} were looked at")
        if stack.shape == field.shape_czyx and states == wanted:
            return stack
        return stack[np.ix_([states.index(state) for state in wanted], replayed_planes(stack.shape[1], planes))]

    def _opened_as(self, names: Sequence[str]) -> Sequence[str]:
        """Name what is opened: the folder, where that is a recording as a whole, outermost first; else the files."""
        above = [str(folder) for folder in reversed(PurePosixPath(names[0]).parents)]
        return next(([folder] for folder in above if holds_stacks(self.root / folder)), names)

    def _check(self, field: FieldSecured, hashes: dict[str, str]) -> None:
        if hashes != _hashes(field):
            raise AnnotationError(
                f"{str(self.place(field))!r} is not as it was when objects were looked for in it; restore it, or look "
                "for them again"
            )


def _hashes(field: FieldSecured) -> dict[str, str]:
    return {source.name: source.sha256 for source in field.sources}


def _how_they_were_read(recorded: Dataset, field: FieldSecured) -> HowRead:
    """Ask the configuration: an archive's settings, or those of a replay."""
    night = recorded.night()
    content = yaml.safe_load(night.configuration if night is not None else "") or {}
    instrument = content.get("instrument") or {}
    if instrument.get("replay") is not None:
        replay = Replay.model_validate(instrument["replay"])
        states = replayed_polarizations(replay, tuple(instrument["polarizations"]))
        return HowRead(_of_planes(replay.planes), states, replayed=True)
    said = content.get("polarizations") or (() if "archive" in content else field.polarizations)
    states = Polarizations.of(said, tuple(dict.fromkeys((*STATES, *field.polarizations))))
    return HowRead(_of_planes(content.get("planes")), states, replayed=False)


def _of_planes(pattern: str | None) -> bool:
    return pattern is not None and NamePattern(pattern).of_planes
