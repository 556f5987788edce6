"""TIFF as laboratories keep it: plain, of ImageJ, OME-TIFF."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded.held import MAX_STACK_BYTES, SQUARENESS, Header, HeldStack, Source, explaining

SUFFIXES = (".tif", ".tiff")
_PAGES = "IQ"
"""What tifffile calls the pages of a file that does not say what they are: planes, here."""
_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a TIFF.

    Raises
    ------
    ImageRefused
        It is damaged, or holds no stack.
    """
    with explaining("it is damaged, or not a TIFF file"), tifffile.TiffFile(source) as tiff:
        yield [HeldStack(_tiff_header(tiff), partial(_tiff_pixels, tiff))]


def _tiff_header(tiff: tifffile.TiffFile) -> Header:
    sizes = _tiff_sizes(tiff)
    shape = sizes["C"], sizes["Z"], sizes["Y"], sizes["X"]
    if math.prod(shape) * 2 > MAX_STACK_BYTES:
        raise ImageRefused(f"it is a stack of {' x '.join(map(str, shape))} px (CZYX), more than 4 GB; split it")
    bits = 8 * tiff.series[0].dtype.itemsize
    if tiff.is_ome and tiff.ome_metadata:
        return replace(_of_ome(tiff.ome_metadata, shape), bits=bits)
    if tiff.is_imagej:
        return replace(_of_imagej(tiff, shape), bits=bits)
    return Header(shape, bits=bits)


def _tiff_sizes(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Size of each of the axes C, Z, Y, X and S (samples of a colour); 1 for those that are missing."""
    if len(tiff.series) != 1:
        raise ImageRefused(f"it holds {len(tiff.series)} images; save each in a file of its own")
    series = tiff.series[0]
    if series.dtype not in (np.uint8, np.uint16):
        raise ImageRefused(f"its pixels are {series.dtype}; save it with 8 or 16 bit a pixel, without sign")
    if any(page is None for page in series):
        raise ImageRefused("it is one of several files of one OME-TIFF stack; save the stack as a single file")
    axes, shape = _named(series)
    sizes = dict.fromkeys("CZYXS", 1) | dict(zip(axes, shape, strict=True))
    if sizes.keys() != set("CZYXS") or len(set(axes)) < len(axes):
        raise ImageRefused(f"it has the axes {series.axes}, of which only C, Z, Y and X make a stack; split it")
    return sizes


def _named(series: tifffile.TiffPageSeries) -> tuple[str, tuple[int, ...]]:
    """Give axes and sizes, pages that nobody named as planes, without other axes of length 1."""
    named = ["Z" if axis in _PAGES and "Z" not in series.axes else axis for axis in series.axes]
    kept = [(axis, size) for axis, size in zip(named, series.shape, strict=True) if axis in "CZYXS" or size > 1]
    return "".join(axis for axis, _ in kept), tuple(size for _, size in kept)


def _tiff_pixels(tiff: tifffile.TiffFile) -> NDArray[np.uint16]:
    sizes = _tiff_sizes(tiff)
    axes, shape = _named(tiff.series[0])
    pixels = tiff.series[0].asarray().reshape(shape)
    pixels = pixels.transpose([axes.index(axis) for axis in "CZYXS" if axis in axes])
    pixels = pixels.reshape([sizes[axis] for axis in "CZYXS"])
    if sizes["S"] < 3:  # grey, perhaps with transparency
        return np.ascontiguousarray(pixels[..., 0], np.uint16)
    import cv2

    grey = np.empty(pixels.shape[:4], np.uint16)
    for c, z in np.ndindex(grey.shape[:2]):
        grey[c, z] = cv2.cvtColor(np.ascontiguousarray(pixels[c, z, :, :, :3]), cv2.COLOR_RGB2GRAY)
    return grey


def _of_ome(text: str, shape: tuple[int, int, int, int]) -> Header:
    pixels = ElementTree.fromstring(text).find(".//{*}Pixels")  # noqa: S314 - expat bounds entity expansion since 2.4.1
    if pixels is None:
        return Header(shape)
    names = tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel"))
    plane = pixels.find("{*}Plane")
    x, y, z = (0.0 if plane is None else _um(plane, f"Position{axis}") or 0.0 for axis in "XYZ")
    return Header(
        shape,
        pixel_um=_square(_um(pixels, "PhysicalSizeX"), _um(pixels, "PhysicalSizeY")),
        step_um=_um(pixels, "PhysicalSizeZ"),
        channels=names if len(names) == shape[0] and all(names) else (),
        position_um=(x, y, z),
    )


def _um(element: ElementTree.Element, key: str) -> float | None:
    """Length of an attribute; None where it is missing, or has a unit that is no length."""
    value, factor = element.get(key), _UM.get(element.get(f"{key}Unit", "µm"))
    return None if value is None or factor is None else float(value) * factor


def _square(x_um: float | None, y_um: float | None) -> float | None:
    if x_um is None or y_um is None or min(x_um, y_um) <= 0 or not math.isfinite(x_um + y_um):
        return None
    if abs(x_um - y_um) > SQUARENESS * x_um:
        raise ImageRefused(f"its pixels are {x_um:g} x {y_um:g} um; resample it to square ones")
    return x_um


def _of_imagej(tiff: tifffile.TiffFile, shape: tuple[int, int, int, int]) -> Header:
    said = tiff.imagej_metadata or {}
    factor = _UM.get(str(said.get("unit", "")).replace("\\u00B5", "µ"))
    if factor is None:
        return Header(shape)
    tags = tiff.pages.first.tags
    sides = [tags[name].value if name in tags else (0, 1) for name in ("XResolution", "YResolution")]
    x_um, y_um = (factor * below / above if above else None for above, below in sides)
    step_um = said.get("spacing")
    return Header(
        shape, pixel_um=_square(x_um, y_um), step_um=None if step_um is None else abs(float(step_um)) * factor
    )
