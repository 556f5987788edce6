"""From a field of an archive to its stack and all that is known of it; what is not known is refused, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.records.fields import ArchiveField
from daemon.reprocessing.archive import Archive, ArchiveSettings
from drivers.errors import ImageRefused, NotSaid
from drivers.recorded.file_names import Polarizations
from drivers.recorded.held import Header
from drivers.recorded.reading import StoredStack
from inference.views.channels import Scale

SMALLEST_VIEW_PX = 32
LARGEST_VIEW_PX = 4096 * 4096
"""Bounds of what the network looks at: nothing is found in less, and more takes gigabytes of memory."""


class Described(NamedTuple):
    """What a stack's pixels mean.

    Attributes
    ----------
    step_um
        distance of its planes; 1 where there is only one.
    bits
        that a pixel of the camera has; None where nobody says.
    told
        what a person should know of how it is read, a clause each.
    """

    shape_czyx: tuple[int, int, int, int]
    pixel_um: float
    step_um: float
    polarizations: tuple[str, ...]
    position_um: tuple[float, float, float]
    bits: int | None = None
    told: tuple[str, ...] = ()

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

    stored = stored_stack(root, field, settings)
    read = stored.read(hashes, lambda headers: describe(field, headers, stored, settings))
    described = describe(field, read.headers, stored, settings)
    return ReadStack(read.pixels, described, (root / field.names[0]).stat().st_mtime)


def stored_stack(root: Path, field: ArchiveField, settings: ArchiveSettings) -> StoredStack:
    """Give a field's stack in its files."""
    return StoredStack(root, field.names, Polarizations.of(settings.polarizations), field.states, field.stack)


def probe(archive: Archive, field: ArchiveField, settings: ArchiveSettings) -> Described:
    """Describe a stack by what its first file says.

    Raises
    ------
    ImageRefused
        That cannot be read, or does not say what is needed.
    """
    try:
        header = archive.header(field)
    except OSError as error:
        raise ImageRefused(f"it cannot be read ({error.strerror})") from error
    return describe(field, [header] * len(field.names), stored_stack(archive.root, field, settings), settings)


def describe(field: ArchiveField, headers: list[Header], stored: StoredStack, settings: ArchiveSettings) -> Described:
    """Return what a stack's pixels mean, from what its files say and else the settings.

    Parameters
    ----------
    headers
        of its plane files, or of the file that holds it.

    Raises
    ------
    ImageRefused
        They do not say enough, or the stack cannot be analysed.
    """
    first = headers[0]
    channels, shape = stored.channels(first), stored.shape(headers)
    pixel_um = _pixel_um(first, settings)
    step_um = _step_um(first, shape[1], settings)
    left_out = tuple(f"channel {name!r} is left out, as it is no polarization" for name in channels.left_out)
    told = tuple(dict.fromkeys((*field.told, *(clause for header in headers for clause in header.told), *left_out)))
    at = first.position_um
    described = Described(shape, pixel_um, step_um, channels.states, at, first.bits, told)
    _check_size(described, settings.focus.sigma_um)
    return described


def not_said(headers: list[Header], stored: StoredStack, settings: ArchiveSettings) -> list[str]:
    """List what neither the files of a stack say nor the settings, a sentence each with the option that says it."""
    first, planes = headers[0], stored.whole_shape(headers)[1]
    asked: list[Callable[[], object]] = [
        lambda: _pixel_um(first, settings),
        lambda: _step_um(first, planes, settings),
        lambda: stored.channels(first),
    ]
    sentences = []
    for ask in asked:
        try:
            ask()
        except ImageRefused as error:
            sentences.append(str(error))
    return sentences


def _pixel_um(first: Header, settings: ArchiveSettings) -> float:
    pixel_um = first.pixel_um or settings.pixel_um
    if pixel_um is None:
        raise NotSaid("it does not say how large its pixels are; give --pixel-um")
    return pixel_um


def _step_um(first: Header, planes: int, settings: ArchiveSettings) -> float:
    step_um = first.step_um or settings.step_um
    if step_um is None and planes > 1:
        raise NotSaid(f"it does not say how far apart its {planes} planes are; give --step-um")
    return step_um or 1.0


def _check_size(described: Described, sigma_um: float) -> None:
    height, width = described.view_px(sigma_um)
    told = f"it is {described.shape_czyx[3]} x {described.shape_czyx[2]} px of {described.pixel_um:g} um"
    if min(height, width) < SMALLEST_VIEW_PX:
        raise ImageRefused(f"{told}, too small to find anything in")
    if height * width > LARGEST_VIEW_PX:
        raise ImageRefused(f"{told}, more than can be analysed at once; cut it into tiles")
