"""NDTiff of pycro-manager and Micro-Manager, versions 2 and 3: planes by axes of any name, in files with one index."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.file_names import natural
from drivers.recorded.formats import micromanager
from drivers.recorded.formats.micromanager import Said
from drivers.recorded.formats.ndtiff_index import INDEX, KINDS, Axes, IndexedPlane, axes_of, read_index
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.formats.tiff_pages import Chain, frames, quiet, torn
from drivers.recorded.gathered import HeldPlane, ReadInto, channel_at, gathered, own_frame, told_apart, unlike
from drivers.recorded.held import Header, HeldStack, Source, explaining

FULL = "Full resolution"
"""Folder of the frames where smaller copies of them are kept beside it."""
_AGAIN = "copy it again, or record it again where its recording was not ended"
_MAGIC, _SUMMARY = 483729, 2355492
_Z, _CHANNELS = ("z",), ("channel", "polarization")


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
    index = read_index(folder / INDEX)
    if not index.planes:
        with _opened_pages(folder, index.end) as stacks:
            yield stacks
        return
    entries = index.planes
    files = {name: inside(folder, name) for name in {entry.file for entry in entries}}
    sizes = {name: file.stat().st_size for name, file in files.items() if file.is_file()}
    with ExitStack() as closed:
        streams = {name: closed.enter_context(files[name].open("rb")) for name in sizes}
        summary = next((_summary(streams[name]) for name in sorted(sizes)), {})
        planes = [(one.axes, *_plane(one, files[one.file], streams.get(one.file), sizes)) for one in entries]
    more = [f"{name} holds more planes than its {INDEX} names" for name in sizes if _holds_more(name, entries, sizes)]
    more += [f"its {INDEX} does not name {path.name}" for path in _files(folder) if path not in files.values()]
    yield list(_stacks(planes, summary, next(iter(more), index.end)))


def _files(folder: Path) -> list[Path]:
    """Files of a dataset that lie in its folder, in order."""
    return sorted((path for path in folder.iterdir() if dataset_of(path)), key=lambda path: natural(path.name))


@contextmanager
def _opened_pages(folder: Path, end: str) -> Iterator[list[HeldStack]]:
    """Open a dataset whose index names nothing, as one that was killed, by what the pages of its files say."""
    found: list[_Found] = []
    with quiet(), ExitStack() as closed:
        with explaining(f"its {INDEX} names no plane, and its files are damaged"):
            paths = _files(folder)
            tiffs = [closed.enter_context(tifffile.TiffFile(path)) for path in paths]
            chains = [Chain.of(tiff) for tiff in tiffs]
            for path, chain in zip(paths[:-1], chains, strict=False):
                if chain.fault:
                    raise ImageRefused(f"its {INDEX} names no plane, and of {path.name} {chain.fault}")
            for path, tiff, chain in zip(paths, tiffs, chains, strict=True):
                found += _pages(tiff, chain, path)
            if not found:
                raise ImageRefused(f"its {INDEX} names no plane; {_AGAIN}")
            stacks = list(_stacks(found, _summary(tiffs[0].filehandle), end or f"its {INDEX} names no plane"))
        yield stacks


def is_of(tiff: tifffile.TiffFile) -> bool:
    """Whether a file is one of a dataset."""
    tiff.filehandle.seek(8)
    return not tiff.is_bigtiff and tiff.filehandle.read(4) == struct.pack(tiff.byteorder + "I", _MAGIC)


def of_pages(tiff: tifffile.TiffFile, chain: Chain) -> list[HeldStack]:
    """Read a file without its index, where its pages say what they are."""
    found = _pages(tiff, chain, None)
    if not found:
        raise ImageRefused(f"its {INDEX} is missing, which says what its pages are; lay it beside it")
    return list(_stacks(found, _summary(tiff.filehandle), chain.fault or f"its {INDEX} is missing"))


def _pages(tiff: tifffile.TiffFile, chain: Chain, path: Path | None) -> list[_Found]:
    """Read what pages say of themselves, up to the first that does not say what it is."""
    found: list[_Found] = []
    for nth in range(len(chain.offsets)):
        page = chain.page(tiff, nth)
        said = micromanager.of_page(page)
        axes = said.get("Axes")
        if not isinstance(axes, dict):
            break
        taken = frames(page)
        found.append((axes_of(axes), taken.header, said, partial(taken.read, page), torn(page, nth), path))
    return found


_Key = tuple[tuple[str, int | str | float], ...]
_Found = tuple[Axes, Header, Said, ReadInto, str, Path | None]


def _stacks(found: Sequence[_Found], summary: Said, end: str) -> Iterator[HeldStack]:
    """Gather the planes of each place; of what was recorded twice the later one holds.

    Parameters
    ----------
    found
        planes in the order in which they were recorded.
    end
        why there may be more of them; empty where there are none.
    """
    latest = {frozenset(one[0].items()): one for one in found}
    groups: dict[_Key, list[_Found]] = {}
    for one in latest.values():
        groups.setdefault(_key(one[0]), []).append(one)
    left = _left_behind([_key(one[0]) for one in found])
    expected = micromanager.count_of(summary, "Channels"), micromanager.count_of(summary, "Slices")
    names = unlike(told_apart([dict(key) for key in groups]))
    most = max(_sizes(group) for group in groups.values())
    # Where all but the last are alike, that was cut short; in recordings of one choice after the other, they differ.
    alike = {_sizes(group) for group in list(groups.values())[:-1]} == {most}
    order, numbers = _channels(found, summary)
    for name, (key, group) in zip(names, groups.items(), strict=True):
        planes = [
            HeldPlane(
                _channel(axes, order, numbers), lengths.number(_at(axes, _Z)) or 0.0, read, _stands(said), file, fault
            )
            for axes, _, said, read, fault, file in group
        ]
        frame, first = group[0][1], group[0][2]
        header = micromanager.header(frame, summary, first)
        fault, more, sizes = "", [end] if end else [], _sizes(group)
        if sizes != most:
            less = (
                f"it has {sizes[0]} channels of {sizes[1]} planes where others of its set have {most[0]} of {most[1]}"
            )
            if alike:
                fault = f"{less}: its recording was cut short; record it again"
            else:
                more.append(less)
        if end and not fault and not _is_ended(group, sizes, most, expected, left_behind=key in left):
            fault = f"{end}, and nothing says that this stack is whole; {_AGAIN}"
        header = replace(header, told=(*header.told, *more))
        used = [channel for channel in order if any(plane.channel == channel for plane in planes)]
        yield gathered(planes, header, channels=used, name=name, fault=fault)


def _key(axes: Axes) -> _Key:
    """Place of a stack along the axes that are neither channels nor planes."""
    return tuple(sorted(((axis, at) for axis, at in axes.items() if axis not in (*_Z, *_CHANNELS)), key=itemgetter(0)))


def _is_ended(
    group: Sequence[_Found],
    sizes: tuple[int, int],
    most: tuple[int, int],
    expected: tuple[int, int],
    *,
    left_behind: bool,
) -> bool:
    """Whether a stack is known to be whole in a recording that is not.

    What was recorded of each position before the second channel, or the second plane, was begun looks like whole stacks
    of one; so one is believed only where that is said, or there is no such axis.
    """
    if all(expected):
        return sizes == expected
    axes = {axis for one in group for axis in one[0]}
    return (
        left_behind
        and sizes == most
        and all(
            size == said if said else size > 1 or axes.isdisjoint(names)
            for size, said, names in zip(sizes, expected, (_CHANNELS, _Z), strict=True)
        )
    )


def _left_behind(keys: Sequence[_Key]) -> set[_Key]:
    """Find the stacks that were ended, as another one was begun behind their last plane."""
    first = {key: nth for nth, key in reversed(list(enumerate(keys)))}
    last = {key: nth for nth, key in enumerate(keys)}
    begun = max(first.values(), default=0)
    return {key for key, nth in last.items() if nth < begun}


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


def _holds_more(name: str, entries: Sequence[IndexedPlane], sizes: Mapping[str, int]) -> bool:
    """Whether there is room for a plane behind the last one that the index names."""
    last = max((entry for entry in entries if entry.file == name), key=lambda entry: entry.offset)
    end = max(last.offset + last.pixel_bytes, last.metadata_offset + last.metadata_bytes)
    return sizes[name] - end > last.pixel_bytes


def _plane(
    entry: IndexedPlane, file: Path, stream: BinaryIO | None, sizes: Mapping[str, int]
) -> tuple[Header, Said, ReadInto, str, Path | None]:
    if entry.kind not in KINDS or entry.compression:
        raise ImageRefused(f"its planes are of type {entry.kind}, compression {entry.compression}, which is not known")
    size = sizes.get(entry.file)
    _, bits, samples = KINDS[entry.kind]
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
        try:
            said = micromanager.said(stream.read(entry.metadata_bytes))
        except ImageRefused as error:
            fault = fault or f"{error}, in {entry.file}"
    told = (pixels.COLOURS,) if samples > 1 else ()
    header = Header((1, 1, entry.height, entry.width), bits=bits, told=told)
    return header, said, own_frame(partial(_read, entry, file)), fault, file


def _read(entry: IndexedPlane, file: Path) -> NDArray[np.uint16]:
    sample_bytes, _, samples = KINDS[entry.kind]
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
