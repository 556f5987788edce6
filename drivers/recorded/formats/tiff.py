"""TIFF as laboratories keep it: plain, of ImageJ, of Micro-Manager, OME-TIFF and others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from drivers.errors import ImageRefused
from drivers.recorded import lengths
from drivers.recorded.formats import micromanager_stacks, ndtiff, ome_tiff
from drivers.recorded.formats.tiff_pages import LINKS, Chain, Frames, decoded, frames, plane_samples, quiet, torn
from drivers.recorded.gathered import HeldPlane, ReadInto, channel_names, check_count, gathered, own_frame, unlike
from drivers.recorded.held import Header, HeldStack, Source, explaining

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")
BEGINS = tuple(LINKS)
"""The first four bytes."""
PLANES_TOLD = "its pages are taken as planes"
_RESOLUTION_TOLD = "its pixel is taken from its resolution"
_UNITS_UM = {2: 25_400.0, 3: 10_000.0}
"""Inch and centimetre, the units of a resolution."""
MAX_RESOLUTION_UM = 20.0
"""A plain resolution above it is one of screens and printers."""
_XML_BEGINS = 1000
_OTHERS = ("lsm", "stk", "fluoview", "scanimage", "sis", "nih", "shaped", "svs", "scn", "ndpi", "bif", "eer", "avs")
_IMAGEJ_AXES = {"c": "channels", "z": "slices", "t": "frames"}
_PAGES = "IQ"
"""What tifffile calls the axes that nobody named."""


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a TIFF.

    Raises
    ------
    ImageRefused
        It is damaged, or holds no stack.
    """
    dataset = ndtiff.dataset_of(source) if isinstance(source, Path) else None
    if dataset is not None:
        with ndtiff.opened(dataset) as stacks:
            yield [stack for stack in stacks if stack.files and stack.files[0] == source]
        return
    with quiet(), ExitStack() as closed:
        with explaining("it is damaged, or not a TIFF file"):
            tiff = closed.enter_context(tifffile.TiffFile(source))
            stacks = _stacks(tiff, source if isinstance(source, Path) else None)
        yield stacks


def _stacks(tiff: tifffile.TiffFile, path: Path | None) -> list[HeldStack]:
    chain = Chain.of(tiff)
    if not chain.offsets:
        raise ImageRefused(chain.fault or "it holds no image; write it again")
    if ndtiff.is_of(tiff):
        return ndtiff.of_pages(tiff, chain)
    if micromanager_stacks.is_of(tiff):
        return micromanager_stacks.stacks(tiff, chain, path)
    if tiff.is_ome or "<OME" in tiff.pages.first.description[:_XML_BEGINS]:
        return ome_tiff.stacks(tiff, chain, path)
    if tiff.is_imagej:
        return list(_of_imagej(tiff, chain))
    if any(getattr(tiff, f"is_{kind}") for kind in _OTHERS):
        return _of_series(tiff, chain)
    described = tiff.pages.first.tags.get("ImageDescription")
    if described is not None and not described.value and tiff.pages.first.software.startswith("tifffile"):
        # It keeps room for the XML of an OME-TIFF, and writes that as it closes the file.
        raise ImageRefused(
            "its XML was not written yet, as it was not closed; write it again, or wait until it is whole"
        )
    return _plain(tiff, chain)


def _plain(tiff: tifffile.TiffFile, chain: Chain) -> list[HeldStack]:
    """Take pages that are alike as planes of a stack, those of each kind as one; smaller copies are left out."""
    kinds: dict[int, list[tifffile.TiffPage]] = {}
    every = [chain.page(tiff, nth) for nth in range(len(chain.offsets))]
    whole = [page for page in every if not page.is_reduced]
    for page in whole or every:
        kinds.setdefault(page.hash, []).append(page)
    stacks = []
    for name, pages in zip(unlike([""] * len(kinds)), kinds.values(), strict=True):
        taken = frames(pages[0])
        planes = [
            HeldPlane("", nth, decoded(page, taken), fault=torn(page, page.index)) for nth, page in enumerate(pages)
        ]
        said = replace(taken.header, pixel_um=_resolution_um(pages[0]))
        said = replace(said, told=(*said.told, *_told(said, len(pages))))
        stacks.append(gathered(planes, said, name=name, fault=chain.fault))
    return stacks


def _told(said: Header, pages: int) -> Iterator[str]:
    if pages > 1:
        yield PLANES_TOLD
    if said.pixel_um is not None:
        yield _RESOLUTION_TOLD


