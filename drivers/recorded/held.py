"""What a file or a folder of images holds: stacks, what is said of each, and their pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused

Source = Path | io.BytesIO
"""A file or a folder, or the bytes of a file that lies in an archive such as a zip."""
MAX_STACK_BYTES = 4 << 30
ADDED = ("czifile", "imagecodecs", "liffile", "nd2", "zarr")
ADDED_BY = 'add it with: pip install "lamelle[formats]"'
"""The packages that only some images need, and how they are installed."""
SAID = 200
"""So many characters of what a library says are passed on."""


def first_bytes(source: Source, count: int) -> bytes:
    """Read the beginning of a file."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:count]
    with source.open("rb") as stream:
        return stream.read(count)


@dataclass(frozen=True)
class Header:
    """What an image says of itself. Lengths in um; None, or no names, where it says nothing.

    Attributes
    ----------
    channels
        names of the states along C.
    position_um
        x and y of the frame's centre and z of the first plane, 0 where unknown.
    bits
        that a pixel of the camera has, where it says so.
    told
        what a person should know of how it was read, a clause each: turned upright, colours made grey.
    """

    shape_czyx: tuple[int, int, int, int]
    pixel_um: float | None = None
    step_um: float | None = None
    channels: tuple[str, ...] = ()
    position_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bits: int | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackParts:
    """What a stack lies in.

    Attributes
    ----------
    fault
        why it is not whole; empty where it is.
    files
        that it lies in, where these are others than the one that was opened.
    """

    fault: str = ""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class HeldStack:
    """A stack that an opened file or folder holds.

    Attributes
    ----------
    load
        decodes its pixels, uint16 CZYX, while the file is open.
    name
        of the position, series or scene; empty where there is only one.
    look
        looks for its parts. There may be thousands, so that this is done once somebody asks, for this stack alone.
    """

    header: Header
    load: Callable[[], NDArray[np.uint16]]
    name: str = ""
    look: Callable[[], StackParts] = StackParts

    @cached_property
    def _parts(self) -> StackParts:
        try:
            with explaining("it is damaged"):
                return self.look()
        except ImageRefused as error:
            return StackParts(str(error))

    @property
    def fault(self) -> str:
        """Why it is not whole; empty where it is."""
        return self._parts.fault

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it lies in, where these are others than the one that was opened."""
        return self._parts.files

    def read(self) -> NDArray[np.uint16]:
        """Decode its pixels, uint16 CZYX.

        Raises
        ------
        ImageRefused
            It is not whole, damaged, or not what is said of it.
        """
        if self.fault:
            raise ImageRefused(self.fault)
        with explaining("it is damaged"):
            pixels = self.load()
        if pixels.shape != self.header.shape_czyx or pixels.dtype != np.uint16:
            raise ImageRefused(
                f"its pixels are {pixels.shape} {pixels.dtype}, where it says {self.header.shape_czyx} (CZYX); "
                "it is damaged: write it again"
            )
        return pixels


def broken(name: str, fault: str) -> HeldStack:
    """Give a stack of which nothing is known but its name, and why it cannot be read."""

    def nothing() -> NDArray[np.uint16]:
        raise ImageRefused(fault)

    return HeldStack(Header((1, 1, 1, 1)), nothing, name, lambda: StackParts(fault))


def fault_of(error: ImageRefused | OSError) -> str:
    """Say why something cannot be read."""
    return str(error) if isinstance(error, ImageRefused) else f"it cannot be read ({error.strerror})"


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """On bytes that are no whole image the libraries raise whatever comes."""
    try:
        yield
    except (ImageRefused, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except ModuleNotFoundError as error:
        # tifffile asks the newest Python for what imagecodecs has for all.
        lacks = error.name if error.name in ADDED else "imagecodecs"
        raise ImageRefused(f"{lacks} is not installed, which this image needs; {ADDED_BY}") from error
    except MemoryError as error:
        raise ImageRefused("it is too large for the memory of this computer; split it") from error
    except Exception as error:
        said = " ".join(str(error).split())[:SAID] or type(error).__name__
        if "imagecodecs" in said:
            raise ImageRefused(f"imagecodecs is not installed, which this image needs; {ADDED_BY}") from error
        raise ImageRefused(f"{what} ({said})") from error
