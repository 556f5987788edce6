"""OME-TIFF: which page of which file is which plane, as its XML says."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths
from drivers.recorded.formats.tiff_meaning import PixelMeaning
from drivers.recorded.formats.tiff_pages import Chain, Frames, decoded, frames, read_of_set, torn
from drivers.recorded.gathered import HeldPlane, ReadInto, channel_names, check_count, gathered, unlike
from drivers.recorded.held import Header, HeldStack, Source, explaining

MAX_XML_BYTES = 64 << 20
Element = ElementTree.Element
At = tuple[int, int, int]
"""C, Z and T."""
Stands = tuple[float | None, float | None, float | None]
"""X, y and z of the stage in um."""


@dataclass(frozen=True)
class Where:
    """A page, from 0, of a file; no file: of this one."""

    page: int
    file: str = ""


@dataclass(frozen=True)
class _Set:
    """The file that was opened, and how it is called; others belong to it unless it is `alone` or has no path."""

    tiff: tifffile.TiffFile
    chain: Chain
    path: Path | None
    uuid: str
    alone: bool

    def is_own(self, uuid: Element | None) -> bool:
        """Whether planes with this identifier lie in the file that was opened."""
        if uuid is None or self.alone or (self.uuid and (uuid.text or "").strip() == self.uuid):
            return True
        return self.path is not None and uuid.get("FileName") == self.path.name

    def found(self, where: Where, taken: Frames) -> tuple[Path | None, str, ReadInto]:
        """Give the file of a plane, what is wrong with it, and what reads it."""
        if where.file:
            file = None if self.path is None else inside(self.path.parent, where.file)
            there = file is not None and file.is_file()
            fault = "" if there else f"{where.file} belongs to it and is missing; lay it beside it"
            return file, fault, partial(_of_other, file, where.page, taken.meaning)
        if where.page >= len(self.chain.offsets):
            fault = f"it holds {len(self.chain.offsets)} pages where its XML says more: it is cut off; copy it again"
            return self.path, fault, partial(_of_other, None, where.page, taken.meaning)
        page = self.chain.page(self.tiff, where.page)
        return self.path, torn(page, where.page), decoded(page, taken)


def stacks(tiff: tifffile.TiffFile, chain: Chain, path: Path | None) -> list[HeldStack]:
    """Give the stacks of an OME-TIFF whose first plane lies in it."""
    root = parsed(tiff.pages.first.description)
    described = _described(root, path)
    images = [image for image in described.iterfind("{*}Image") if image.find("{*}Pixels") is not None]
    if not images:
        raise ImageRefused("its XML names no image; write it again")
    named = {uuid.get("FileName") for image in images for uuid in image.iterfind("{*}Pixels/{*}TiffData/{*}UUID")}
    # A single file that says what it holds itself may have been renamed.
    set_ = _Set(tiff, chain, path, root.get("UUID", ""), alone=len(named) == 1 and described is root)
    names = unlike([image.get("Name", "") for image in images])
    found: list[HeldStack] = []
    for name, image in zip(names, images, strict=True):
        found += _of_image(set_, name, image)
    return found


def inside(folder: Path, name: str) -> Path:
    """Find a file that another one of a set names.

    Raises
    ------
    ImageRefused
        It does not lie in the same folder or below it.
    """
    parts = PureWindowsPath(name)
    if parts.is_absolute() or parts.drive or parts.root or ".." in parts.parts or PurePosixPath(name).is_absolute():
        raise ImageRefused(f"it names {name!r}, which lies outside its folder; lay its files beside each other")
    return folder.joinpath(*parts.parts)


def parsed(content: str | bytes) -> Element:
    """Parse XML of a file.

    Raises
    ------
    ImageRefused
        It is too long, declares entities, or is damaged.
    """
    if len(content) > MAX_XML_BYTES:
        raise ImageRefused(f"its XML has {len(content) >> 20} MB, more than can be read; split it")
    if ("<!DOCTYPE" in content) if isinstance(content, str) else (b"<!DOCTYPE" in content.replace(b"\0", b"")):
        raise ImageRefused("its XML declares entities, as no microscope writes them; it is not read")
    with explaining("its XML is damaged"):
        return ElementTree.fromstring(content)  # noqa: S314 - entities are refused above


def xml_of(file: Path) -> Element:
    """Parse a file of XML; see `parsed`."""
    with file.open("rb") as stream:
        return parsed(stream.read(MAX_XML_BYTES + 1))


def _described(root: Element, path: Path | None) -> Element:
    """Give what is said of the images of a set, which may stand in another file."""
    only = root.find("{*}BinaryOnly")
    if only is None:
        return root
    name = only.get("MetadataFile", "")
    if path is None:
        raise ImageRefused(f"{name!r} says what it holds; it is one file of a set: unpack the set")
    other = inside(path.parent, name)
    if not other.is_file():
        raise ImageRefused(f"{name!r} says what it holds, and is missing; lay it beside it")
    with other.open("rb") as stream:
        begins = stream.read(2)
    if begins in (b"II", b"MM"):
        with tifffile.TiffFile(other) as tiff:
            found = parsed(tiff.pages.first.description)
    else:
        found = xml_of(other)
    if found.find("{*}BinaryOnly") is not None:
        raise ImageRefused(f"{name!r} should say what it holds, and does not; write it again")
    return found


@contextmanager
def opened_companion(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a file that says what a set of OME-TIFF files holds: those give the stacks, so it gives none.

    Raises
    ------
    ImageRefused
        It is XML of another kind.
    """
    root = parsed(source.getvalue()) if isinstance(source, io.BytesIO) else xml_of(source)
    if root.tag.rpartition("}")[2] != "OME":
        raise ImageRefused("it is no image of a kind that is known; save it as PNG or TIFF")
    yield []


