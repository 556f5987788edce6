"""Image stack files of Micro-Manager 1.4 and 2.0: many planes a file, of one position or of several."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.formats import micromanager
from drivers.recorded.formats.micromanager import Place, Said
from drivers.recorded.formats.tiff_meaning import PixelMeaning
from drivers.recorded.formats.tiff_pages import Chain, frames, page_at, read_of_set, torn
from drivers.recorded.gathered import HeldPlane, channel_at, channel_names, gathered
from drivers.recorded.held import HeldStack

_INDEX, _INDEX_MAP, _SUMMARY = 54773648, 3453623, 2355492
_CONTINUED = re.compile(r"^(?P<first>.*_MMStack.*?)(?:_\d+)?(?P<suffix>(?:\.ome)?\.tif)$", re.IGNORECASE)


@dataclass(frozen=True)
class _StackPage:
    """A plane of a stack file: where it belongs, and the file and place of its page."""

    place: Place
    member: _Part
    offset: int
    nth: int

    def page(self) -> tifffile.TiffPage:
        """Read what the page says of itself."""
        return page_at(self.member.tiff, self.offset, self.nth)


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the files into which a recording was split, none: what was opened is not a file."""

    path: Path | None
    tiff: tifffile.TiffFile
    chain: Chain


def is_of(tiff: tifffile.TiffFile) -> bool:
    """Whether Micro-Manager wrote it, and says so."""
    handle = tiff.filehandle
    handle.seek(8)
    begins = handle.read(4)
    return len(begins) == 4 and not tiff.is_bigtiff and _integer(tiff, begins) == _INDEX and bool(_summary(tiff))


def stacks(tiff: tifffile.TiffFile, chain: Chain, path: Path | None) -> list[HeldStack]:
    """Give the stacks whose first plane lies in this file."""
    summary = _summary(tiff)
    own = _Part(path, tiff, chain)
    names = micromanager.channels_of(summary)
    entries = _entries(own, names)
    names = channel_names(names, micromanager.count_of(summary, "Channels") or len(names))
    slices = micromanager.count_of(summary, "Slices")
    found: dict[tuple[int, int], list[_StackPage]] = {}
    with ExitStack() as others:
        for entry in [*entries, *(e for other in _others(path, others) for e in _entries(other, names))]:
            found.setdefault((entry.place.position, entry.place.time), []).append(entry)
        mine = {
            key: of_key
            for key, of_key in found.items()
            if min(of_key, key=lambda one: (one.place.slice, one.place.channel)).member is own
        }
        called = micromanager.stack_names(
            summary, {key: micromanager.of_page(of_key[0].page()) for key, of_key in mine.items()}
        )
        return [
            _stack(of_key, own, summary, names, slices, name)
            for of_key, name in zip(mine.values(), called, strict=True)
        ]


def _stack(entries: list[_StackPage], own: _Part, summary: Said, names: list[str], slices: int, name: str) -> HeldStack:
    first = min((entry for entry in entries if entry.member is own), key=lambda one: one.offset)
    taken = frames(first.page())
    planes = []
    for entry in entries:
        page, path, channel = entry.page(), entry.member.path, entry.place.channel
        of = f" of {path.name}" if entry.member is not own and path else ""
        read = partial(_of_other, path, entry.offset, taken.meaning) if of else partial(taken.read, page)
        stands, fault = micromanager.stands(micromanager.of_page(page)), torn(page, entry.nth, of)
        planes.append(HeldPlane(channel_at(names, channel), entry.place.slice, read, stands, path, fault))
    said = micromanager.header(taken.header, summary, micromanager.of_page(taken.page))
    # A file that was not ended may hold whole stacks; none is known to be where nothing says how many planes it has.
    unended = own.chain.fault
    if unended and names and slices:
        said, unended = replace(said, told=(*said.told, micromanager.UNENDED)), ""
    return gathered(planes, said, channels=names, slices=slices, name=name, fault=unended)


def _summary(tiff: tifffile.TiffFile) -> Said:
    handle = tiff.filehandle
    handle.seek(32)
    header = handle.read(8)
    if len(header) < 8 or _integer(tiff, header[:4]) != _SUMMARY:
        return {}
    length = _integer(tiff, header[4:])
    if length > min(handle.size, micromanager.MAX_JSON_BYTES):
        return {}
    return micromanager.said(handle.read(length))


def _integer(tiff: tifffile.TiffFile, four: bytes) -> int:
    (value,) = struct.unpack(tiff.byteorder + "I", four)
    return int(value)


def _entries(member: _Part, names: list[str]) -> list[_StackPage]:
    """Say where each page belongs: as the index at the end of the file says, or, where none is, the pages."""
    tiff, chain = member.tiff, member.chain
    rows = enumerate([int(one) for one in row] for row in _index(tiff))
    entries = [_StackPage(Place(*row[:4]), member, row[4], nth) for nth, row in rows]
    if entries:
        return entries
    for nth in range(len(chain.offsets)):
        place = micromanager.place(micromanager.of_page(chain.page(tiff, nth)), names)
        if place is None and nth == len(chain.offsets) - 1 and chain.fault:
            break  # written when the recording stopped; it is missing
        if place is None:
            raise ImageRefused("its pages do not say where they belong; save it as OME-TIFF with Micro-Manager")
        entries.append(_StackPage(place, member, chain.offsets[nth], nth))
    return entries


def _index(tiff: tifffile.TiffFile) -> NDArray[np.uint32]:
    handle = tiff.filehandle
    none = np.empty((0, 5), np.uint32)
    handle.seek(12)
    offset = _integer(tiff, handle.read(4))
    if not 8 < offset < handle.size - 8:
        return none
    handle.seek(offset)
    header, count = _integer(tiff, handle.read(4)), _integer(tiff, handle.read(4))
    if header != _INDEX_MAP or offset + 8 + 20 * count > handle.size:
        return none
    return np.frombuffer(handle.read(20 * count), tiff.byteorder + "u4").reshape(-1, 5)


def _others(path: Path | None, opened: ExitStack) -> Iterator[_Part]:
    """Open the files beside this one in which the recording goes on, or began."""
    named = _CONTINUED.match(path.name) if path is not None else None
    if named is None or path is None:
        return
    for first in {named["first"], path.name[: -len(named["suffix"])]}:
        for nth in range(10_000):
            other = path.with_name(f"{first}{f'_{nth}' if nth else ''}{named['suffix']}")
            if not other.is_file():
                if nth:
                    break
                continue
            if other != path:
                tiff = opened.enter_context(tifffile.TiffFile(other))
                if is_of(tiff):
                    yield _Part(other, tiff, Chain.of(tiff))


def _of_other(path: Path | None, offset: int, meaning: PixelMeaning, into: NDArray[np.uint16]) -> NDArray[np.uint16]:
    if path is None:
        raise ImageRefused("a page is missing; complete it")
    with tifffile.TiffFile(path) as tiff:
        return read_of_set(meaning, page_at(tiff, offset, 0), into)