def _resolution_um(page: tifffile.TiffPage) -> float | None:
    unit = page.tags.get("ResolutionUnit")
    factor = _UNITS_UM.get(2 if unit is None else int(unit.value))
    x_um, y_um = (None if factor is None or not per else factor / per for per in _per_unit(page))
    return lengths.square(x_um, y_um) if x_um is not None and x_um < MAX_RESOLUTION_UM else None


def _per_unit(page: tifffile.TiffPage) -> tuple[float | None, float | None]:
    """Give pixels per unit of length, along x and y."""
    x, y = (page.tags.get(name) for name in ("XResolution", "YResolution"))
    return tuple(  # type: ignore[return-value]
        tag.value[0] / tag.value[1] if tag is not None and all(tag.value) else None for tag in (x, y)
    )


def _of_imagej(tiff: tifffile.TiffFile, chain: Chain) -> Iterator[HeldStack]:
    """Read what ImageJ wrote: a stack a point in time; beyond 4 GB all frames lie behind the one page."""
    said = tiff.imagej_metadata or {}
    first = chain.page(tiff, 0)
    taken = frames(first)
    sizes = {axis: max(int(said.get(key, 1)), 1) for axis, key in _IMAGEJ_AXES.items()}
    if "S" in first.axes and sizes["c"] == first.samplesperpixel:
        sizes["c"] = 1  # the colours of each pixel
    told: tuple[str, ...] = ()
    images, fault = int(said.get("images", 1)), chain.fault
    if math.prod(sizes.values()) == 1:
        sizes["z"] = max(images, len(chain.offsets))
        told = (PLANES_TOLD,) if images < sizes["z"] else ()
    count = math.prod(sizes.values())
    check_count(count)
    if images not in (1, count):
        fault = fault or f"it says {images} images, and {count} by its channels, planes and times; write it again"
    reads = _of_pages(tiff, chain, taken) if len(chain.offsets) > 1 or count == 1 else _behind(taken, count)
    if len(reads) != count:
        fault = fault or f"it says {count} images and holds {len(reads)}; copy it again"
    names = _labels(said, sizes["c"])
    order = str(said.get("order", "czt")).lower()
    order = order if sorted(order) == sorted(sizes) else "czt"
    planes: list[list[HeldPlane]] = [[] for _ in range(sizes["t"])]
    for nth, (read, torn_off) in enumerate(reads[:count]):
        rest, at = nth, {}
        for axis in order:
            rest, at[axis] = divmod(rest, sizes[axis])
        planes[at["t"]].append(HeldPlane(names[at["c"]], at["z"], read, fault=torn_off))
    header = _imagej_lengths(taken.header, said, first)
    header = replace(header, told=(*header.told, *told))
    for name, of_time in zip(unlike([f"time {t}" for t in range(sizes["t"])]), planes, strict=True):
        yield gathered(of_time, header, channels=names, slices=sizes["z"], name=name, fault=fault)


def _of_pages(tiff: tifffile.TiffFile, chain: Chain, taken: Frames) -> list[tuple[ReadInto, str]]:
    pages = [chain.page(tiff, nth) for nth in range(len(chain.offsets))]
    return [(decoded(page, taken), torn(page, page.index)) for page in pages]


def _behind(taken: Frames, count: int) -> list[tuple[ReadInto, str]]:
    """Find frames that have no page of their own but lie behind the first."""
    begin, size = taken.page.dataoffsets[0], taken.page.parent.filehandle.size
    if taken.page.compression != 1:
        return [(decoded(taken.page, taken), torn(taken.page, 0))]
    return [
        (
            own_frame(partial(taken.read_at, begin + nth * taken.frame_bytes)),
            "" if begin + (nth + 1) * taken.frame_bytes <= size else f"it is cut off at plane {nth + 1}; copy it again",
        )
        for nth in range(count)
    ]


def _labels(said: dict[str, object], channels: int) -> list[str]:
    """Names of the channels: the labels of planes, where those of a channel all have the same."""
    labels = said.get("Labels")
    every = [str(label).strip() for label in labels] if isinstance(labels, list) else []
    repeated = all(label == every[nth % channels] for nth, label in enumerate(every))
    return channel_names(every[:channels] if repeated else (), channels)


