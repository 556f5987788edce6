"""The pieces of an array of Zarr: in which files they lie, whether they are there, and how much they unpack to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.formats.unpacking import SAY, UNPACKERS, unpacks_to_more
from drivers.recorded.gathered import MAX_PLANES
from drivers.recorded.held import MAX_STACK_BYTES, StackParts

if TYPE_CHECKING:
    import zarr

_UNWRITTEN = np.iinfo(np.uint64).max
_FILTERS = frozenset(
    {"astype", "bitround", "crc32", "delta", "fixedscaleoffset", "fletcher32", "packbits", "quantize", "shuffle"}
) | {"transpose", "adler32", "jenkins_lookup3", "crc32c"}
"""What changes pixels before they are packed, and adds little or nothing to them."""
_WIDER = 8
"""So many times as wide they may be then."""
_SLACK_BYTES = 1024
"""For checksums and the like."""


class _Pieces(NamedTuple):
    """Pieces of a plane that lie in one file, which is a shard where there are several.

    Attributes
    ----------
    place
        in the file along all axes but y and x.
    rows
        of pieces in it, from the first.
    """

    file: Path
    place: tuple[int, ...]
    rows: int
    columns: int


def _pieces(array: zarr.Array[Any], path: Path, where: tuple[int, ...]) -> Iterator[_Pieces]:
    """Name the pieces of a plane, whether they are there or not."""
    depth, in_file = len(where), _in_file(array)
    counts = [-(-size // of) for size, of in zip(array.shape[depth:], array.chunks[depth:], strict=True)]
    place = [divmod(at // of, many) for at, of, many in zip(where, array.chunks, in_file, strict=False)]
    grid = [range(-(-count // many)) for count, many in zip(counts, in_file[depth:], strict=True)]
    for yx in itertools.product(*grid):
        key = array.metadata.encode_chunk_key((*(outer for outer, _ in place), *yx))
        ends = [min(many, count - at * many) for at, count, many in zip(yx, counts, in_file[depth:], strict=True)]
        yield _Pieces(path / key, tuple(inner for _, inner in place), *ends)


def found_pieces(
    array: zarr.Array[Any],
    path: Path,
    places: Sequence[tuple[int, ...]],
    written: dict[Path, NDArray[np.bool_]],
) -> StackParts:
    """Find the files of planes, and how many of their pieces are missing; Zarr takes those for black.

    Parameters
    ----------
    path
        of the array.
    places
        of the planes, along all axes but y and x.
    written
        takes in which pieces the files hold that were looked into.
    """
    pieces = dict.fromkeys(one for where in places for one in _pieces(array, path, where))
    total = missing = 0
    for one in pieces:
        if one.file not in written:
            written[one.file] = _written(array, one.file)
        there = written[one.file][one.place][: one.rows, : one.columns]
        total, missing = total + there.size, missing + there.size - int(there.sum())
    files = [file for file in dict.fromkeys(one.file for one in pieces) if written[file].any()]
    fault = f"{missing} of its {total} pieces are missing; copy it again, or write its black pieces, too"
    return StackParts(fault if missing else "", tuple(files))


def _in_file(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Count the pieces that lie in a file along each axis: one, but for shards."""
    return tuple(outer // of for outer, of in zip(array.shards or array.chunks, array.chunks, strict=True))


def _written(array: zarr.Array[Any], file: Path) -> NDArray[np.bool_]:
    """Find which of its pieces a file holds."""
    shape = _in_file(array)
    size = file.stat().st_size if file.is_file() else 0
    if array.shards is None:
        return np.broadcast_to(np.bool_(size > 0), shape)
    index = _index(array, file, size)
    return np.broadcast_to(np.bool_(False), shape) if index is None else (index != _UNWRITTEN).any(axis=-1)


def _index(array: zarr.Array[Any], file: Path, size: int) -> NDArray[np.uint64] | None:
    """Read begin and length of each piece in a shard, all ones where it was not written; None of a torn shard."""
    shape = _in_file(array)
    sharding: Any = array.metadata.codecs[0]  # type: ignore[union-attr]
    length = 16 * math.prod(shape)
    behind = length + 4 * (len(sharding.index_codecs) - 1)  # a checksum
    if size < behind:
        return None
    with file.open("rb") as stream:
        stream.seek(size - behind if sharding.index_location.value == "end" else 0)
        return np.frombuffer(stream.read(length), np.uint64).reshape(*shape, 2)


def check_pieces(array: zarr.Array[Any]) -> None:
    """Refuse pieces that are too large, too many, or packed so that it cannot be seen how much they unpack to.

    Raises
    ------
    ImageRefused
        They are.
    """
    if math.prod(array.shards or array.chunks) * array.dtype.itemsize > MAX_STACK_BYTES:
        raise ImageRefused(f"its pieces are {array.chunks}, each more than 4 GB; write it in smaller ones")
    in_files = math.prod(-(-size // of) for size, of in zip(array.shape, array.shards or array.chunks, strict=True))
    if in_files > MAX_PLANES:
        raise ImageRefused(f"it lies in {in_files} files, pieces of {array.chunks}; write it in larger ones")
    packed = _packed(array)
    unknown = [name for name in map(_name, array.filters) if name not in _FILTERS]
    if unknown or len(packed) > 1 or not set(packed) <= UNPACKERS.keys() | SAY:
        names = ", ".join((*unknown, *packed))
        raise ImageRefused(
            f"its pieces are packed with {names}, so that it cannot be seen how much they unpack to; write it with "
            "blosc, zstd or gzip"
        )


def check_unpacked(array: zarr.Array[Any], path: Path, where: tuple[int, ...]) -> None:
    """Refuse a plane of which a piece unpacks to more than its pixels, before it is unpacked.

    Parameters
    ----------
    path
        of the array.
    where
        the plane is along all axes but y and x.

    Raises
    ------
    ImageRefused
        One does.
    """
    most = math.prod(array.chunks) * array.dtype.itemsize * (_WIDER if array.filters else 1) + _SLACK_BYTES
    packed = next(iter(_packed(array)), "")
    for one in _pieces(array, path, where):
        for begin, length in _lying(array, one):
            too_much = length > 2 * most
            if not too_much and packed:
                with one.file.open("rb") as stream:
                    stream.seek(begin)
                    too_much = unpacks_to_more(packed, stream.read(length), most)
            if too_much:
                name = one.file.relative_to(path).as_posix()
                raise ImageRefused(f"its piece {name} unpacks to more than its pixels; it is damaged: write it again")


def _lying(array: zarr.Array[Any], pieces: _Pieces) -> Iterator[tuple[int, int]]:
    """Begin and length in their file of pieces that are there."""
    size = pieces.file.stat().st_size if pieces.file.is_file() else 0
    if array.shards is None:
        yield 0, size
        return
    index = _index(array, pieces.file, size)
    if index is not None:
        there = index[pieces.place][: pieces.rows, : pieces.columns].reshape(-1, 2)
        yield from ((int(begin), int(length)) for begin, length in there if length != _UNWRITTEN)


def _packed(array: zarr.Array[Any]) -> list[str]:
    """Name what packs the pieces, without a checksum behind."""
    names = [_name(one) for one in array.compressors]
    return names[:-1] if names and names[-1] == "crc32c" else names


def _name(codec: Any) -> str:
    """Name of a codec of Zarr, or of numcodecs, which Zarr knows by two names."""
    said = codec.to_dict() if hasattr(codec, "to_dict") else codec.get_config()
    return str(said.get("name", said.get("id"))).removeprefix("numcodecs.")
