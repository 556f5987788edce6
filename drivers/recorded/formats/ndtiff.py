"""NDTiff of pycro-manager and Micro-Manager, versions 2 and 3: planes by axes of any name, in files with one index."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.formats import micromanager
from drivers.recorded.formats.micromanager import Said
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.formats.tiff_pages import Chain, frames, torn
from drivers.recorded.gathered import HeldPlane, channel_at, gathered, told_apart, unlike
from drivers.recorded.held import Header, HeldStack, Source, explaining

INDEX = "NDTiff.index"
FULL = "Full resolution"
"""Folder of the frames where smaller copies of them are kept beside it."""
MAX_INDEX_BYTES = 256 << 20
_AGAIN = "copy it again, or record it again where its recording was not ended"
Axes = Mapping[str, int | str | float]
_MAGIC, _SUMMARY = 483729, 2355492
_Z, _CHANNELS = ("z",), ("channel", "polarization")
_KINDS = {0: (1, 8, 1), 1: (2, 16, 1), 2: (1, 8, 3), 3: (2, 10, 1), 4: (2, 12, 1), 5: (2, 14, 1), 6: (2, 11, 1)}
"""Bytes and bits of a sample, and samples of a pixel, by the number of its type."""


@dataclass(frozen=True)
class IndexedPlane:
    """A plane, as the index says."""

    axes: Axes
    file: str
    offset: int
    width: int
    height: int
    kind: int
    compression: int
    metadata_offset: int
    metadata_bytes: int

    @property
    def pixel_bytes(self) -> int:
        """How many bytes its pixels have."""
        sample_bytes, _, samples = _KINDS[self.kind]
        return self.width * self.height * sample_bytes * samples


def folder_of(folder: Path) -> Path | None:
    """Folder in which the index of a dataset lies; None for any other folder."""
    return next((one for one in (folder, folder / FULL) if (one / INDEX).is_file()), None)


def dataset_of(path: Path) -> Path | None:
    """Folder of the dataset that a file is of; None for any other file."""
    if not path.is_file() or not (path.parent / INDEX).is_file():
        return None
    with path.open("rb") as stream:
        begins = stream.read(12)
    return path.parent if begins[8:] in (struct.pack("<I", _MAGIC), struct.pack(">I", _MAGIC)) else None


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a dataset: a stack for each of its places along the axes that are neither channels nor planes.

    Raises
    ------
    ImageRefused
        Its index is damaged, or names files outside its folder.
    """
    folder = folder_of(source) if isinstance(source, Path) else None
    if folder is None:
        raise ImageRefused(f"it is no folder with an {INDEX}; copy the whole folder")
    entries, told = _read_index(folder / INDEX)
    files = {name: inside(folder, name) for name in {entry.file for entry in entries}}
    sizes = {name: file.stat().st_size for name, file in files.items() if file.is_file()}
    with ExitStack() as closed:
        streams = {name: closed.enter_context(files[name].open("rb")) for name in sizes}
        summary = next((_summary(streams[name]) for name in sorted(sizes)), {})
        planes = [(one.axes, *_plane(one, files[one.file], streams.get(one.file), sizes)) for one in entries]
    told += [f"{name} holds more planes than its {INDEX} names" for name in sizes if _holds_more(name, entries, sizes)]
    yield list(_stacks(planes, summary, told))


def is_of(tiff: tifffile.TiffFile) -> bool:
    """Whether a file is one of a dataset."""
    tiff.filehandle.seek(8)
    return not tiff.is_bigtiff and tiff.filehandle.read(4) == struct.pack(tiff.byteorder + "I", _MAGIC)


def of_pages(tiff: tifffile.TiffFile, chain: Chain) -> list[HeldStack]:
    """Read a file without its index, where its pages say what they are."""
    found = []
    for nth in range(len(chain.offsets)):
        page = chain.page(tiff, nth)
        said = micromanager.of_page(page)
        axes = said.get("Axes")
        if not isinstance(axes, dict):
            raise ImageRefused(f"its {INDEX} is missing, which says what its pages are; lay it beside it")
        taken = frames(page)
        found.append((_axes(axes), taken.header, said, partial(taken.read, page), torn(page, nth) or chain.fault, None))
    return list(_stacks(found, _summary(tiff.filehandle), [f"its {INDEX} is missing: planes at its end may be, too"]))


