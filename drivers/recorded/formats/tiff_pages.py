"""Pages of a TIFF: how one follows the other, whether they lie in the file whole, and their pixels."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import pixels
from drivers.recorded.formats.tiff_meaning import (
    BLACK_IS_ZERO,
    PALETTE,
    RGB,
    TELLS_RGB,
    WHITE_IS_ZERO,
    YCBCR,
    PixelMeaning,
    shows_light,
)
from drivers.recorded.gathered import MAX_PLANES, ReadInto
from drivers.recorded.held import Header, explaining

LINKS = {b"II*\0": ("<", 4), b"MM\0*": (">", 4), b"II+\0": ("<", 8), b"MM\0+": (">", 8)}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what tifffile writes of files off the screen; what matters of it is found out here."""
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@dataclass(frozen=True)
class Chain:
    """Where the pages of a TIFF begin, in their order; `fault` says why there is no more."""

    offsets: tuple[int, ...]
    fault: str = ""

    @classmethod
    def of(cls, tiff: tifffile.TiffFile) -> Chain:
        """Follow the pages of a TIFF."""
        offsets: dict[int, None] = {}
        for offset, fault in _followed(tiff):
            if fault or offset in offsets:
                return cls(tuple(offsets), fault or "its pages run in a circle; write it again")
            offsets[offset] = None
        return cls(tuple(offsets))

    def page(self, tiff: tifffile.TiffFile, nth: int) -> tifffile.TiffPage:
        """Read what the nth page, from 0, says of itself."""
        return page_at(tiff, self.offsets[nth], nth)


def page_at(tiff: tifffile.TiffFile, offset: int, nth: int) -> tifffile.TiffPage:
    """Read what a page says of itself, which is to be called the nth, from 0."""
    if tiff.pages.first.offset == offset:
        return tiff.pages.first
    tiff.filehandle.seek(offset)
    return tifffile.TiffPage(tiff, nth)


def _followed(tiff: tifffile.TiffFile) -> Iterator[tuple[int, str]]:
    handle = tiff.filehandle
    handle.seek(0)
    order, size = LINKS[handle.read(4)]
    count, entry, link = ("H", 12, "I") if size == 4 else ("Q", 20, "Q")
    handle.seek(size)
    (at,) = struct.unpack(order + link, handle.read(size))
    nth = 0
    while at and nth < MAX_PLANES:
        cut_off = f"it is cut off behind page {nth}; copy it again"
        if at + struct.calcsize(count) > handle.size:
            yield at, cut_off
            return
        handle.seek(at)
        (entries,) = struct.unpack(order + count, handle.read(struct.calcsize(count)))
        after = at + struct.calcsize(count) + entries * entry
        if not entries or after + size > handle.size:
            yield at, cut_off
            return
        handle.seek(at + struct.calcsize(count))
        tags = struct.iter_unpack(order + ("HHII" if size == 4 else "HHQQ"), handle.read(entries * entry))
        if any(_beyond(kind, values, where, size, handle.size) for _, kind, values, where in tags):
            yield at, f"what is said of page {nth + 1} lies behind its end: the file is cut off; copy it again"
            return
        yield at, ""
        (at,) = struct.unpack(order + link, handle.read(size))
        nth += 1


def _beyond(kind: int, count: int, where: int, inline: int, end: int) -> bool:
    """Whether the values of a tag, which stand elsewhere unless there are few, lie behind the end of the file."""
    length = count * _TYPE_BYTES.get(kind, 0)
    return length > inline and where + length > end


def torn(page: tifffile.TiffPage | tifffile.TiffFrame, nth: int, of: str = "") -> str:
    """Say that pixels of a page, numbered from 0, do not lie in its file; empty where all do."""
    size = page.parent.filehandle.size
    offsets, counts = page.dataoffsets, page.databytecounts
    if not offsets or len(offsets) != len(counts) or not all(offsets) or not all(counts):
        return f"page {nth + 1}{of} has no pixels; write it again"
    if any(offset + count > size for offset, count in zip(offsets, counts, strict=True)):
        return f"page {nth + 1}{of} lies behind its end: the file is cut off; copy it again"
    if isinstance(page, tifffile.TiffPage) and len(offsets) < math.prod(page.chunked):
        return f"page {nth + 1}{of} has {len(offsets)} of its {math.prod(page.chunked)} pieces; write it again"
    if isinstance(page, tifffile.TiffPage) and page.compression == 1 and not page.is_subsampled:
        bits = math.prod(page.shape) * page.bitspersample
        if sum(counts) < bits // 8:
            return f"page {nth + 1}{of} has fewer pixels than it says; write it again"
    return ""


