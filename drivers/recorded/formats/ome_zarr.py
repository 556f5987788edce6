"""OME-Zarr 0.4 and 0.5: folders of chunks, one image or many, with what they hold in JSON; other Zarr is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths, pixels
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.formats.zarr_images import (
    NEW,
    OLD,
    OLD_ARRAY,
    Said,
    ZarrImage,
    attributes_of,
    images_of,
    is_array,
)
from drivers.recorded.formats.zarr_pieces import check_pieces, check_unpacked, found_pieces
from drivers.recorded.gathered import HeldPlane, channel_names, check_count, gathered, own_frame, unlike
from drivers.recorded.held import Header, HeldStack, Source, StackParts, broken, explaining, fault_of

if TYPE_CHECKING:
    import zarr


def is_of(folder: Path) -> bool:
    """Whether a folder is an image, a series of images or a plate of OME-Zarr, or an array that nobody describes."""
    if not any((folder / name).is_file() for name in (OLD, OLD_ARRAY, NEW)):
        return False
    try:
        named = {"multiscales", "plate", "bioformats2raw.layout"} & attributes_of(folder).keys()
        return bool(named) or is_array(folder)
    except ImageRefused:
        return True  # opening it tells what is wrong with it


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open an OME-Zarr: a stack for each image, and for each point in time; one that cannot be read has a fault.

    Raises
    ------
    ImageRefused
        It is no OME-Zarr, zarr is not installed, or its only image is damaged or lies outside its folder.
    """
    assert isinstance(source, Path)
    with explaining("it is damaged, or no OME-Zarr"):
        if is_array(source):
            raise ImageRefused("it is a plain array of Zarr, and nothing says which axes it has; save it as OME-Zarr")
        import zarr  # noqa: F401 - what is not installed is told once, and not of each image

        images = images_of(source)
        if not images:
            raise ImageRefused("it holds no image; write it again")
        if len(images) == 1 and not images[0].fault:
            stacks = list(_of_image(images[0], ""))
        else:
            names = unlike([image.name for image in images])
            stacks = [one for name, image in zip(names, images, strict=True) for one in _each(image, name)]
    yield stacks


def _each(image: ZarrImage, name: str) -> list[HeldStack]:
    """Give the stacks of one image among others, or one with a fault."""
    try:
        with explaining("it is damaged"):
            if image.fault:
                raise ImageRefused(image.fault)
            return list(_of_image(image, name))
    except (ImageRefused, OSError) as error:
        return [broken(name, fault_of(error))]


def _of_image(image: ZarrImage, name: str) -> Iterator[HeldStack]:
    folder, scales = image.folder, image.scales
    dataset = scales["datasets"][0]
    path = inside(folder, str(dataset["path"]))
    import zarr

    if not is_array(path):
        raise ImageRefused(f"its array {dataset['path']!r} of {name or folder.name} is missing; copy the whole folder")
    array = zarr.open_array(path, mode="r")
    axes = [_axis_name(axis) for axis in scales.get("axes", "tczyx")]
    if len(axes) != array.ndim or axes[-2:] != ["y", "x"] or len(set(axes)) < len(axes):
        raise ImageRefused(f"its axes are {', '.join(axes)}, of {array.ndim}; y and x must be the last")
    if 0 in array.shape:
        raise ImageRefused(f"its array has the shape {array.shape}, and so no pixels; record it again")
    check_pieces(array)
    sizes = dict(zip(axes, array.shape, strict=True))
    scale, begin = _lengths(scales, dataset, axes)
    dtype = np.dtype(array.dtype).newbyteorder("=")
    frame = Header(
        (1, 1, sizes["y"], sizes["x"]),
        pixel_um=lengths.square(scale.get("x"), scale.get("y")),
        step_um=abs(scale["z"]) if scale.get("z") else None,
        bits=pixels.bits_of(dtype),
        told=(*pixels.told_of(dtype), *image.told),
    )
    labels = [str(one.get("label") or "") for one in attributes_of(folder).get("omero", {}).get("channels", ())]
    count = sizes.get("c", 1)
    labels = channel_names(labels, count)
    check_count(math.prod(array.shape[:-2]))
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
            planes.append(HeldPlane(labels[c], z, own_frame(partial(_read, array, path, where)), stands))
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


def _look(
    array: zarr.Array[Any],
    folder: Path,
    path: Path,
    places: Sequence[tuple[int, ...]],
    written: dict[Path, NDArray[np.bool_]],
) -> StackParts:
    """Find the files of a stack: those that say what its pixels are, and its pieces."""
    found = found_pieces(array, path, places, written)
    describing = (folder / OLD, folder / NEW, path / OLD_ARRAY, path / NEW)
    return StackParts(found.fault, (*(file for file in describing if file.is_file()), *found.files))


def _read(array: zarr.Array[Any], path: Path, where: tuple[int, ...]) -> NDArray[np.uint16]:
    check_unpacked(array, path, where)
    return pixels.exact(np.asarray(array[where]))