def _imagej_lengths(frame: Header, said: dict[str, object], page: tifffile.TiffPage) -> Header:
    factor = lengths.of_unit(said.get("unit", ""))
    if factor is None:
        return frame
    x_um, y_um = (None if not per else factor / per for per in _per_unit(page))
    of_y = lengths.of_unit(said.get("yunit", said.get("unit", "")))
    if y_um is not None and of_y is not None:
        y_um *= of_y / factor
    spacing = lengths.number(said.get("spacing"))
    of_z = lengths.of_unit(said.get("zunit", said.get("unit", ""))) or factor
    step_um = None if spacing is None else abs(spacing) * of_z or None
    told = ("its planes run downward",) if spacing is not None and spacing < 0 else ()
    return replace(frame, pixel_um=lengths.square(x_um, y_um), step_um=step_um, told=(*frame.told, *told))


def _of_series(tiff: tifffile.TiffFile, chain: Chain) -> list[HeldStack]:
    """Take the series that tifffile finds in files of other programs, and in its own."""
    stacks: list[HeldStack] = []
    if chain.fault:
        raise ImageRefused(chain.fault)
    series = [one for one in tiff.series if not one.keyframe.is_reduced]
    if tiff.is_shaped and len(series) > 1 and all(one.shape == one.keyframe.shape for one in series):
        return _plain(tiff, chain)  # so tifffile writes planes that it is given one by one
    for name, one in zip(unlike([one.name for one in series]), series, strict=True):
        kind = one.keyframe.axes
        # Where an axis is named, samples that lie apart are no colours: so tifffile writes stacks of few planes.
        apart = kind == "SYX" and len(one.shape) > 2 and one.axes[-3] not in ("S", *_PAGES)
        taken = plane_samples(one.keyframe) if apart else [frames(one.keyframe)]
        depth = 2 if apart else len(one.keyframe.shape)
        if one.shape[-depth:] != one.keyframe.shape[-depth:]:
            raise ImageRefused(f"its axes are {one.axes}; save it as OME-TIFF")
        sizes = dict(zip(one.axes[:-depth], one.shape[:-depth], strict=True))
        unnamed = [axis for axis, size in sizes.items() if axis in _PAGES and size > 1]
        if len(sizes) != len(one.shape) - depth or len(unnamed) > 1 or (unnamed and "Z" in sizes):
            raise ImageRefused(f"its axes are {one.axes}, not all of them named; save it as OME-TIFF or from ImageJ")
        said = replace(taken[0].header, pixel_um=_resolution_um(one.keyframe))
        told = [PLANES_TOLD] * len(unnamed) + [_RESOLUTION_TOLD] * (said.pixel_um is not None)
        stacks += _split(one, sizes, taken, replace(said, told=(*said.told, *told)), name, chain.fault)
    if not stacks:
        raise ImageRefused("it holds no image; save it as OME-TIFF")
    return stacks


def _split(
    series: tifffile.TiffPageSeries, sizes: dict[str, int], taken: list[Frames], said: Header, name: str, fault: str
) -> Iterator[HeldStack]:
    """Give a stack of each place along the axes that are neither channels nor planes."""
    count = math.prod(sizes.values())
    check_count(count)
    found: dict[str, list[HeldPlane]] = {}
    reads = _frames_of(series, count, taken)
    if len(reads) < count:
        fault = fault or f"it says {count} pages and holds {len(reads)}; complete it"
    names = channel_names((), sizes.get("C", 1))
    split = [axis for axis, size in sizes.items() if axis not in ("C", "Z", *_PAGES) and size > 1]
    for (read, torn_off), place in zip(reads, np.ndindex(*sizes.values()), strict=False):
        at = dict(zip(sizes, place, strict=True))
        z = max((at[axis] for axis in ("Z", *_PAGES) if axis in at), default=0)
        of = " ".join((name, *(f"{axis} {at[axis]}" for axis in split))).strip()
        channel = names[at.get("C", 0)]
        found.setdefault(of, []).append(HeldPlane(channel, z, read, fault=torn_off))
    for of, planes in found.items():
        yield gathered(planes, said, name=of, fault=fault)


def _frames_of(series: tifffile.TiffPageSeries, count: int, taken: list[Frames]) -> list[tuple[ReadInto, str]]:
    """Find the frames of a series, each sample of a page as one where those are taken apart."""
    pages = count // len(taken)
    if len(series.pages) == pages or series.dataoffset is None:
        found = [(page, torn(page, nth)) for nth, page in enumerate(series.pages) if page is not None]
        return [(partial(one.read, page), torn_off) for page, torn_off in found for one in taken]
    if len(taken) > 1:
        raise ImageRefused(f"its axes are {series.axes}; save it as OME-TIFF")
    return _behind(taken[0], count)
