"""From listed files to the stacks in them: several in one file, one in several, or plane files by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from drivers.errors import ImageRefused
from drivers.recorded.file_names import NamePattern, Polarizations, StackFiles, group, natural
from drivers.recorded.held import Header, fault_of
from drivers.recorded.images import SUFFIXES, opened
from drivers.recorded.listing import printable

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
                others = [below(root, path, other) for other in one.files if other != path]
                files = replace(place, names=(name, *others), fault=one.fault)
                yield FoundStack(files, one.name, one.header)
    except ImageRefused as error:
        yield FoundStack(replace(place, fault=str(error)))
    except GONE as error:
        if not path.parent.is_dir():
            raise
        yield FoundStack(replace(place, fault=fault_of(error)))


def below(root: Path, source: Path, other: Path) -> str:
    """Name a further file of a stack below the root; a link may have led to where it lies.

    Parameters
    ----------
    root
        folder that names are below.
    source
        what was opened.
    other
        a file that it lies in.
    """
    if not other.is_relative_to(root):
        here = source if source.is_dir() else source.parent
        real = here.resolve()
        other = here / (other.relative_to(real) if other.is_relative_to(real) else other.name)
    return other.relative_to(root).as_posix()