_Found = tuple[Axes, Header, Said, "partial[NDArray[np.uint16]]", str, Path | None]


def _stacks(found: Sequence[_Found], summary: Said, told: Sequence[str]) -> Iterator[HeldStack]:
    """Gather the planes of each place; of what was recorded twice the later one holds."""
    latest = {frozenset(one[0].items()): one for one in found}
    groups: dict[tuple[tuple[str, int | str | float], ...], list[_Found]] = {}
    for one in latest.values():
        key = tuple((axis, at) for axis, at in one[0].items() if axis not in (*_Z, *_CHANNELS))
        groups.setdefault(tuple(sorted(key, key=lambda pair: pair[0])), []).append(one)
    names = unlike(told_apart([dict(key) for key in groups]))
    most = max(_sizes(group) for group in groups.values())
    # Where all but the last are alike, that was cut short; in recordings of one choice after the other, they differ.
    alike = {_sizes(group) for group in list(groups.values())[:-1]} == {most}
    order, numbers = _channels(found, summary)
    for name, group in zip(names, groups.values(), strict=True):
        planes = [
            HeldPlane(
                _channel(axes, order, numbers), lengths.number(_at(axes, _Z)) or 0.0, read, _stands(said), file, fault
            )
            for axes, _, said, read, fault, file in group
        ]
        frame, first = group[0][1], group[0][2]
        header = micromanager.header(frame, summary, first)
        fault, more, sizes = "", list(told), _sizes(group)
        if sizes != most:
            less = (
                f"it has {sizes[0]} channels of {sizes[1]} planes where others of its set have {most[0]} of {most[1]}"
            )
            if alike:
                fault = f"{less}: its recording was cut short; record it again"
            else:
                more.append(less)
        header = replace(header, told=(*header.told, *more))
        used = [channel for channel in order if any(plane.channel == channel for plane in planes)]
        yield gathered(planes, header, channels=used, name=name, fault=fault)


def _sizes(group: Sequence[_Found]) -> tuple[int, int]:
    """Count the channels and the planes of a stack."""
    return len({_at(one[0], _CHANNELS, "") for one in group}), len({_at(one[0], _Z) for one in group})


def _channels(found: Sequence[_Found], summary: Said) -> tuple[list[str], list[int]]:
    """Names of the channels in their order, and their numbers where the axes say those."""
    names = micromanager.channels_of(summary)
    keys = list(dict.fromkeys(_at(one[0], _CHANNELS, "") for one in found))
    if not all(isinstance(key, int) for key in keys):
        found_names = [str(key) for key in keys]
        return sorted(found_names, key=lambda name: names.index(name) if name in names else len(names)), []
    numbers = sorted(int(key) for key in keys)
    said = {int(_at(one[0], _CHANNELS)): str(one[2]["Channel"]) for one in found if one[2].get("Channel")}
    if len(said) == len(numbers) == len(set(said.values())):
        return [said[number] for number in numbers], numbers
    return [channel_at(names, number) for number in numbers], numbers


def _channel(axes: Axes, order: Sequence[str], numbers: Sequence[int]) -> str:
    at = _at(axes, _CHANNELS, "")
    return order[numbers.index(at)] if isinstance(at, int) and at in numbers else str(at)


def _at(axes: Axes, names: Sequence[str], default: int | str = 0) -> int | str | float:
    return next((at for axis, at in axes.items() if axis in names), default)


def _stands(said: Said) -> tuple[float | None, float | None, float | None]:
    x, y, z = micromanager.stands(said)
    intended = [lengths.number(said.get(f"{axis}Position_um_Intended")) for axis in "XYZ"]
    return (
        x if x is not None else intended[0],
        y if y is not None else intended[1],
        z if z is not None else intended[2],
    )


def _axes(said: Mapping[object, object]) -> Axes:
    """Axes of a plane; their names as they are written by Micro-Manager and by Magellan."""
    axes: dict[str, int | str | float] = {}
    for name, at in said.items():
        if not isinstance(name, str) or not isinstance(at, int | str | float):
            raise ImageRefused(f"its {INDEX} says {name!r}: {at!r} of a plane, which is no place; it is damaged")
        axes[name] = at
    return axes


