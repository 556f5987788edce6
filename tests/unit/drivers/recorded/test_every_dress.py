"""Images in every dress, whole and damaged: right, or told in one sentence; never a wrong shape, never in silence."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.images import opened
from tests.support.micromanager_files import write_images, write_stacks
from tests.support.ndtiff_files import Place, write_ndtiff

CONTAINERS = ("plain", "shaped", "imagej", "ome", "ome of two", "stacks", "images", "ndtiff")
COMPRESSIONS = (None, "zlib", "lzw", "zstd", "packbits", "lzma", "deflate with a predictor")
LAYOUTS = ("strip", "strips", "tiles")
DTYPES = (np.uint8, np.uint16)
ORDERS = ("<", ">")
SHAPES = ((1, 1), (1, 3), (2, 1), (2, 3))
DRESSES = ("grey", "white is zero", "turned", "big")
DAMAGES = ("none", "none", "cut in the middle", "cut at the end", "without its last page", "a byte of its header")


class Case(NamedTuple):
    """What is written, and what is done to it."""

    container: str
    compression: str | None
    layout: str
    dtype: Any
    order: str
    states_and_planes: tuple[int, int]
    dress: str
    damage: str

    @property
    def name(self) -> str:
        return "-".join(str(getattr(one, "__name__", one)) for one in self)


def sampled(count: int) -> Iterator[Case]:
    """Draw from the product, each container and each damage equally often."""
    drawn = random.Random(20)
    for container, damage in itertools.islice(itertools.cycle(itertools.product(CONTAINERS, DAMAGES)), count):
        axes: list[Any] = [COMPRESSIONS, LAYOUTS, DTYPES, ORDERS, SHAPES, DRESSES]
        yield Case._make((container, *(drawn.choice(axis) for axis in axes), damage))


def write(case: Case, folder: Path) -> tuple[list[Path], list[NDArray[np.uint16]]]:
    """Write what a case says; also returns the stacks that are to be read of it, CZYX."""
    random_ = np.random.default_rng(len(case.name))
    count = 2 if case.container in ("ome of two", "stacks", "images", "ndtiff") else 1
    shape = (*case.states_and_planes, 32, 48)
    truth = [
        random_.integers(1, 4000 if case.dtype == np.uint16 else 255, shape).astype(case.dtype) for _ in range(count)
    ]
    names = [f"S{c}" for c in range(shape[0])]
    wide = [one.astype(np.uint16) for one in truth]
    positions = {f"Pos{nth}": one for nth, one in enumerate(wide)}
    if case.container == "stacks":
        return write_stacks(folder, positions, channels=names, one_file=case.dress == "big"), wide
    if case.container == "images":
        return write_images(folder, positions, channels=names, version=1 + (case.order == ">")), wide
    if case.container == "ndtiff":
        each = itertools.product(enumerate(truth), range(shape[1]), enumerate(names))
        planes: dict[Place, NDArray[Any]] = {
            (("position", position), ("z", z), ("channel", name)): np.ascontiguousarray(stack[c, z])
            for (position, stack), z, (c, name) in each
        }
        return [write_ndtiff(folder, planes)], wide
    options: dict[str, Any] = {"photometric": "minisblack", "compression": case.compression}
    if case.compression == "deflate with a predictor":
        options |= {"compression": "zlib", "predictor": True}
    layouts: dict[str, Any] = {"strip": {}, "strips": {"rowsperstrip": 5}, "tiles": {"tile": (16, 16)}}
    options |= layouts[case.layout]
    written = truth
    if case.container == "imagej":
        # ImageJ knows one strip, uncompressed, and its own order of bytes.
        options = {"photometric": "minisblack"}
    elif case.dress == "white is zero":
        options["photometric"] = "miniswhite"
        written = [(np.iinfo(case.dtype).max - one).astype(case.dtype) for one in truth]
    elif case.dress == "turned":
        options["extratags"] = [(274, 3, 1, 6, True)]
        written = [np.rot90(one, axes=(2, 3)) for one in truth]
    path = folder / f"a{'.ome' if case.container.startswith('ome') else ''}.tif"
    big = case.dress == "big" and case.container != "imagej"
    order: Any = None if case.container == "imagej" else case.order
    ome, imagej = case.container.startswith("ome"), case.container == "imagej"
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order, ome=ome or None, imagej=imagej) as writer:
        for stack in written:
            if case.container == "plain":
                for plane in stack.reshape(-1, *stack.shape[2:]):
                    writer.write(plane, metadata=None, contiguous=False, **options)
            else:
                axes = "ZCYX" if case.container == "imagej" else "CZYX"
                said: dict[str, Any] = {"axes": axes}
                if case.container.startswith("ome"):
                    said |= {"Channel": {"Name": names}}
                writer.write(stack.swapaxes(0, 1) if case.container == "imagej" else stack, metadata=said, **options)
    if case.container == "plain":
        wide = [one.reshape(1, -1, *shape[2:]) for one in wide]
    return [path], wide


def damage(case: Case, path: Path) -> bool:
    """Damage a file, or the first one of a folder; whether anything of it was lost."""
    file = path if path.is_file() else sorted(path.glob("*.tif"))[0]
    content = bytearray(file.read_bytes())
    if case.damage == "none":
        return False
    if case.damage == "cut in the middle":
        content = content[: len(content) * 6 // 10]
    elif case.damage == "cut at the end":
        content = content[:-700]
    elif case.damage == "without its last page":
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            offset = tiff.pages[-1].offset
        content = content[:offset]
    else:
        content[4] ^= 0x5A
    file.write_bytes(content)
    return True


@pytest.mark.parametrize("container", CONTAINERS)
def test_it_is_right_or_told(container: str, tmp_path: Path) -> None:
    cases = [case for case in sampled(200) if case.container == container]
    assert len(cases) >= 24
    for nth, case in enumerate(cases):
        folder = tmp_path / str(nth)
        folder.mkdir()
        is_right_or_told(case, folder)


def is_right_or_told(case: Case, tmp_path: Path) -> None:
    paths, truth = write(case, tmp_path)
    damaged = damage(case, paths[0])
    read: list[NDArray[np.uint16]] = []
    told = ""
    for path in paths:
        try:
            with opened(path) as stacks:
                for stack in stacks:
                    try:
                        read.append(stack.read())
                    except ImageRefused as error:
                        told = str(error)
        except ImageRefused as error:
            told = str(error)
    assert not told or (damaged and 10 < len(told) < 300 and "\n" not in told), (case.name, told)
    for one in read:
        assert any(np.array_equal(one, of_truth) for of_truth in truth), case.name
    assert told or len(read) == len(truth), case.name
