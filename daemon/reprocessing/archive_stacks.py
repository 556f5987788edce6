"""From a field of an archive to its stack and all that is known of it; what is not known is refused, not guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.records.fields import ArchiveField
from daemon.reprocessing.archive import ArchiveSettings
from drivers.errors import ImageRefused, NotSaid
from drivers.recorded.file_names import Polarizations
from drivers.recorded.held import Header
from drivers.recorded.images import opened_one
from inference.views.channels import Scale

SMALLEST_VIEW_PX = 32
LARGEST_VIEW_PX = 4096 * 4096
"""Bounds of what the network looks at: nothing is found in less, and more takes gigabytes of memory."""
GONE = (FileNotFoundError, PermissionError, IsADirectoryError)


class Described(NamedTuple):
    """What a stack's pixels mean; `step_um` is 1 where there is only one plane."""

    shape_czyx: tuple[int, int, int, int]
    pixel_um: float
    step_um: float
    polarizations: tuple[str, ...]
    position_um: tuple[float, float, float]

    def view_px(self, sigma_um: float) -> tuple[int, int]:
        """Height and width of what the network looks at."""
        binning = Scale.of(self.pixel_um, sigma_um).binning
        return self.shape_czyx[2] // binning, self.shape_czyx[3] // binning


class ReadStack(NamedTuple):
    """A stack (uint16 CZYX), what it means, and when its first file was last written, UTC seconds since 1970."""

    pixels: NDArray[np.uint16]
    described: Described
    written_utc: float


def read_field(root: Path, field: ArchiveField, settings: ArchiveSettings, hashes: dict[str, str]) -> ReadStack:
    """Read a stack; `hashes` takes in the sha256 of each of its files as it is read.

    Raises
    ------
    ImageRefused
        A file is missing, damaged, too small, too large, or does not say what is needed.
    OSError
        The archive itself cannot be read just now.
    """
    if field.fault:
        raise ImageRefused(field.fault)
    headers, pixels = [], []
    for name in field.names:
        with _unchanged(root / name) as digest, opened_one(root / name, field.stack) as held:
            headers.append(held.header)
            pixels.append(held.read())
        hashes[name] = digest
    described = describe(field, headers, settings)
    stack = pixels[0] if len(pixels) == 1 else np.stack([plane[0, 0] for plane in pixels])
    written_utc = (root / field.names[0]).stat().st_mtime
    return ReadStack(stack.reshape(described.shape_czyx), described, written_utc)


def probe(root: Path, field: ArchiveField, settings: ArchiveSettings) -> Described:
    """Describe a stack by what its first file says.

    Raises
    ------
    ImageRefused
        That cannot be read, or does not say what is needed.
    """
    try:
        with opened_one(root / field.names[0], field.stack) as held:
            header = held.header
    except OSError as error:
        raise ImageRefused(f"it cannot be read ({error.strerror})") from error
    return describe(field, [header] * len(field.names), settings)


def describe(field: ArchiveField, headers: list[Header], settings: ArchiveSettings) -> Described:
    """Return what a stack's pixels mean, from what its files say and else the settings.

    Raises
    ------
    ImageRefused
        They do not say enough, or the stack cannot be analysed.
    """
    first = headers[0]
    shape = first.shape_czyx
    if field.states:
        shape = _shape_of_planes(field, headers)
    pixel_um = first.pixel_um or settings.pixel_um
    if pixel_um is None:
        raise NotSaid("it does not say how large its pixels are; give --pixel-um")
    step_um = first.step_um or settings.step_um
    if step_um is None and shape[1] > 1:
        raise NotSaid(f"it does not say how far apart its {shape[1]} planes are; give --step-um")
    channels = first.channels or ("",) * shape[0]
    states = field.states or Polarizations.of(settings.polarizations).among(channels, in_order=True)
    described = Described(shape, pixel_um, step_um or 1.0, states, first.position_um)
    _check_size(described, settings.focus.sigma_um)
    return described


def _shape_of_planes(field: ArchiveField, headers: list[Header]) -> tuple[int, int, int, int]:
    for name, header in zip(field.names, headers, strict=True):
        if header.shape_czyx != (1, 1, *headers[0].shape_czyx[2:]):
            size = " x ".join(map(str, header.shape_czyx))
            raise ImageRefused(f"its plane {name!r} is {size} px (CZYX), not a single plane as large as the first one")
    return len(field.states), len(field.names) // len(field.states), *headers[0].shape_czyx[2:]


def _check_size(described: Described, sigma_um: float) -> None:
    height, width = described.view_px(sigma_um)
    told = f"it is {described.shape_czyx[3]} x {described.shape_czyx[2]} px of {described.pixel_um:g} um"
    if min(height, width) < SMALLEST_VIEW_PX:
        raise ImageRefused(f"{told}, too small to find anything in")
    if height * width > LARGEST_VIEW_PX:
        raise ImageRefused(f"{told}, more than can be analysed at once; cut it into tiles")


@contextmanager
def _unchanged(path: Path) -> Iterator[str]:
    """Give the sha256 of a file that is then read, and refuse one that was changed meanwhile."""
    try:
        before = path.stat()
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        yield digest
        after = path.stat()
    except GONE as error:
        if not path.parent.is_dir():
            raise
        raise ImageRefused(f"it was listed, but cannot be read any more ({error.strerror})") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageRefused("it was changed while it was read; read it again once it is whole")
