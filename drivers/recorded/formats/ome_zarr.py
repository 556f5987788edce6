"""OME-Zarr 0.4 and 0.5: folders of chunks, one image or many, with what they hold in JSON; other Zarr is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.formats.micromanager import said
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.gathered import MAX_PLANES, HeldPlane, channel_names, check_count, gathered, unlike
from drivers.recorded.held import MAX_STACK_BYTES, Header, HeldStack, Source, StackParts, explaining

if TYPE_CHECKING:
    import zarr

_OLD, _OLD_ARRAY, _NEW = ".zattrs", ".zarray", "zarr.json"
Said = Mapping[str, Any]


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


def is_of(folder: Path) -> bool:
    """Whether a folder is an image, a series of images or a plate of OME-Zarr, or an array that nobody describes."""
    if not any((folder / name).is_file() for name in (_OLD, _OLD_ARRAY, _NEW)):
        return False
    try:
        named = {"multiscales", "plate", "bioformats2raw.layout"} & _attributes(folder).keys()
        return bool(named) or _is_array(folder)
    except ImageRefused:
        return True  # opening it tells what is wrong with it


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open an OME-Zarr: a stack for each image, and for each point in time.

    Raises
    ------
    ImageRefused
        It is damaged, names folders outside its own, is no OME-Zarr, or zarr is not installed.
    """
    assert isinstance(source, Path)
    with explaining("it is damaged, or no OME-Zarr"):
        if _is_array(source):
            raise ImageRefused("it is a plain array of Zarr, and nothing says which axes it has; save it as OME-Zarr")
        images = list(_images(source))
        if not images:
            raise ImageRefused("it holds no image; write it again")
        names = unlike([name for name, _, _ in images])
        stacks = [
            stack
            for name, (_, folder, scales) in zip(names, images, strict=True)
            for stack in _of_image(folder, scales, name)
        ]
    yield stacks


def _is_array(folder: Path) -> bool:
    if (folder / _NEW).is_file():
        return said((folder / _NEW).read_bytes()).get("node_type") == "array"
    return (folder / _OLD_ARRAY).is_file()


def _attributes(folder: Path) -> Said:
    """Read what a folder says of itself, old or new."""
    if (folder / _NEW).is_file():
        found = said((folder / _NEW).read_bytes()).get("attributes", {}).get("ome", {})
    elif (folder / _OLD).is_file():
        found = said((folder / _OLD).read_bytes())
    else:
        found = {}
    return found if isinstance(found, dict) else {}


def _images(folder: Path) -> Iterator[tuple[str, Path, Said]]:
    """Find the images below a folder: name, folder, and what is said of its sizes."""
    attributes = _attributes(folder)
    if "multiscales" in attributes:
        yield from _scales(folder)
    elif "plate" in attributes:
        for well in attributes["plate"]["wells"]:
            below = inside(folder, str(well["path"]))
            said_of_well = _attributes(below).get("well")
            if not said_of_well:
                raise ImageRefused(f"its well {well['path']} is missing; copy the whole folder")
            for field in said_of_well["images"]:
                yield from _scales(inside(below, str(field["path"])), f"{well['path']}/{field['path']}")
    else:
        listed = _attributes(folder / "OME").get("series")
        for name in listed or map(
            str, itertools.takewhile(lambda nth: (folder / str(nth)).is_dir(), itertools.count())
        ):
            yield from _scales(inside(folder, str(name)), str(name))


def _scales(folder: Path, name: str = "") -> Iterator[tuple[str, Path, Said]]:
    """Give the images that a folder says it holds, mostly one; several ways to shrink one image are one."""
    several: dict[str, Said] = {}
    attributes = _attributes(folder)
    if "image-label" in attributes:
        raise ImageRefused("it holds labels of what is in an image, and no light; name the image")
    for scales in attributes.get("multiscales", ()):
        several.setdefault(str(scales["datasets"][0]["path"]), scales)
    if not several:
        raise ImageRefused(f"its image {name or folder.name} is missing; copy the whole folder")
    for scales in several.values():
        own = str(scales.get("name") or "") if not name or len(several) > 1 else ""
        yield " ".join(filter(None, (name, own))), folder, scales


