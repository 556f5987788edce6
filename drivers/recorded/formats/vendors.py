"""ND2 of Nikon, CZI of Zeiss, LIF of Leica, through the libraries that are made for them."""

from __future__ import annotations

import io
import itertools
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.file_names import natural
from drivers.recorded.formats.ome_tiff import parsed
from drivers.recorded.formats.unpacking import unpacks_to_more
from drivers.recorded.gathered import (
    HeldPlane,
    channel_at,
    channel_names,
    check_count,
    gathered,
    own_frame,
    told_apart,
    unlike,
)
from drivers.recorded.held import Header, HeldStack, Source, broken, explaining

SUFFIXES = (".nd2", ".czi", ".lif")
_METRE_UM = 1e6
_ZSTD, _ZSTD_WITH_HEADER = 5, 6


def format_of(begins: bytes) -> Callable[[Source], AbstractContextManager[Sequence[HeldStack]]] | None:
    """Find what opens a file that begins with these bytes; None where it is of none of them."""
    if begins.startswith(b"\xda\xce\xbe\x0a"):
        return opened_nd2
    if begins.startswith(b"ZISRAWFILE"):
        return opened_czi
    if begins.startswith(b"\x70\0\0\0"):
        return opened_lif
    return None


@contextmanager
def opened_nd2(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open an ND2: a stack for each position and point in time."""
    with explaining("it is damaged, or no ND2"):
        import nd2

        file = nd2.ND2File(_path(source))
    with file:
        with explaining("it is damaged, or no ND2"):
            stacks = list(_of_nd2(file))
        yield stacks


def _of_nd2(file: Any) -> Iterator[HeldStack]:
    sizes, said = dict(file.sizes), file.attributes
    names = [str(channel.channel.name) for channel in file.metadata.channels or ()]
    count = sizes.get("C", 1)
    names = channel_names(names, count)
    x_um, y_um, z_um = file.voxel_size()
    dtype = np.dtype(file.dtype)
    told = [*pixels.told_of(dtype), *([pixels.COLOURS] if file.is_rgb else [])]
    loops = [loop for loop in file.experiment if loop.type == "ZStackLoop"]
    if loops and not loops[0].parameters.bottomToTop:
        told.append("its planes run downward")
    frame = Header(
        (1, 1, sizes["Y"], sizes["X"]),
        pixel_um=lengths.square(x_um, y_um),
        step_um=abs(z_um) if z_um and "Z" in sizes else None,
        bits=min(said.bitsPerComponentSignificant, 16),
        told=tuple(told),
    )
    check_count(math.prod(size for axis, size in sizes.items() if axis not in "CYXS"))
    begins = _nd2_begins(file)
    found: dict[frozenset[tuple[str, int]], list[HeldPlane]] = {}
    for nth, at in enumerate(file.loop_indices):
        place = frozenset((_ND2_AXES.get(axis, axis), where) for axis, where in at.items() if axis != "Z")
        missing = "" if begins is None else _nd2_missing(file, begins.get(nth), nth)
        for c, channel in enumerate(names):
            read = own_frame(partial(_nd2_frame, file, nth, c if count > 1 else None))
            found.setdefault(place, []).append(HeldPlane(channel, at.get("Z", 0), read, fault=missing))
    called = unlike(told_apart([dict(sorted(place)) for place in found]))
    for name, planes in zip(called, found.values(), strict=True):
        yield gathered(planes, frame, channels=names, slices=sizes.get("Z", 1), name=name)


def _nd2_begins(file: Any) -> Mapping[int, int] | None:
    """Find where frames begin, by number; None in the oldest files.

    For those that are not there, or are cut off, nd2 gives black ones, and says where they lie only inside itself.
    """
    return getattr(file._rdr, "_frame_offsets", None)


def _nd2_missing(file: Any, begin: int | None, nth: int) -> str:
    if begin is None:
        return f"frame {nth + 1} is missing: it was not recorded to its end"
    packed = file.attributes.compressionType == "lossless"
    end = begin + (0 if packed else _nd2_bytes(file))
    return f"frame {nth + 1} is cut off; copy it again" if end > Path(file.path).stat().st_size else ""


def _nd2_bytes(file: Any) -> int:
    """Bytes of a frame, all channels."""
    said = file.attributes
    width = said.widthBytes or (said.widthPx or 1) * said.componentCount * said.bitsPerComponentInMemory // 8
    return int(said.heightPx * width)


def _check_nd2_unpacked(file: Any, nth: int) -> None:
    """Refuse a frame that unpacks to more than its pixels, before it is unpacked."""
    begins = _nd2_begins(file)
    if begins is None or file.attributes.compressionType != "lossless":
        return
    with Path(file.path).open("rb") as stream:
        stream.seek(begins[nth] - _ND2_HEAD_BYTES)
        _, name, length = struct.unpack("<IIQ", stream.read(16))
        most = _nd2_bytes(file)
        stream.seek(begins[nth] - _ND2_HEAD_BYTES + 16 + name + _ND2_TIME_BYTES)
        content = stream.read(min(length, 2 * most + 1024))
    if length > 2 * most + 1024 or unpacks_to_more("zlib", content, most):
        raise ImageRefused(f"its frame {nth + 1} unpacks to more than its pixels; it is damaged: write it again")


_ND2_HEAD_BYTES, _ND2_TIME_BYTES = 4096, 8
"""What lies before the pixels of a frame: its lengths and name, and when it was exposed, which ends the head."""
_ND2_AXES = {"P": "position", "T": "time"}


def _nd2_frame(file: Any, nth: int, c: int | None) -> NDArray[np.uint16]:
    _check_nd2_unpacked(file, nth)
    frame = np.asarray(file.read_frame(nth))
    if c is not None:
        frame = frame[c]
    if frame.ndim == 3:
        frame = pixels.grey(frame)
    return pixels.exact(frame)


@contextmanager
def opened_lif(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a LIF: a stack for each of its images, and for each point in time."""
    with explaining("it is damaged, or no LIF"):
        import liffile

        file = liffile.LifFile(source)
    with file:
        with explaining("it is damaged, or no LIF"):
            images = list(file.images)
            names = unlike([str(image.path) for image in images])
            stacks = [stack for name, image in zip(names, images, strict=True) for stack in _of_lif(image, name)]
        yield stacks


def _of_lif(image: Any, name: str) -> Iterator[HeldStack]:
    sizes: Mapping[str, int] = dict(image.sizes)
    dtype = np.dtype(image.dtype)
    colours = image.dims[-1] == "S"
    if tuple(image.dims[-3:-1] if colours else image.dims[-2:]) != ("Y", "X"):
        axes = ", ".join(image.dims)
        yield broken(name, f"its axes are {axes}; y and x must be the last")
        return
    step, extent = {}, image.coords
    for axis in ("X", "Y", "Z"):
        places = [float(one) * _METRE_UM for one in extent.get(axis, ())]
        step[axis] = (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else None
    resolutions = [one.get("Resolution") for one in image.xml_element.iter("ChannelDescription")]
    bits = [int(one) for one in resolutions if one and one.isdecimal()]
    told = [*pixels.told_of(dtype), *([pixels.COLOURS] if colours else [])]
    if step["Z"] and step["Z"] < 0:
        told.append("its planes run downward")
    frame = Header(
        (1, 1, sizes["Y"], sizes["X"]),
        pixel_um=lengths.square(step["X"], step["Y"]),
        step_um=abs(step["Z"]) if step["Z"] else None,
        bits=min(max(bits, default=16), pixels.bits_of(dtype)),
        told=tuple(told),
    )
    count = sizes.get("C", 1)
    channels = channel_names((), count)
    check_count(math.prod(size for axis, size in sizes.items() if axis not in "YXS"))
    others = [axis for axis in sizes if axis not in ("C", "Z", "Y", "X", "S")]
    for place in itertools.product(*(range(sizes[axis]) for axis in others)):
        at = dict(zip(others, place, strict=True))
        several = [f"{_LIF_AXES.get(axis, axis)} {where}" for axis, where in at.items() if sizes[axis] > 1]
        planes = [
            HeldPlane(channels[c], z, own_frame(partial(_lif_frame, image, at | {"C": c, "Z": z})))
            for c, z in itertools.product(range(count), range(sizes.get("Z", 1)))
        ]
        yield gathered(planes, frame, channels=channels, name=" ".join(filter(None, (name, *several))))


_LIF_AXES = {"T": "time", "M": "tile", "λ": "emission", "Λ": "excitation"}


def _lif_frame(image: Any, at: Mapping[str, int]) -> NDArray[np.uint16]:
    frame = np.asarray(image.frame(**{axis: where for axis, where in at.items() if axis in image.sizes}))
    return pixels.exact(pixels.grey(frame) if frame.ndim == 3 else frame)


@contextmanager
def opened_czi(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a CZI: a stack for each scene, tile and point in time."""
    with explaining("it is damaged, or no CZI"):
        import czifile

        file = czifile.CziFile(source if isinstance(source, io.BytesIO) else str(source))
    with file:
        with explaining("it is damaged, or no CZI"):
            stacks = list(_of_czi(file))
        yield stacks


def _of_czi(file: Any) -> Iterator[HeldStack]:
    root = parsed(file.metadata())
    image = root.find(".//Information/Image")
    said = {} if image is None else {child.tag: child.text or "" for child in image}
    names = [one.get("Name") or "" for one in root.iterfind(".//Information/Image/Dimensions/Channels/Channel")]
    if not any(names):
        # Channels that were put together from other images have their names only where it is said how they are shown.
        shown = [one.get("Name") or "" for one in root.iterfind(".//DisplaySetting/Channels/Channel")]
        names = shown if len(shown) == len(names) else names
    metres = {
        one.get("Id"): lengths.number(one.findtext("Value")) for one in root.iterfind(".//Scaling/Items/Distance")
    }
    x_um, y_um, z_um = (None if not metres.get(axis) else metres[axis] * _METRE_UM for axis in "XYZ")  # type: ignore[operator]
    bits = lengths.positive(said.get("ComponentBitCount"))
    found: dict[frozenset[tuple[str, int]], list[tuple[int, int, Any]]] = {}
    for entry in file.filtered_subblock_directory:
        at = {one.dimension: one for one in entry.dimension_entries}
        if any(one.size != one.stored_size for one in at.values()):
            continue  # a smaller copy
        if any(one.size > 1 for axis, one in at.items() if axis not in "XY0"):
            raise ImageRefused("its pieces hold several planes; save it as OME-TIFF")
        place = frozenset((_CZI_AXES.get(axis, axis), one.start) for axis, one in at.items() if axis not in "CZXY0")
        c, z = (at[axis].start if axis in at else 0 for axis in "CZ")
        found.setdefault(place, []).append((c, z, entry))
    if not found:
        raise ImageRefused("it holds no image; copy it again")
    count = int(lengths.positive(said.get("SizeC")) or 1)
    names = channel_names(names, count)
    called = unlike(told_apart([dict(sorted(place)) for place in found]))
    # Pieces lie in the order in which they were written.
    for name, entries in sorted(zip(called, found.values(), strict=True), key=lambda one: natural(one[0])):
        first = entries[0][2]
        dtype = np.dtype(first.dtype).base
        height, width = (next(one.size for one in first.dimension_entries if one.dimension == axis) for axis in "YX")
        colours = first.shape[first.axes.index("0")] > 1 if "0" in first.axes else False
        frame = Header(
            (1, 1, height, width),
            pixel_um=lengths.square(x_um, y_um),
            step_um=z_um,
            bits=min(int(bits or 16), pixels.bits_of(dtype)),
            told=(*pixels.told_of(dtype), *([pixels.COLOURS] if colours else [])),
        )
        planes = [HeldPlane(channel_at(names, c), z, own_frame(partial(_czi_plane, entry))) for c, z, entry in entries]
        slices = int(lengths.positive(said.get("SizeZ")) or 0)
        yield gathered(planes, frame, channels=names, slices=slices, name=name)


_CZI_AXES = {"S": "scene", "T": "time", "M": "tile", "V": "view", "H": "phase", "B": "block", "R": "rotation"}


def _czi_plane(entry: Any) -> NDArray[np.uint16]:
    segment, axes = entry.data_segment(), entry.axes
    if entry.compression in (_ZSTD, _ZSTD_WITH_HEADER):
        dtype = np.dtype(entry.dtype).base
        content = _unpacked(bytes(segment.data(raw=True)), entry.compression, math.prod(entry.shape) * dtype.itemsize)
        data = np.frombuffer(content, dtype).reshape(entry.shape)
        data = data[..., ::-1] if data.shape[-1] == 3 else data  # blue comes first
    else:
        data = np.asarray(segment.data(resize=False))
    data = data.reshape([size for axis, size in zip(axes, data.shape, strict=True) if axis in "YX0"])
    if data.ndim == 3:
        data = pixels.grey(data) if data.shape[-1] > 1 else data[..., 0]
    return pixels.exact(data)


def _unpacked(content: bytes, compression: int, length: int) -> bytes:
    """Decode what the library does not: Zstandard, perhaps with the high bytes of the pixels behind the low ones."""
    import imagecodecs

    header = content[0] if compression == _ZSTD_WITH_HEADER else 0
    apart = header == 3 and content[1] == 1 and bool(content[2] & 1)
    decoded = bytes(imagecodecs.zstd_decode(content[header:], out=length))
    return np.frombuffer(decoded, np.uint8).reshape(2, -1).T.tobytes() if apart else decoded


def _path(source: Source) -> Path:
    if isinstance(source, Path):
        return source
    raise ImageRefused("it cannot be read out of an archive; unpack it")
