"""What an entry keeps of its pixels, and its pixels read again: through the one reader of images, or from a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.dataset.field_file import read_field_file
from daemon.library.entry import LOOK_PX, Entry
from daemon.system.errors import DamagedFile
from drivers.errors import ImageRefused
from drivers.recorded.file_names import Polarizations
from drivers.recorded.held import Header
from drivers.recorded.images import opened, opened_one
from inference.classification.specimens import PICTURE, WHITES, SpecimenStack

Stack = NDArray[np.uint16]


@dataclass(frozen=True)
class FileStack:
    """A stack of a file: its name there, what the file says, its pixels CZYX, their states and places in the file."""

    name: str
    header: Header
    pixels: Stack
    states: tuple[str, ...]
    channels: tuple[int, ...]


def stacks_in(path: Path, polarizations: Polarizations) -> Iterator[FileStack]:
    """Read every stack of a file.

    Raises
    ------
    ImageRefused
        It is no image, damaged, or its channels are no polarizations.
    OSError
        It cannot be read just now.
    """
    with opened(path) as stacks:
        for stack in stacks:
            header = stack.header
            if header.shape_czyx[0] == 1 and not header.channels and not polarizations.states:
                yield FileStack(stack.name, header, stack.read(), (PICTURE,), (0,))
            else:
                taken = polarizations.among(header.channels or ("",) * header.shape_czyx[0], in_order=True)
                yield FileStack(stack.name, header, stack.read()[list(taken.places)], taken.states, taken.places)


def sha256_of_pixels(stack: Stack) -> str:
    """Hex sha256 of the shape and the pixels of a stack; whoever saved them, and how, does not matter."""
    digest = hashlib.sha256(repr(stack.shape).encode())
    digest.update(np.ascontiguousarray(stack, "<u2").data)
    return digest.hexdigest()


def look_of(stack: Stack, focus_plane: float | None = None) -> bytes:
    """Make the small picture of a stack: its last state, the plane in focus or else the middle one, black to white."""
    planes = stack.shape[1]
    plane = planes // 2 if focus_plane is None else min(max(round(focus_plane), 0), planes - 1)
    view = stack[-1, plane].astype(np.float32)
    low, high = float(view.min()), float(view.max())
    small = cv2.resize(view, (LOOK_PX, LOOK_PX), interpolation=cv2.INTER_AREA)
    return bytes(np.rint((small - low) * (255 / max(high - low, 1))).astype(np.uint8).data)


def read_specimen(entry: Entry, library: Path, white_dn: int) -> SpecimenStack:
    """Read the specimen of an entry again.

    Raises
    ------
    DamagedFile
        It is no longer there, or no longer what it was when it was taken in.
    """
    path = place_of(entry, library)
    try:
        if entry.origin == "object":
            with read_field_file(path) as file:
                row = next((row for row in file.objects if row.number == int(entry.stack)), None)
                if row is None:
                    raise DamagedFile(f"{path} holds no object {entry.stack}; build the library again")
                pixels: Stack = file.crop(row)
        else:
            with opened_one(path, entry.stack) as stack:
                pixels = stack.read()[list(entry.channels)]
    except (ImageRefused, OSError) as error:
        raise DamagedFile(
            f"{path}, which the library has as {entry.key}, cannot be read: {error}; put it back, or build again"
        ) from error
    if sha256_of_pixels(pixels) != entry.sha256:
        raise DamagedFile(
            f"{path} is not what the library took in as {entry.key}; put it back, or build again from {entry.root}"
        )
    return SpecimenStack(
        pixels,
        entry.states,
        pixel_um=entry.pixel_um,
        step_um=entry.step_um,
        focus_plane=entry.focus_plane,
        length_um=entry.length_um,
        width_um=entry.width_um,
        white_dn=white_dn,
    )


def place_of(entry: Entry, library: Path) -> Path:
    """Give the file of an entry: where it lay as seen from the library, or else where it lay."""
    near = library.joinpath(entry.near, *entry.name.split("/")) if entry.near else None
    return near if near is not None and near.exists() else Path(entry.root).joinpath(*entry.name.split("/"))


def whites_of(entries: Iterable[Entry]) -> dict[tuple[str, int | None], int]:
    """Give the value of a saturated pixel by source and bits: the least of a camera's that no pixel there is above.

    One for all pictures of a source, as a dim one among them may look like one of fewer bits.
    """
    most: dict[tuple[str, int | None], int] = {}
    for entry in entries:
        group = entry.source, entry.bits
        most[group] = max(entry.high_dn, most.get(group, 0))
    return {
        (source, bits): 255
        if bits == 8
        else next(white for white in (255, *WHITES)[bits is not None :] if high <= white)
        for (source, bits), high in most.items()
    }