def _of_image(folder: Path, scales: Said, name: str) -> Iterator[HeldStack]:
    dataset = scales["datasets"][0]
    path = inside(folder, str(dataset["path"]))
    import zarr

    if not _is_array(path):
        raise ImageRefused(f"its array {dataset['path']!r} of {name or folder.name} is missing; copy the whole folder")
    array = zarr.open_array(path, mode="r")
    axes = [_axis_name(axis) for axis in scales.get("axes", "tczyx")]
    if len(axes) != array.ndim or axes[-2:] != ["y", "x"] or len(set(axes)) < len(axes):
        raise ImageRefused(f"its axes are {', '.join(axes)}, of {array.ndim}; y and x must be the last")
    if math.prod(array.shards or array.chunks) * array.dtype.itemsize > MAX_STACK_BYTES:
        raise ImageRefused(f"its pieces are {array.chunks}, each more than 4 GB; write it in smaller ones")
    sizes = dict(zip(axes, array.shape, strict=True))
    scale, begin = _lengths(scales, dataset, axes)
    dtype = np.dtype(array.dtype)
    frame = Header(
        (1, 1, sizes["y"], sizes["x"]),
        pixel_um=lengths.square(scale.get("x"), scale.get("y")),
        step_um=abs(scale["z"]) if scale.get("z") else None,
        bits=pixels.bits_of(dtype),
        told=pixels.told_of(dtype),
    )
    labels = [str(one.get("label") or "") for one in _attributes(folder).get("omero", {}).get("channels", ())]
    count = sizes.get("c", 1)
    labels = channel_names(labels, count)
    check_count(math.prod(array.shape[:-2]))
    in_files = math.prod(-(-size // of) for size, of in zip(array.shape, array.shards or array.chunks, strict=True))
    if in_files > MAX_PLANES:
        raise ImageRefused(f"it lies in {in_files} files, pieces of {array.chunks}; write it in larger ones")
    written: dict[Path, NDArray[np.bool_]] = {}
    others = [axis for axis in axes[:-2] if axis not in ("c", "z")]
    for place in itertools.product(*(range(sizes[axis]) for axis in others)):
        at = dict(zip(others, place, strict=True))
        several = [f"{'time' if axis == 't' else axis} {where}" for axis, where in at.items() if sizes[axis] > 1]
        planes, places = [], []
        for c, z in itertools.product(range(count), range(sizes.get("z", 1))):
            where = tuple((at | {"c": c, "z": z})[axis] for axis in axes[:-2])
            places.append(where)
            z_um = begin.get("z", 0.0) + z * (scale.get("z") or 0.0)
            stands = begin.get("x", 0.0), begin.get("y", 0.0), z_um
            planes.append(HeldPlane(labels[c], z, partial(_read, array, where), stands))
        called = " ".join(filter(None, (name, *several)))
        look = partial(_look, array, folder, path, places, written)
        yield gathered(planes, frame, channels=labels, name=called, look=look)


def _axis_name(axis: object) -> str:
    """Name of an axis, which some write in capitals."""
    return str(axis["name"] if isinstance(axis, dict) else axis).lower()


def _lengths(scales: Said, dataset: Said, axes: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Give the size of a pixel and the place of the first one, in um, by axis; without those that are no lengths."""
    scale, begin = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    said_scale = False
    for change in (*dataset.get("coordinateTransformations", ()), *scales.get("coordinateTransformations", ())):
        for axis, value in zip(axes, change.get("scale", ()), strict=False):
            scale[axis], begin[axis], said_scale = scale[axis] * value, begin[axis] * value, True
        for axis, value in zip(axes, change.get("translation", ()), strict=False):
            begin[axis] += value
    units = {
        _axis_name(axis): lengths.of_unit(axis.get("unit", ""))
        for axis in scales.get("axes", ())
        if isinstance(axis, dict) and said_scale
    }
    in_um = {axis: unit for axis, unit in units.items() if unit is not None}
    return (
        {axis: scale[axis] * unit for axis, unit in in_um.items()},
        {axis: begin[axis] * unit for axis, unit in in_um.items()},
    )


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


def _look(
    array: zarr.Array[Any],
    folder: Path,
    path: Path,
    places: Sequence[tuple[int, ...]],
    written: dict[Path, NDArray[np.bool_]],
) -> StackParts:
    """Find the files of a stack, and how many of its pieces are missing; Zarr takes those for black."""
    pieces = dict.fromkeys(one for where in places for one in _pieces(array, path, where))
    total = missing = 0
    for one in pieces:
        if one.file not in written:
            written[one.file] = _written(array, one.file)
        there = written[one.file][one.place][: one.rows, : one.columns]
        total, missing = total + there.size, missing + there.size - int(there.sum())
    files = [file for file in dict.fromkeys(one.file for one in pieces) if written[file].any()]
    fault = f"{missing} of its {total} pieces are missing; copy it again, or write its black pieces, too"
    return StackParts(fault if missing else "", (*_said_in(folder, path), *files))


def _in_file(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Count the pieces that lie in a file along each axis: one, but for shards."""
    return tuple(outer // of for outer, of in zip(array.shards or array.chunks, array.chunks, strict=True))


def _written(array: zarr.Array[Any], file: Path) -> NDArray[np.bool_]:
    """Find which of its pieces a file holds."""
    shape = _in_file(array)
    size = file.stat().st_size if file.is_file() else 0
    if array.shards is None:
        return np.broadcast_to(np.bool_(size > 0), shape)
    sharding: Any = array.metadata.codecs[0]  # type: ignore[union-attr]
    length = 16 * math.prod(shape)  # begin and length of each piece, all ones where it was not written, and a checksum
    behind = length + 4 * (len(sharding.index_codecs) - 1)
    if size < behind:
        return np.broadcast_to(np.bool_(False), shape)
    with file.open("rb") as stream:
        stream.seek(size - behind if sharding.index_location.value == "end" else 0)
        index = np.frombuffer(stream.read(length), np.uint64).reshape(*shape, 2)
    return np.asarray((index != np.iinfo(np.uint64).max).any(axis=-1))


def _said_in(folder: Path, path: Path) -> list[Path]:
    """Find the files that say what the pixels of an image are."""
    return [file for file in (folder / _OLD, folder / _NEW, path / _OLD_ARRAY, path / _NEW) if file.is_file()]


def _read(array: zarr.Array[Any], where: tuple[int, ...]) -> NDArray[np.uint16]:
    return pixels.exact(np.asarray(array[where]))