def _of_image(set_: _Set, name: str, image: Element) -> Iterator[HeldStack]:
    pixels = image.find("{*}Pixels")
    assert pixels is not None
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZTYX"}
    if min(sizes.values()) < 1:
        raise ImageRefused("its XML says sizes that no image has; write it again")
    check_count(sizes["C"] * sizes["Z"] * sizes["T"])
    channels = pixels.findall("{*}Channel")
    samples = max((int(channel.get("SamplesPerPixel", "1")) for channel in channels), default=1)
    sizes["C"] = max(sizes["C"] // max(samples, 1), 1)
    order = channel_names([channel.get("Name") or "" for channel in channels], sizes["C"])
    stage = {_at(plane): plane for plane in pixels.iterfind("{*}Plane")}
    of_times: dict[int, dict[At, Where]] = {}
    for at, one in _planes_of(pixels, sizes, samples, set_).items():
        of_times.setdefault(at[2], {})[at] = one
    # What lies nowhere is told by every file that could hold it.
    for t, where in sorted(of_times.items()) or [(0, {})]:
        if where and where[min(where)].file:
            continue
        called = " ".join(filter(None, (name, f"time {t}" if sizes["T"] > 1 else "")))
        stands = {at: _stands(stage.get((at[0] * samples, *at[1:]))) for at in where}
        yield _stack(set_, called, order, sizes, where, stands, pixels)


def _stack(
    set_: _Set,
    name: str,
    order: list[str],
    sizes: Mapping[str, int],
    where: Mapping[At, Where],
    stands: Mapping[At, Stands],
    pixels: Element,
) -> HeldStack:
    """Gather the planes of one point in time."""
    own = [one.page for one in where.values() if not one.file and one.page < len(set_.chain.offsets)]
    taken = frames(set_.chain.page(set_.tiff, min(own, default=0)))
    height, width = taken.page.shape[1:] if taken.page.axes == "SYX" else taken.page.shape[:2]
    fault = set_.chain.fault
    if (height, width) != (sizes["Y"], sizes["X"]):
        said_px = f"{sizes['X']} x {sizes['Y']}"
        fault = fault or f"its pages are {width} x {height} px where its XML says {said_px}; write it again"
    planes = []
    for at, one in where.items():
        file, missing, read = set_.found(one, taken)
        planes.append(HeldPlane(order[at[0]], at[1], read, stands[at], file, missing))
    said = _said(pixels, taken.header)
    return gathered(planes, said, channels=order, slices=sizes["Z"], name=name, fault=fault)


@lru_cache(maxsize=4)
def _chain(file: Path, changed_ns: int) -> Chain:  # noqa: ARG001 - a file that was changed is read anew
    with tifffile.TiffFile(file) as tiff:
        return Chain.of(tiff)


def _of_other(file: Path | None, page: int, meaning: PixelMeaning, into: NDArray[np.uint16]) -> NDArray[np.uint16]:
    if file is None:
        raise ImageRefused("a page is missing; complete it")
    chain = _chain(file, file.stat().st_mtime_ns)
    with tifffile.TiffFile(file) as tiff:
        if page >= len(chain.offsets):
            raise ImageRefused(f"{file.name} belongs to it and holds {len(chain.offsets)} pages of {page + 1}")
        found = chain.page(tiff, page)
        fault = torn(found, page, f" of {file.name}")
        if fault:
            raise ImageRefused(fault)
        return read_of_set(meaning, found, into)


def _planes_of(pixels: Element, sizes: Mapping[str, int], samples: int, set_: _Set) -> dict[At, Where]:
    """Say where each plane lies, by C, Z and T."""
    order = [axis for axis in pixels.get("DimensionOrder", "XYCZT")[2:] if axis in "CZT"]
    order += [axis for axis in "CZT" if axis not in order]
    total = sizes["C"] * sizes["Z"] * sizes["T"]
    where: dict[At, Where] = {}
    listed = pixels.findall("{*}TiffData")
    for data in listed:
        uuid = data.find("{*}UUID")
        file = "" if uuid is None or set_.is_own(uuid) else uuid.get("FileName") or ""
        first = {axis: _integer(data, f"First{axis}") for axis in "CZT"}
        first["C"] //= samples
        whole = data.get("IFD") is None and data.get("PlaneCount") is None
        count = (total if file else len(set_.chain.offsets)) if whole else int(data.get("PlaneCount", "1"))
        begin = 0
        for axis in reversed(order):
            begin = begin * sizes[axis] + first[axis]
        for nth in range(min(count, total - begin)):
            rest, at = begin + nth, {}
            for axis in order:
                rest, at[axis] = divmod(rest, sizes[axis])
            where[at["C"], at["Z"], at["T"]] = Where(_integer(data, "IFD") + nth, file)
    return where


def _integer(element: Element, key: str) -> int:
    value = int(element.get(key, "0"))
    if value < 0:
        raise ImageRefused(f"its XML says {key} {value}; write it again")
    return value


def _said(pixels: Element, frame: Header) -> Header:
    bits = lengths.positive(pixels.get("SignificantBits"))
    return replace(
        frame,
        pixel_um=lengths.square(_um(pixels, "PhysicalSizeX"), _um(pixels, "PhysicalSizeY")),
        step_um=abs(_um(pixels, "PhysicalSizeZ") or 0) or None,
        bits=frame.bits if bits is None or frame.bits is None else min(int(bits), frame.bits),
    )


def _at(plane: Element) -> At:
    return _integer(plane, "TheC"), _integer(plane, "TheZ"), _integer(plane, "TheT")


def _stands(plane: Element | None) -> Stands:
    if plane is None:
        return None, None, None
    return _um(plane, "PositionX"), _um(plane, "PositionY"), _um(plane, "PositionZ")


def _um(element: Element, key: str) -> float | None:
    """Length of an attribute; None where it is missing, or has a unit that is no length."""
    value, factor = lengths.number(element.get(key)), lengths.of_unit(element.get(f"{key}Unit", "µm"))
    return None if value is None or factor is None else value * factor
