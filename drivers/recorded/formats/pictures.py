"""Pictures of one plane: PNG, JPEG, BMP, JPEG 2000, JPEG XL."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from drivers.errors import ImageRefused
from drivers.recorded import pixels
from drivers.recorded.gathered import too_large
from drivers.recorded.held import Header, HeldStack, Source, StackParts, explaining, first_bytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".jp2", ".j2k", ".jpx", ".jpc", ".j2c", ".jxl")
_FORMATS = "PNG", "JPEG", "BMP", "DIB", "JPEG2000"
_GREY, _GREY_16 = ("L", "LA", "La"), ("I;16", "I;16B", "I;16L", "I;16N", "I")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX")
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_HEADER_BYTES = 1 << 16
_PNG_BITS = 24
_PNG_SIGNATURE, _PNG_CHUNK, _PNG_CHECKSUM = 8, Struct(">I4s"), 4
_PNG_TEXT_EXIF = b"Raw profile type exif\0"
"""How ImageMagick began EXIF before PNG had a place for it."""
_JPEG_2000_SIZE, _JPEG_2000_BITS = b"\xff\x4f\xff\x51", 42
"""Where the files say how many bits a sample has."""
_JPEG_XL = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"


@contextmanager
def opened(source: Source) -> Iterator[Sequence[HeldStack]]:
    """Open a picture.

    Raises
    ------
    ImageRefused
        It is no picture, or too large.
    """
    begins = first_bytes(source, _HEADER_BYTES)
    if begins.startswith(_JPEG_XL):
        yield [_jpeg_xl(_content(source))]
        return
    # Pillow warns of large images, and refuses larger ones; how large they may be is decided elsewhere.
    with warnings.catch_warnings(), ExitStack() as closed:
        warnings.simplefilter("ignore")
        with explaining("it is damaged"):
            try:
                picture = closed.enter_context(Image.open(source, formats=_FORMATS))
            except Image.DecompressionBombError as error:
                raise ImageRefused("it has more pixels than can be analysed at once; cut it into tiles") from error
            except UnidentifiedImageError as error:
                raise ImageRefused("it is no image of a kind that is known; save it as PNG or TIFF") from error
            stacks = [_stack(source, picture, begins)]
        yield stacks


def _stack(source: Source, picture: Image.Image, begins: bytes) -> HeldStack:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format == "PNG":
        raise ImageRefused(f"it moves: it holds {frames} pictures; save each in a file of its own")
    mode = picture.mode
    if mode not in (*_GREY, *_GREY_16, *_COLOURED):
        kind = "black and white alone" if mode == "1" else mode
        raise ImageRefused(f"its pixels are {kind}; save it as grey or RGB of 8 or 16 bit")
    bits = _bits(begins, picture)
    if bits < 8 and mode not in ("P", "PA"):
        raise ImageRefused(f"its pixels have {bits} bit; save it with 8 or 16 bit a pixel")
    orientation = _orientation(source, picture)
    told = []
    if mode in _COLOURED:
        told.append(pixels.COLOURS)
    if mode in _TRANSPARENT or "transparency" in picture.info:
        told.append("its transparency is left out")
    if orientation > 1:
        told.append(f"it is {pixels.ORIENTED[orientation]}, as its EXIF says")
    if frames > 1:
        told.append(f"it is the first of {frames} pictures in its file")
    height, width = pixels.upright_shape(picture.height, picture.width, orientation)
    shape = (1, 1, height, width)
    header = Header(shape, bits=max(bits, 8), told=tuple(told))
    return HeldStack(
        header, partial(_pixels, source, picture, orientation, bits), look=partial(StackParts, too_large(shape))
    )


def _orientation(source: Source, picture: Image.Image) -> int:
    # Of a PNG Pillow decodes every pixel to see whether its EXIF comes after them.
    decodes = picture.format == "PNG" and not _png_has_exif(source)
    exif = Image.Image.getexif(picture) if decodes else picture.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in pixels.ORIENTED else 1


def _png_has_exif(source: Source) -> bool:
    with io.BytesIO(source.getbuffer()) if isinstance(source, io.BytesIO) else source.open("rb") as stream:
        stream.seek(_PNG_SIGNATURE)
        while len(chunk := stream.read(_PNG_CHUNK.size)) == _PNG_CHUNK.size:
            length, name = _PNG_CHUNK.unpack(chunk)
            begins = stream.read(min(length, len(_PNG_TEXT_EXIF)))
            if name == b"eXIf" or begins == _PNG_TEXT_EXIF:
                return True
            stream.seek(length - len(begins) + _PNG_CHECKSUM, io.SEEK_CUR)
    return False


def _bits(begins: bytes, picture: Image.Image) -> int:
    """Bits of a sample, which Pillow does not tell."""
    if picture.format == "PNG":
        return begins[_PNG_BITS]
    if picture.format == "JPEG2000":
        size = begins.find(_JPEG_2000_SIZE)
        bits = begins[size + _JPEG_2000_BITS] if 0 <= size < len(begins) - _JPEG_2000_BITS else 0
        if bits & 0x80:
            raise ImageRefused("its pixels have a sign; save it with 8 or 16 bit a pixel, without sign")
        return bits + 1
    return 8


def _pixels(source: Source, picture: Image.Image, orientation: int, bits: int) -> NDArray[np.uint16]:
    picture.load()  # tells of what is missing, where OpenCV makes something up
    if bits > 8:
        image = _of_opencv(_content(source), picture.mode in _COLOURED)
    elif picture.mode in _COLOURED:
        image = pixels.grey(np.asarray(picture.convert("RGB")))
    else:
        image = np.asarray(picture.getchannel(0))
    return pixels.upright(pixels.exact(image), orientation)[None, None]


def _of_opencv(content: bytes, coloured: bool) -> NDArray[Any]:
    """Decode what Pillow would cut down to 8 bit."""
    import cv2

    kept = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if coloured else cv2.IMREAD_UNCHANGED
    image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content, np.uint8), kept | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ImageRefused("it is not a grey or colour image of 8 or 16 bit; convert it to one")
    if image.ndim == 3:
        image = pixels.grey(image[..., ::-1]) if image.shape[2] == 3 else image[..., 0]
    return image


def _jpeg_xl(content: bytes) -> HeldStack:
    """Read a JPEG XL, all of it: its decoder gives no header."""
    with explaining("it is damaged"):
        import imagecodecs

        shape = (1, 1, *_jpeg_xl_size(content))
        fault = too_large(shape)
        if fault:
            raise ImageRefused(fault)
        image: NDArray[Any] = imagecodecs.jpegxl_decode(content)
        told = []
        if image.ndim == 3 and image.shape[2] in (2, 4):
            told.append("its transparency is left out")
        if image.ndim == 3 and image.shape[2] > 2:
            told.append(pixels.COLOURS)
            image = pixels.grey(image)
        elif image.ndim == 3:
            image = image[..., 0]
        told += pixels.told_of(image.dtype)
        if image.ndim != 2:
            raise ImageRefused("it holds several pictures; save each in a file of its own")
        made = pixels.exact(image)[None, None]
    header = Header(made.shape, bits=pixels.bits_of(image.dtype), told=tuple(told))
    return HeldStack(header, lambda: made)


def _jpeg_xl_size(content: bytes) -> tuple[int, int]:
    """Height and width that a JPEG XL says, at most (turned, they change places)."""
    begin = content.find(b"\xff\x0a", content.find(b"jxlc") if content.startswith(_JPEG_XL[1]) else 0)
    if begin < 0:
        raise ImageRefused("its codestream lies in parts; write it again")
    bits = int.from_bytes(content[begin + 2 : begin + 18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def size(small: int) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = size(small)
    ratio = take(3)
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * over // under if ratio else size(small)


def _content(source: Source) -> bytes:
    return source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
