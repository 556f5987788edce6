"""The one reader of images: which stacks a file or a folder holds, what it says of them, and their pixels.

Whatever reads recorded images goes this way: replays, archives, training, evaluation. What a file says of itself and
what its pixels are come from one opening of it. Each format is a module with a context manager of its own.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from drivers.errors import ImageRefused
from drivers.recorded.formats import micromanager_images, ndtiff, ome_tiff, ome_zarr, pictures, tiff, vendors
from drivers.recorded.held import HeldStack, Source, first_bytes

SUFFIXES = (*pictures.SUFFIXES, *tiff.SUFFIXES, *vendors.SUFFIXES)
FIRST_BYTES = 16
Format = Callable[[Source], AbstractContextManager[Sequence[HeldStack]]]


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
    with _format(source)(source) as stacks:
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


def holds_stacks(folder: Path) -> bool:
    """Whether a folder is a recording as a whole: NDTiff, single images of Micro-Manager, OME-Zarr.

    Raises
    ------
    OSError
        It cannot be read just now.
    """
    return _of_folder(folder) is not None


def _of_folder(folder: Path) -> Format | None:
    if ndtiff.folder_of(folder) is not None:
        return ndtiff.opened
    if micromanager_images.is_of(folder):
        return micromanager_images.opened
    if ome_zarr.is_of(folder):
        return ome_zarr.opened
    return None


def _format(source: Source) -> Format:
    if isinstance(source, Path) and source.is_dir():
        found = _of_folder(source)
        if found is None:
            raise ImageRefused("it is a folder that is no image as a whole; name a file in it")
        return found
    begins = first_bytes(source, FIRST_BYTES)
    if not begins:
        raise ImageRefused("it is empty; copy it again")
    if begins[:4] in tiff.BEGINS:
        return tiff.opened
    if begins.removeprefix(codecs.BOM_UTF8).startswith((b"<?xml", b"<OME")):
        return ome_tiff.opened_companion
    return vendors.format_of(begins) or pictures.opened
