"""OME-Zarr 0.4 and 0.5: folders of chunks, one image or many, with what they hold in JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.formats.micromanager import said
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.gathered import HeldPlane, channel_names, check_count, gathered, unlike
from drivers.recorded.held import MAX_STACK_BYTES, Header, HeldStack, Source, explaining

if TYPE_CHECKING:
    import zarr

_OLD, _NEW = ".zattrs", "zarr.json"
Said = Mapping[str, Any]


def is_of(folder: Path) -> bool:
    """Whether a folder is an image, a series of images or a plate of OME-Zarr."""
    if not any((folder / name).is_file() for name in (_OLD, _NEW)):
        return False
    try:
        return bool({"multiscales", "plate", "bioformats2raw.layout"} & _attributes(folder).keys())
    except ImageRefused:
        return True  # opening it tells what is wrong with it


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open an OME-Zarr: a stack for each image, and for each point in time.

    Raises
    ------
    ImageRefused
        It is damaged, names folders outside its own, or zarr is not installed.
    """
    assert isinstance(source, Path)
    with explaining("it is damaged, or no OME-Zarr"):
        images = list(_images(source))
        if not images:
            raise ImageRefused("it holds no image; write it again")
        names = unlike([name for name, _ in images])
        stacks = [stack for name, (_, folder) in zip(names, images, strict=True) for stack in _of_image(folder, name)]
    yield stacks


def _attributes(folder: Path) -> Said:
    """Read what a folder says of itself, old or new."""
    if (folder / _NEW).is_file():
        found = said((folder / _NEW).read_bytes()).get("attributes", {}).get("ome", {})
    elif (folder / _OLD).is_file():
        found = said((folder / _OLD).read_bytes())
    else:
        found = {}
    return found if isinstance(found, dict) else {}


def _images(folder: Path) -> Iterator[tuple[str, Path]]:
    """Find the images below a folder, with their names."""
    attributes = _attributes(folder)
    if "multiscales" in attributes:
        yield str(attributes["multiscales"][0].get("name") or ""), folder
    elif "plate" in attributes:
        for well in attributes["plate"]["wells"]:
            below = inside(folder, str(well["path"]))
            for field in _attributes(below).get("well", {}).get("images", ()):
                yield f"{well['path']}/{field['path']}", inside(below, str(field["path"]))
    else:
        listed = _attributes(folder / "OME").get("series")
        for name in listed or map(
            str, itertools.takewhile(lambda nth: (folder / str(nth)).is_dir(), itertools.count())
        ):
            yield str(name), inside(folder, str(name))


def _of_image(folder: Path, name: str) -> Iterator[HeldStack]:
    attributes = _attributes(folder)
    if not attributes.get("multiscales"):
        raise ImageRefused(f"its image {name or folder.name} is missing; copy the whole folder")
    scales = attributes["multiscales"][0]
    dataset = scales["datasets"][0]
    path = inside(folder, str(dataset["path"]))
    import zarr

    array = zarr.open_array(path, mode="r")
    axes = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in scales.get("axes", "tczyx")]
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
    labels = [str(one.get("label") or "") for one in attributes.get("omero", {}).get("channels", ())]
    count = sizes.get("c", 1)
    labels = channel_names(labels, count)
    check_count(math.prod(array.shape[:-2]))
    others = [axis for axis in axes[:-2] if axis not in ("c", "z")]
    for place in itertools.product(*(range(sizes[axis]) for axis in others)):
        at = dict(zip(others, place, strict=True))
        several = [f"{'time' if axis == 't' else axis} {where}" for axis, where in at.items() if sizes[axis] > 1]
        planes = []
        pieces: list[Path] = []
        for c, z in itertools.product(range(count), range(sizes.get("z", 1))):
            where = tuple((at | {"c": c, "z": z})[axis] for axis in axes[:-2])
            pieces += _pieces(array, path, where)
            height = begin.get("z", 0.0) + z * (scale.get("z") or 0.0)
            stands = begin.get("x", 0.0), begin.get("y", 0.0), height
            planes.append(HeldPlane(labels[c], z, partial(_read, array, where), stands))
        files = [piece for piece in dict.fromkeys(pieces) if piece.is_file()]
        missing = len(set(pieces)) - len(files)
        # Zarr takes what is not there for black.
        fault = f"{missing} of its {len(set(pieces))} pieces are missing; copy it again, or write its black pieces, too"
        called = " ".join(filter(None, (name, *several)))
        stack = gathered(planes, frame, channels=labels, name=called, fault=fault if missing else "")
        yield replace(stack, files=(*_said_in(folder, path), *files))


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
        axis["name"]: lengths.of_unit(axis.get("unit", ""))
        for axis in scales.get("axes", ())
        if isinstance(axis, dict) and said_scale
    }
    in_um = {axis: unit for axis, unit in units.items() if unit is not None}
    return (
        {axis: scale[axis] * unit for axis, unit in in_um.items()},
        {axis: begin[axis] * unit for axis, unit in in_um.items()},
    )


def _pieces(array: zarr.Array[Any], path: Path, where: tuple[int, ...]) -> list[Path]:
    """Name the files of a plane, whether they are there or not."""
    piece = array.shards or array.chunks
    depth = len(where)
    begin = [at // size for at, size in zip(where, piece, strict=False)]
    grid = [range(-(-size // of)) for size, of in zip(array.shape[depth:], piece[depth:], strict=True)]
    keys = [array.metadata.encode_chunk_key((*begin, *place)) for place in itertools.product(*grid)]
    return [path.joinpath(*key.split("/")) for key in keys]


def _said_in(folder: Path, path: Path) -> list[Path]:
    """Find the files that say what the pixels of an image are."""
    return [file for file in (folder / _OLD, folder / _NEW, path / ".zarray", path / _NEW) if file.is_file()]


def _read(array: zarr.Array[Any], where: tuple[int, ...]) -> NDArray[np.uint16]:
    return pixels.exact(np.asarray(array[where]))
