"""From listed files to the stacks in them: several in one file, one in several, or plane files by their names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.file_names import Channels, NamePattern, Polarizations, StackFiles, group, natural
from drivers.recorded.held import Header, HeldStack
from drivers.recorded.images import SUFFIXES, opened, opened_one
from drivers.recorded.listing import printable

Shape = tuple[int, int, int, int]
GONE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True)
class FoundStack:
    """A stack, and where it lies.

    Attributes
    ----------
    files
        that it lies in; the first one is opened, where these are not plane files.
    name
        of the stack in a file that holds several.
    header
        what its first file says; None of plane files, which are not opened to be found, and of what cannot be read.
    """

    files: StackFiles
    name: str = ""
    header: Header | None = None


@dataclass
class FoundStacks:
    """The stacks of some files.

    Attributes
    ----------
    stacks
        in the order of the files.
    left_out
        why files are in no stack, by their names; those that go on with a stack which begins in another file are in it.
    """

    stacks: list[FoundStack] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_stacks(
    root: Path,
    names: Iterable[str],
    pattern: NamePattern | None,
    polarizations: Polarizations,
    *,
    in_order: bool = False,
    show: Callable[[int, int], None] | None = None,
) -> FoundStacks:
    """Find the stacks that files hold; each is opened for that, but for plane files, whose names say it.

    Parameters
    ----------
    root
        folder that the names are below.
    names
        of the files, in order.
    pattern
        how they are named; None for any name, each file by itself.
    polarizations
        which states there are.
    in_order
        whether words of one letter, or numbers, stand for the states in their order.
    show
        told how many of how many were opened.

    Raises
    ------
    SettingRefused
        A polarization is named that nobody said what it is.
    OSError
        The folder itself cannot be read just now.
    """
    found = FoundStacks()
    if pattern is None:
        places = [StackFiles(name.rpartition("/")[0], "", name, (name,)) for name in names]
    else:
        places, found.left_out = group(names, pattern, polarizations, in_order=in_order)
    empty: list[str] = []
    named: set[str] = set()
    for count, place in enumerate(places, 1):
        if place.fault or place.states:
            found.stacks.append(FoundStack(place))
            continue
        held = list(_held(root, place))
        found.stacks += held
        others = {name for stack in held for name in stack.files.names[1:]}
        named |= others
        if not held:
            empty.append(place.names[0])
        found.left_out |= _not_of(root, place.names[0], others)
        if show is not None:
            show(count, len(places))
    nothing = "it holds no stack of its own, and no other file there says that it belongs to it"
    found.left_out |= dict.fromkeys((name for name in empty if name not in named), nothing)
    return found


def _not_of(root: Path, name: str, files: set[str]) -> dict[str, str]:
    """Find the images in the folder of a recording that are none of its files."""
    if not files or not (root / name).is_dir():
        return {}
    beside = [path for path in sorted((root / name).iterdir()) if path.suffix.lower() in SUFFIXES]
    names = {printable(path.relative_to(root).as_posix()) for path in beside} - files
    return dict.fromkeys(sorted(names, key=natural), "it lies in the folder of a recording that does not name it")


def _held(root: Path, place: StackFiles) -> Iterator[FoundStack]:
    """Open a file for the stacks in it; where that fails it is one stack with a fault."""
    name = place.names[0]
    path = root / name
    try:
        with opened(path) as stacks:
            for one in stacks:
                others = [_below(root, path, other) for other in one.files if other != path]
                files = replace(place, names=(name, *others), fault=one.fault)
                yield FoundStack(files, one.name, one.header)
    except ImageRefused as error:
        yield FoundStack(replace(place, fault=str(error)))
    except GONE as error:
        if not path.parent.is_dir():
            raise
        yield FoundStack(replace(place, fault=f"it cannot be read ({error.strerror})"))


def _below(root: Path, source: Path, other: Path) -> str:
    """Name a further file of a stack below the root; a link may have led to where it lies."""
    if not other.is_relative_to(root):
        here = source if source.is_dir() else source.parent
        real = here.resolve()
        other = here / (other.relative_to(real) if other.is_relative_to(real) else other.name)
    return other.relative_to(root).as_posix()


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


def read_files(
    root: Path,
    names: Sequence[str],
    name: str,
    states: Sequence[str],
    hashes: dict[str, str],
    accept: Callable[[Header], object],
) -> tuple[list[Header], list[NDArray[np.uint16]]]:
    """Read the files of a stack: header and pixels of each that is opened.

    Parameters
    ----------
    root
        folder that the names are below.
    names
        of the files.
    name
        of the stack in a file that holds several.
    states
        those of plane files along C; none where the first file is opened, and holds the stack or begins it.
    hashes
        takes in the sha256 of each file, before it is read.
    accept
        refuses what its pixels need not be decoded for.

    Raises
    ------
    ImageRefused
        A file is missing, damaged, or changed while it was read.
    OSError
        The folder itself cannot be read just now.
    """
    headers, pixels = [], []
    for place in names if states else names[:1]:
        path = root / place
        with _opened(path, name) as held, ExitStack() as unchanged:
            if path.is_dir():
                inside = {_below(root, path, file): file for file in held.files}
                if inside:
                    hashes.pop(place, None)
            else:
                inside = {place: path} | {other: root / other for other in (() if states else names[1:])}
            for each, file in inside.items():
                hashes[each] = unchanged.enter_context(_unchanged(file))
            accept(held.header)
            headers.append(held.header)
            pixels.append(held.read())
    return headers, pixels


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


def shape_of_planes(names: Sequence[str], states: Sequence[str], headers: Sequence[Header]) -> Shape:
    """Shape of the stack that plane files make; each may also be the whole stack of a polarization.

    Parameters
    ----------
    names
        of the files.
    states
        along C.
    headers
        of each of the files.

    Raises
    ------
    ImageRefused
        They are not alike.
    """
    first = headers[0].shape_czyx
    planes = len(names) // len(states)
    for name, header in zip(names, headers, strict=True):
        if header.shape_czyx != first or first[0] > 1 or min(first[1], planes) > 1:
            size = " x ".join(map(str, header.shape_czyx))
            what = "a single plane" if planes > 1 or first[1] == 1 else "a stack of one channel"
            raise ImageRefused(f"its plane {name!r} is {size} px (CZYX), not {what} as large as the first one")
    return len(states), planes * first[1], *first[2:]


def joined(pixels: Sequence[NDArray[np.uint16]], channels: Channels, shape: Shape) -> NDArray[np.uint16]:
    """Join the pixels of files to a stack (CZYX) of the channels that are taken.

    Parameters
    ----------
    pixels
        of each of the files, CZYX.
    channels
        those that are taken.
    shape
        of the stack.
    """
    if len(pixels) > 1:
        return np.concatenate([one[0] for one in pixels]).reshape(shape)
    whole = pixels[0]
    return whole if channels.places == tuple(range(len(whole))) else whole[list(channels.places)]


def channels_of(header: Header, states: tuple[str, ...], polarizations: Polarizations) -> Channels:
    """Pick the channels of a stack that are polarizations.

    Parameters
    ----------
    header
        of its first file.
    states
        those of plane files along C; none for a file that says itself what it holds.
    polarizations
        which states there are.

    Raises
    ------
    ImageRefused
        It cannot be told which they are.
    """
    if states:
        return Channels(states, tuple(range(len(states))))
    return polarizations.among(header.channels or ("",) * header.shape_czyx[0], in_order=True)
