"""The one reader of images: which stacks a file or a folder holds, what it says of them, and their pixels.

Whatever reads recorded images goes this way: replays, archives, training, evaluation. What a file says of itself and
what its pixels are come from one opening of it. Each format is a module with a context manager of its own.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from drivers.errors import ImageRefused
from drivers.recorded import pictures, tiff
from drivers.recorded.held import HeldStack, Source

SUFFIXES = (*pictures.SUFFIXES, *tiff.SUFFIXES)
TIFF_BEGINS = b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"


def holds_stacks(folder: Path) -> bool:  # noqa: ARG001 - no format is a folder yet
    """Whether a folder is a recording as a whole, which is opened as such and not looked into."""
    return False


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open an image, by what it is and not by what it is called; its stacks can be read until it is closed.

    Raises
    ------
    ImageRefused
        It is no image, or none that holds stacks of grey or colour planes.
    OSError
        It cannot be read just now.
    """
    with (tiff.opened if _first_bytes(source) in TIFF_BEGINS else pictures.opened)(source) as stacks:
        yield stacks


@contextmanager
def opened_one(source: Source, name: str = "") -> Iterator[HeldStack]:
    """Open the stack of an image that has this name, or the only one.

    Raises
    ------
    ImageRefused
        It is no image, holds no such stack, or, where none is named, several.
    OSError
        It cannot be read just now.
    """
    with opened(source) as stacks:
        found = [stack for stack in stacks if stack.name == name] if name else list(stacks)
        if len(found) != 1:
            names = ", ".join(stack.name for stack in stacks)
            raise ImageRefused(f"it holds {len(stacks)} images ({names}); say which")
        yield found[0]


def _first_bytes(source: Source) -> bytes:
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:4]
    with source.open("rb") as stream:
        return stream.read(4)
