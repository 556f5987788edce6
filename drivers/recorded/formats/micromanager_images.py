"""Folders of single images of Micro-Manager 1.4 and 2.0: `metadata.txt` says which image is which plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.formats import micromanager
from drivers.recorded.formats.micromanager import Place, Said
from drivers.recorded.formats.ome_tiff import inside
from drivers.recorded.formats.tiff_meaning import PixelMeaning
from drivers.recorded.formats.tiff_pages import Chain, frames, read_of_set, torn
from drivers.recorded.gathered import HeldPlane, channel_at, channel_names, gathered
from drivers.recorded.held import HeldStack, Source, explaining

METADATA = "metadata.txt"
_IMAGES = "img_*.tif"
_IMAGE_KEYS = "FrameKey-", "Metadata-"


def is_of(folder: Path) -> bool:
    """Whether Micro-Manager wrote images into a folder."""
    path = folder / METADATA
    if not path.is_file() or next(folder.glob(_IMAGES), None) is None:
        return False
    with path.open("rb") as stream:
        return b'"Summary"' in stream.read(1 << 16)


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a folder of images: a stack for each position and point in time.

    Raises
    ------
    ImageRefused
        Its metadata are damaged, or name files outside the folder.
    """
    assert isinstance(source, Path)
    said, told = _said((source / METADATA).read_bytes())
    summary = said.get("Summary", {})
    names = micromanager.channels_of(summary)
    order = channel_names(names, micromanager.count_of(summary, "Channels") or len(names))
    found: dict[tuple[int, int], list[tuple[Place, Said, Path]]] = {}
    for key, plane in said.items():
        if not key.startswith(_IMAGE_KEYS) or not isinstance(plane, dict):
            continue
        place = _place(key, plane, said, order)
        if place is None:
            raise ImageRefused(f"its {METADATA} does not say where {key!r} belongs; record it again")
        # The name is below the folder of the recording, or of the position.
        file = inside(source, PureWindowsPath(str(plane.get("FileName") or key.partition("-")[2])).name)
        found.setdefault((place.position, place.time), []).append((place, plane, file))
    if not found:
        raise ImageRefused(f"its {METADATA} names no image; record it again")
    called = micromanager.stack_names(summary, {key: planes[0][1] for key, planes in found.items()})
    named_files = {file for planes in found.values() for _, _, file in planes}
    strangers = sum(file not in named_files for file in source.glob(_IMAGES))
    if strangers:
        told = (*told, f"{strangers} of its images do not stand in {METADATA}")
    slices = micromanager.count_of(summary, "Slices")
    yield [
        _stack(planes, summary, order, slices, name, told) for planes, name in zip(found.values(), called, strict=True)
    ]


def _stack(
    found: Sequence[tuple[Place, Said, Path]],
    summary: Said,
    order: Sequence[str],
    slices: int,
    name: str,
    told: tuple[str, ...],
) -> HeldStack:
    there = next((file for _, _, file in found if file.is_file()), None)
    if there is None:
        raise ImageRefused(f"none of the images that its {METADATA} names is there; copy the whole folder")
    with explaining(f"{there.name} is damaged"), tifffile.TiffFile(there) as tiff:
        taken = frames(tiff.pages.first)
    planes = []
    for place, plane, file in found:
        named = plane.get("Channel") if place.channel >= len(order) else None
        channel = str(named or channel_at(order, place.channel))
        fault = "" if file.is_file() else f"{file.name} belongs to it and is missing; lay it beside it"
        stood = micromanager.stands(plane)
        planes.append(HeldPlane(channel, place.slice, partial(_read, file, taken.meaning), stood, file, fault))
    said = micromanager.header(taken.header, summary, found[0][1])
    said = replace(said, told=(*said.told, *told))
    return gathered(planes, said, channels=order, slices=slices, name=name)


def _read(file: Path, meaning: PixelMeaning, into: NDArray[np.uint16]) -> NDArray[np.uint16]:
    with explaining(f"{file.name} is damaged"), tifffile.TiffFile(file) as tiff:
        chain = Chain.of(tiff)
        if len(chain.offsets) != 1:
            raise ImageRefused(f"{file.name} holds {len(chain.offsets)} pages where it is one plane; write it again")
        page = chain.page(tiff, 0)
        fault = torn(page, 0, f" of {file.name}")
        if fault:
            raise ImageRefused(fault)
        return read_of_set(meaning, page, into)


def _said(content: bytes) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Parse metadata; those of a recording that was not ended lack their last brackets, or end within an entry."""
    text = content.decode("utf-8-sig", "replace").rstrip()
    unended = (micromanager.UNENDED,)
    for tried, told in ((text, ()), (text.rstrip(",") + "}", unended), (text[: text.rfind("}") + 1] + "}", unended)):
        try:
            return micromanager.said(tried), told
        except ImageRefused:
            if len(tried) > micromanager.MAX_JSON_BYTES:
                raise
    raise ImageRefused(f"its {METADATA} is damaged or cut off; copy it again")


def _place(key: str, plane: Said, said: Mapping[str, Any], order: Sequence[str]) -> Place | None:
    kind, _, rest = key.partition("-")
    coordinates = said.get(f"Coords-{rest}")
    if isinstance(coordinates, dict):
        at = [coordinates.get(axis, 0) for axis in ("channel", "z", "time", "position")]
        return Place(*at) if all(isinstance(one, int) and one >= 0 for one in at) else None
    place = micromanager.place(plane, list(order))
    numbers = rest.split("-")
    if place is None and kind == "FrameKey" and len(numbers) == 3 and all(one.isdecimal() for one in numbers):
        time, channel, plane_number = map(int, numbers)
        return Place(channel, plane_number, time, 0)
    return place