@dataclass(frozen=True)
class Frames:
    """How pages that are like this one are read.

    Attributes
    ----------
    meaning
        of its numbers.
    made
        grey frames from decoded ones.
    as_it_is
        whether decoded frames are grey ones already.
    """

    page: tifffile.TiffPage
    header: Header
    meaning: PixelMeaning
    made: Callable[[NDArray[Any]], NDArray[np.uint16]]
    as_it_is: bool = False

    def read(self, page: tifffile.TiffPage | tifffile.TiffFrame, into: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Decode a page; see `ReadInto`."""
        if page.shape != self.page.shape or page.dtype != self.page.dtype:
            raise ImageRefused("its pages are not alike; save each in a file of its own")
        # A frame is what tifffile reads of a page in short; one without an offset has no page of its own.
        if page.offset and page.offset != self.page.offset:
            self.meaning.require(page if isinstance(page, tifffile.TiffPage) else page_at(page.parent, page.offset, 0))
        fits = self.as_it_is and into.shape == self.page.shape
        return self.made(page.asarray(out=into if fits else None))

    @property
    def frame_bytes(self) -> int:
        """Bytes of a decoded frame."""
        return int(self.page.nbytes)

    def read_at(self, offset: int) -> NDArray[np.uint16]:
        """Read a frame that has no page of its own, but lies with others behind the first one."""
        handle = self.page.parent.filehandle
        dtype = self.page.dtype.newbyteorder(self.page.parent.byteorder)  # type: ignore[union-attr]
        count = int(np.prod(self.page.shape))
        frame = handle.read_array(dtype, count, offset).reshape(self.page.shape)
        return self.made(frame.astype(self.page.dtype, copy=False))


def frames(page: tifffile.TiffPage, orientation: int = 1) -> Frames:
    """Find out how a page's pixels are to be taken.

    Parameters
    ----------
    orientation
        where the page does not say it.

    Raises
    ------
    ImageRefused
        They are no light: fewer than 8 bit, colours of an unknown kind, samples that are not said to be colours.
    """
    dtype, axes, photometric = page.dtype, page.axes, int(page.photometric)
    if dtype is None or 0 in page.shape:
        raise ImageRefused(f"its pixels are {dtype or 'none'}, of a kind that is not known; save it with 8 or 16 bit")
    if axes not in ("YX", "YXS", "SYX"):
        raise ImageRefused(f"its pages are no planes but have the axes {axes}; save each plane as a page of its own")
    samples = page.samplesperpixel
    bits = page.bitspersample
    told = list(pixels.told_of(dtype))
    if bits < 8 and photometric != PALETTE:
        raise ImageRefused(f"its pixels have {bits} bit; save it with 8 or 16 bit a pixel")
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and (samples == 1 or _transparent(page)):
        convert = _first_sample if samples > 1 else _as_it_is
        told += ["its transparency is left out"] if samples > 1 else []
        if photometric == WHITE_IS_ZERO:
            if dtype.kind != "u" or bits > 16:
                raise ImageRefused(f"its white is zero, and its pixels are {dtype}; save it with 8 or 16 bit a pixel")
            convert = partial(_inverted, (1 << bits) - 1, convert)
            told.append("its white is zero, so it is inverted")
    elif photometric == PALETTE and samples == 1 and page.colormap is not None and dtype.kind == "u":
        table: NDArray[Any] = np.asarray(page.colormap).T
        if shows_light(page):
            convert = _as_it_is
            told.append("its palette only shows its light in a colour, and is left out")
        else:
            table = table if dtype.itemsize > 1 or table.max() < 256 else table >> 8
            convert = partial(_looked_up, table.astype(np.uint8 if table.max() < 256 else np.uint16))
            if (table != table[:, :1]).any():
                told.append(pixels.COLOURS)
            told.append("its palette is looked up")
            bits = 8 if dtype.itemsize == 1 else 16
    elif (photometric == RGB or (photometric == YCBCR and page.compression in TELLS_RGB)) and samples >= 3:
        if dtype not in (np.uint8, np.uint16):
            raise ImageRefused(f"its colours are {dtype}; save it with 8 or 16 bit a pixel, without sign")
        if axes == "SYX" and (dtype == np.uint16 or 0 in page.extrasamples):
            # So tifffile writes stacks of three or four planes whose axes nobody named.
            raise ImageRefused(
                f"its {samples} samples a pixel lie apart, so they may be planes or colours; save planes with their "
                "axes named (OME-TIFF or ImageJ), and colours pixel by pixel"
            )
        convert = partial(_grey, axes == "SYX")
        told += [pixels.COLOURS] + ["its transparency is left out"] * (samples > 3)
    elif photometric == BLACK_IS_ZERO:
        raise ImageRefused(
            f"it has {samples} samples a pixel that are not said to be colours; save each as a channel of its own"
        )
    else:
        name = getattr(page.photometric, "name", str(photometric))
        raise ImageRefused(f"its colours are {name}; save it as grey or RGB")
    meaning = PixelMeaning.of(page, orientation)
    orientation = meaning.orientation
    if orientation > 1:
        told.append(f"it is {pixels.ORIENTED[orientation]}, as it asks for")
    height, width = page.shape[1:] if axes == "SYX" else page.shape[:2]
    shape = (1, 1, *pixels.upright_shape(height, width, orientation))
    header = Header(shape, bits=min(bits, 16), told=tuple(told))
    as_it_is = convert is _as_it_is and dtype == np.uint16 and orientation == 1
    return Frames(
        page, header, meaning, lambda image: pixels.upright(pixels.exact(convert(image)), orientation), as_it_is
    )


def plane_samples(page: tifffile.TiffPage) -> list[Frames]:
    """Take each sample of a pixel as a plane of its own, as tifffile writes stacks of three or four planes."""
    dtype = page.dtype or np.dtype(bool)
    height, width = page.shape[1:]
    header = Header((1, 1, height, width), bits=min(page.bitspersample, 16), told=pixels.told_of(dtype))
    meaning = PixelMeaning.of(page)
    return [Frames(page, header, meaning, partial(_sample, nth)) for nth in range(page.shape[0])]


def decoded(page: tifffile.TiffPage, taken: Frames) -> ReadInto:
    """Give what decodes a page."""

    def read(into: NDArray[np.uint16]) -> NDArray[np.uint16]:
        with explaining(f"its page {page.index + 1} is damaged"):
            return taken.read(page, into)

    return read


def read_of_set(meaning: PixelMeaning, page: tifffile.TiffPage, into: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Decode a page that lies in another file than the first one of its stack; see `ReadInto`.

    Parameters
    ----------
    meaning
        of the numbers of the first one.

    Raises
    ------
    ImageRefused
        Its own mean something else, or are no light.
    """
    meaning.require(page)
    return frames(page, meaning.orientation).read(page, into)


def _transparent(page: tifffile.TiffPage) -> bool:
    return page.samplesperpixel == 2 and len(page.extrasamples) == 1 and int(page.extrasamples[0]) in (1, 2)


def _sample(nth: int, image: NDArray[Any]) -> NDArray[np.uint16]:
    return pixels.exact(image[nth])


def _as_it_is(image: NDArray[Any]) -> NDArray[Any]:
    return image


def _first_sample(image: NDArray[Any]) -> NDArray[Any]:
    return image[..., 0] if image.shape[-1] == 2 else image[0]


def _inverted(white: int, before: Callable[[NDArray[Any]], NDArray[Any]], image: NDArray[Any]) -> NDArray[Any]:
    return (white - before(image)).astype(image.dtype)


def _looked_up(table: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    coloured = table[image]
    return coloured[..., 0] if (table == table[:, :1]).all() else pixels.grey(coloured)


def _grey(planar: bool, image: NDArray[Any]) -> NDArray[Any]:
    return pixels.grey(np.moveaxis(image, 0, -1) if planar else image)