def _read_index(path: Path) -> tuple[list[IndexedPlane], list[str]]:
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise ImageRefused(f"its {INDEX} has more than 256 MB; split it")
    entries: list[IndexedPlane] = []
    content, at = path.read_bytes(), 0
    with explaining(f"its {INDEX} is damaged"):
        while at < len(content):
            texts: list[str] = []
            for _ in range(2):
                (length,) = struct.unpack_from("<I", content, at)
                if not length and not texts:
                    return entries, [micromanager.UNENDED]
                if at + 4 + length > len(content):
                    raise ImageRefused(f"its {INDEX} ends within an entry: it is cut off; {_AGAIN}")
                texts.append(content[at + 4 : at + 4 + length].decode("utf-8"))
                at += 4 + length
            if at + 32 > len(content):
                raise ImageRefused(f"its {INDEX} ends within an entry: it is cut off; {_AGAIN}")
            offset, width, height, kind, compression, metadata, length, _ = struct.unpack_from("<8I", content, at)
            at += 32
            axes = _axes(json.loads(texts[0]))
            entries.append(IndexedPlane(axes, texts[1], offset, width, height, kind, compression, metadata, length))
    if not entries:
        raise ImageRefused(f"its {INDEX} names no plane; {_AGAIN}")
    return entries, []


def _holds_more(name: str, entries: Sequence[IndexedPlane], sizes: Mapping[str, int]) -> bool:
    """Whether there is room for a plane behind the last one that the index names."""
    last = max((entry for entry in entries if entry.file == name), key=lambda entry: entry.offset)
    end = max(last.offset + last.pixel_bytes, last.metadata_offset + last.metadata_bytes)
    return sizes[name] - end > last.pixel_bytes


def _plane(
    entry: IndexedPlane, file: Path, stream: BinaryIO | None, sizes: Mapping[str, int]
) -> tuple[Header, Said, partial[NDArray[np.uint16]], str, Path | None]:
    if entry.kind not in _KINDS or entry.compression:
        raise ImageRefused(f"its planes are of type {entry.kind}, compression {entry.compression}, which is not known")
    size = sizes.get(entry.file)
    _, bits, samples = _KINDS[entry.kind]
    end = entry.offset + entry.pixel_bytes
    fault = ""
    if size is None:
        fault = f"{entry.file} belongs to it and is missing; lay it beside it"
    elif end > size:
        fault = f"{entry.file} is cut off; copy it again"
    if not entry.width or not entry.height:
        fault = "it has planes without pixels; record it again"
    said: Said = {}
    if size is not None and stream is not None and 0 < entry.metadata_bytes <= size - entry.metadata_offset:
        stream.seek(entry.metadata_offset)
        said = micromanager.said(stream.read(entry.metadata_bytes))
    told = (pixels.COLOURS,) if samples > 1 else ()
    header = Header((1, 1, entry.height, entry.width), bits=bits, told=told)
    return header, said, partial(_read, entry, file), fault, file


def _read(entry: IndexedPlane, file: Path) -> NDArray[np.uint16]:
    sample_bytes, _, samples = _KINDS[entry.kind]
    with file.open("rb") as stream:
        stream.seek(entry.offset)
        content = stream.read(entry.pixel_bytes)
    image = np.frombuffer(content, "<u2" if sample_bytes == 2 else "u1").reshape(entry.height, entry.width, samples)
    return (pixels.grey(image) if samples > 1 else image[..., 0]).astype(np.uint16)


def _summary(stream: BinaryIO | tifffile.FileHandle) -> Said:
    stream.seek(0)
    begins = stream.read(28)
    if len(begins) < 28:
        return {}
    # Version 2.0 says no minor version before the length.
    for at in (16, 20):
        magic, length = struct.unpack_from("<II", begins, at)
        if magic == _SUMMARY and length <= micromanager.MAX_JSON_BYTES:
            stream.seek(at + 8)
            return micromanager.said(stream.read(length))
    return {}
