"""Reading a stack from its files: opened, read, its channels named, its shape checked, joined."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.file_names import Channels, Polarizations
from drivers.recorded.held import Header, HeldStack
from drivers.recorded.images import opened_one
from drivers.recorded.stacks import GONE, FoundStack, below

Pixels = NDArray[np.uint16]
Shape = tuple[int, int, int, int]
Accept = Callable[[list[Header]], object]
"""Refuses a stack for which its pixels need not be decoded, by what each of its files says so far as it is known."""


class JoinedStack(NamedTuple):
    """A stack as it was read.

    Attributes
    ----------
    pixels
        CZYX, of the channels that are taken.
    states
        along C.
    headers
        of each file that was opened.
    """

    pixels: Pixels
    states: tuple[str, ...]
    headers: list[Header]


@dataclass(frozen=True)
class StoredStack:
    """A stack in its files.

    Attributes
    ----------
    root
        folder that the names are below.
    names
        of its files.
    polarizations
        which states there are.
    states
        of plane files along C; none where the first file is opened, and holds the stack or begins it.
    name
        of the stack in a file that holds several.
    """

    root: Path
    names: Sequence[str]
    polarizations: Polarizations
    states: tuple[str, ...] = ()
    name: str = ""

    @classmethod
    def of(cls, root: Path, found: FoundStack, polarizations: Polarizations) -> StoredStack:
        """Take a stack that was found below a folder."""
        return cls(root, found.files.names, polarizations, found.files.states, found.name)

    def channels(self, first: Header) -> Channels:
        """Pick the channels that are polarizations.

        Parameters
        ----------
        first
            what the first file says.

        Raises
        ------
        ImageRefused
            It cannot be told which they are.
        """
        if self.states:
            return Channels(self.states, tuple(range(len(self.states))))
        return self.polarizations.among(first.channels or ("",) * first.shape_czyx[0], in_order=True)

    def whole_shape(self, headers: Sequence[Header]) -> Shape:
        """Shape (CZYX) of what the files hold, all channels; plane files may also be the whole stacks of polarizations.

        Parameters
        ----------
        headers
            of each of the plane files, or of the file that is opened.

        Raises
        ------
        ImageRefused
            Plane files are not alike.
        """
        first = headers[0].shape_czyx
        if not self.states:
            return first
        planes = len(self.names) // len(self.states)
        for name, header in zip(self.names, headers, strict=True):
            if header.shape_czyx != first or first[0] > 1 or min(first[1], planes) > 1:
                size = " x ".join(map(str, header.shape_czyx))
                what = "a single plane" if planes > 1 or first[1] == 1 else "a stack of one channel"
                raise ImageRefused(f"its plane {name!r} is {size} px (CZYX), not {what} as large as the first one")
        return len(self.states), planes * first[1], *first[2:]

    def shape(self, headers: Sequence[Header]) -> Shape:
        """Shape (CZYX) of the channels that are taken; see `channels` and `whole_shape`."""
        return len(self.channels(headers[0]).states), *self.whole_shape(headers)[1:]

    def read(self, hashes: dict[str, str], accept: Accept, order: Sequence[str] = ()) -> JoinedStack:
        """Read its files, and join what they hold.

        Parameters
        ----------
        hashes
            takes in the sha256 of each file, before it is read.
        accept
            refuses what its pixels need not be decoded for.
        order
            of the states along C; where none is said, that of the file. Plane files are in the order of theirs.

        Raises
        ------
        ImageRefused
            A file is missing, damaged, changed while it was read, or not like the others.
        OSError
            The folder itself cannot be read just now.
        """
        headers: list[Header] = []
        pixels: list[Pixels] = []
        for place in self.names if self.states else self.names[:1]:
            with _opened(self.root / place, self.name) as held, ExitStack() as unchanged:
                for each, file in self._files(place, held, hashes).items():
                    hashes[each] = unchanged.enter_context(_unchanged(file))
                accept([held.header] * (len(self.names) if self.states else 1))
                headers.append(held.header)
                pixels.append(held.read())
        channels, shape = self.channels(headers[0]), self.shape(headers)
        if len(pixels) > 1:
            return JoinedStack(np.concatenate([one[0] for one in pixels]).reshape(shape), channels.states, headers)
        taken = dict(zip(channels.states, channels.places, strict=True))
        taken = {state: taken[state] for state in sorted(taken, key=_place_in(order))}
        (whole,), places = pixels, list(taken.values())
        joined = whole if places == list(range(len(whole))) else whole[places]
        return JoinedStack(joined, tuple(taken), headers)

    def _files(self, place: str, held: HeldStack, hashes: dict[str, str]) -> dict[str, Path]:
        """Find the files that pixels are read from, by their names; a folder that names its files is none itself."""
        path = self.root / place
        if not path.is_dir():
            return {place: path} | {other: self.root / other for other in (() if self.states else self.names[1:])}
        files = {below(self.root, path, file): file for file in held.files}
        if files:
            hashes.pop(place, None)
        return files


def first_header(root: Path, stack: FoundStack) -> Header:
    """Return what the first file of a stack says, opened where that is not known yet.

    Parameters
    ----------
    root
        folder that the names are below.
    stack
        where it lies.

    Raises
    ------
    ImageRefused
        It cannot be read.
    """
    if stack.files.fault:
        raise ImageRefused(stack.files.fault)
    if stack.header is not None:
        return stack.header
    return _header(root / stack.files.names[0], stack.name)


def headers_of(root: Path, stack: FoundStack) -> list[Header]:
    """Return what each file of a stack says that is opened for its pixels.

    Parameters
    ----------
    root
        folder that the names are below.
    stack
        where it lies.

    Raises
    ------
    ImageRefused
        One cannot be read.
    """
    if not stack.files.states or stack.files.fault:
        return [first_header(root, stack)]
    return [_header(root / name, stack.name) for name in stack.files.names]


def _header(path: Path, name: str) -> Header:
    with _opened(path, name) as held:
        return held.header


@contextmanager
def _opened(path: Path, name: str) -> Iterator[HeldStack]:
    """Open a stack, and refuse a file that cannot be read; where its whole folder is gone, that is another fault."""
    try:
        with opened_one(path, name) as held:
            yield held
    except GONE as error:
        if not path.parent.is_dir():
            raise
        raise ImageRefused(f"it was listed, but cannot be read any more ({error.strerror})") from error


@contextmanager
def _unchanged(path: Path) -> Iterator[str]:
    """Give the sha256 of a file that is then read, and refuse one that was changed meanwhile."""
    before = path.stat()
    yield _digest(path, before.st_size, before.st_mtime_ns)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageRefused("it was changed while it was read; read it again once it is whole")


@lru_cache(maxsize=1024)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    """Hash a file, once a process as long as it is the same: it may hold many fields, and be large."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _place_in(order: Sequence[str]) -> Callable[[str], int]:
    """Order of states, those that it does not name last."""
    return lambda state: next((nth for nth, one in enumerate(order) if one == state), len(order))
