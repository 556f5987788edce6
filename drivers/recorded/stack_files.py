"""Images as laboratories keep them, read as focus stacks: PNG, JPEG, TIFF, ImageJ's TIFF, OME-TIFF."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drivers.errors import ImageRefused

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (".png", ".jpg", ".jpeg", *TIFF_SUFFIXES)
MAX_STACK_BYTES = 4 << 30
SQUARENESS = 0.01
"""By so much the two sides of a pixel may differ."""
_PAGES = "IQ"
"""What tifffile calls the pages of a file that does not say what they are: planes, here."""
_UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}


@dataclass(frozen=True)
class Header:
    """What an image says of itself. Lengths in um; None, or no names, where it says nothing.

    `position_um` is x and y of the frame's centre and z of the first plane, 0 where unknown.
    """

    shape_czyx: tuple[int, int, int, int]
    pixel_um: float | None = None
    step_um: float | None = None
    channels: tuple[str, ...] = ()
    position_um: tuple[float, float, float] = (0.0, 0.0, 0.0)


def read_header(source: Path | io.BytesIO, suffix: str) -> Header:
    """Read what an image says of itself, not its pixels.

    Raises
    ------
    ImageRefused
        It is no image, or none that is a stack of grey or colour planes of 8 or 16 bit.
    """
    if suffix.lower() in TIFF_SUFFIXES:
        with _open_tiff(source) as tiff:
            return _tiff_header(tiff)
    with _open_picture(source) as picture:
        return Header((1, 1, picture.height, picture.width))


def read_pixels(content: bytes, suffix: str) -> NDArray[np.uint16]:
    """Decode the bytes of an image that has a header: uint16 CZYX, colours made grey.

    Raises
    ------
    ImageRefused
        They are damaged.
    """
    if suffix.lower() in TIFF_SUFFIXES:
        with _open_tiff(io.BytesIO(content)) as tiff:
            return _tiff_pixels(tiff)
    with _open_picture(io.BytesIO(content)) as picture, _explaining("it is damaged"):
        picture.load()  # tells of what is missing, where OpenCV makes something up
    import cv2

    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ImageRefused("it is not a grey or colour image of 8 or 16 bit; convert it to one")
    return image.astype(np.uint16)[None, None]


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    """On bytes that are no whole image the libraries raise whatever comes."""
    try:
        yield
    except (ImageRefused, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        raise ImageRefused(f"{what} ({str(error) or type(error).__name__})") from error


@contextmanager
def _open_tiff(source: Path | io.BytesIO) -> Iterator[tifffile.TiffFile]:
    with _explaining("it is damaged, or not a TIFF file"), tifffile.TiffFile(source) as tiff:
        yield tiff


@contextmanager
def _open_picture(source: Path | io.BytesIO) -> Iterator[Image.Image]:
    # Pillow warns of large images, and refuses larger ones; how large they may be is decided elsewhere.
    with warnings.catch_warnings(), _explaining("it is damaged"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(source)
        except Image.DecompressionBombError as error:
            raise ImageRefused("it has more pixels than can be analysed at once; cut it into tiles") from error
        except UnidentifiedImageError as error:
            raise ImageRefused("it is not an image, or of a kind that is not known; save it as PNG or TIFF") from error
        with picture:
            yield picture


def _tiff_header(tiff: tifffile.TiffFile) -> Header:
    sizes = _tiff_sizes(tiff)
    shape = sizes["C"], sizes["Z"], sizes["Y"], sizes["X"]
    if math.prod(shape) * 2 > MAX_STACK_BYTES:
        raise ImageRefused(f"it is a stack of {' x '.join(map(str, shape))} px (CZYX), more than 4 GB; split it")
    if tiff.is_ome and tiff.ome_metadata:
        return _of_ome(tiff.ome_metadata, shape)
    if tiff.is_imagej:
        return _of_imagej(tiff, shape)
    return Header(shape)


def _tiff_sizes(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Size of each of the axes C, Z, Y, X and S (samples of a colour); 1 for those that are missing."""
    if len(tiff.series) != 1:
        raise ImageRefused(f"it holds {len(tiff.series)} images; save each in a file of its own")
    series = tiff.series[0]
    if series.dtype not in (np.uint8, np.uint16):
        raise ImageRefused(f"its pixels are {series.dtype}; save it with 8 or 16 bit a pixel, without sign")
    if any(page is None for page in series):
        raise ImageRefused("it is one of several files of one OME-TIFF stack; save the stack as a single file")
    axes = _named(series.axes)
    sizes = dict.fromkeys("CZYXS", 1) | dict(zip(axes, series.shape, strict=True))
    if sizes.keys() != set("CZYXS") or len(set(axes)) < len(axes):
        raise ImageRefused(f"it has the axes {series.axes}, of which only C, Z, Y and X make a stack; split it")
    return sizes


def _named(axes: str) -> str:
    return "".join("Z" if axis in _PAGES and "Z" not in axes else axis for axis in axes)


def _tiff_pixels(tiff: tifffile.TiffFile) -> NDArray[np.uint16]:
    sizes = _tiff_sizes(tiff)
    axes = _named(tiff.series[0].axes)
    pixels = tiff.series[0].asarray().transpose([axes.index(axis) for axis in "CZYXS" if axis in axes])
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
