"""Pictures: turned as they ask, in every depth, whole or told."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from daemon.system.extras import EXTRAS
from drivers.errors import ImageRefused
from drivers.recorded.held import ADDED
from drivers.recorded.images import opened, opened_one
from drivers.recorded.pixels import ORIENTED

GREY = np.random.default_rng(0).integers(0, 256, (40, 60)).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (40, 60)).astype(np.uint16)
COLOURS = np.random.default_rng(2).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def read(content: bytes) -> tuple[NDArray[np.uint16], int | None, tuple[str, ...]]:
    with opened_one(io.BytesIO(content)) as held:
        return held.read()[0, 0], held.header.bits, held.header.told


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(bits: int, rows: bytes, width: int, height: int) -> bytes:
    """Write a grey PNG of few bits, which Pillow does not."""
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_and_pixels_are_turned_as_the_picture_asks(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(GREY), kind, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    with opened_one(io.BytesIO(content)) as held:
        assert held.header.shape_czyx == (1, 1, *upright.shape)
        np.testing.assert_array_equal(held.read()[0, 0], upright)
        expected = (f"it is {ORIENTED[orientation]}, as its EXIF says",) if orientation > 1 else ()
        assert held.header.told == expected


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", ["eXIf", "tEXt", "zTXt"])
@pytest.mark.parametrize("pixels", [GREY, DEEP])
def test_exif_of_a_png_counts_wherever_it_stands(pixels: NDArray[Any], kind: str, behind: bool) -> None:
    """Also behind the pixels, and as text, as ImageMagick wrote it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()
    if kind != "eXIf":
        text = f"\nexif\n{len(content):8d}\n{content.hex()}\n".encode("latin-1")
        text = b"\0" + zlib.compress(text) if kind == "zTXt" else text
        said = chunk(kind.encode(), b"Raw profile type exif\0" + text)
    else:
        said = chunk(b"eXIf", content.removeprefix(b"Exif\0\0"))
    png = bytes(cv2.imencode(".png", pixels)[1])
    at = png.index(b"IEND" if behind else b"IDAT") - 4
    upright, _, told = read(png[:at] + said + png[at:])
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))
    assert told == (f"it is {ORIENTED[6]}, as its EXIF says",)


@pytest.mark.parametrize(
    ("content", "truth", "bits"),
    [
        (saved(Image.fromarray(GREY), "PNG"), GREY, 8),
        (saved(Image.fromarray(GREY), "BMP"), GREY, 8),
        (saved(Image.fromarray(GREY).convert("P"), "PNG"), GREY, 8),
        (bytes(cv2.imencode(".png", DEEP)[1]), DEEP, 16),
        (imagecodecs.jpeg2k_encode(DEEP >> 4, level=0, bitspersample=12, reversible=True), DEEP >> 4, 12),
        (imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True), DEEP, 16),
        (imagecodecs.jpegxl_encode(GREY, lossless=True), GREY, 8),
        (imagecodecs.jpegxl_encode(DEEP, lossless=True), DEEP, 16),
    ],
    ids=["png", "bmp", "palette", "png16", "jpeg2000-12", "jpeg2000-16", "jpegxl", "jpegxl16"],
)
def test_pictures_of_every_depth_are_read_exactly(content: bytes, truth: NDArray[Any], bits: int) -> None:
    pixels, said, _ = read(content)
    np.testing.assert_array_equal(pixels, truth)
    assert said == bits


def test_colours_are_made_grey_alike_in_every_kind() -> None:
    expected = cv2.cvtColor(COLOURS, cv2.COLOR_RGB2GRAY)
    image = Image.fromarray(COLOURS)
    for content in (
        saved(image, "PNG"),
        saved(image, "BMP"),
        bytes(imagecodecs.jpegxl_encode(COLOURS, lossless=True)),
        bytes(imagecodecs.jpeg2k_encode(COLOURS, level=0, reversible=True)),
    ):
        pixels, _, told = read(content)
        np.testing.assert_array_equal(pixels, expected)
        assert told == ("its colours are made grey",)
    image.putalpha(128)
    assert read(saved(image, "PNG"))[2] == ("its colours are made grey", "its transparency is left out")
    deep = np.stack([DEEP] * 3, axis=-1)
    pixels, bits, _ = read(bytes(cv2.imencode(".png", deep)[1]))
    np.testing.assert_array_equal(pixels, DEEP)
    assert bits == 16


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (saved(Image.fromarray(GREY).convert("1"), "PNG"), "its pixels are black and white alone; save it as grey"),
        (png_of(4, b"\0\x12\x34\0\x56\x78", 4, 2), "its pixels have 4 bit; save it with 8 or 16 bit a pixel"),
        (saved(Image.fromarray(COLOURS).convert("CMYK"), "JPEG"), "its pixels are CMYK; save it as grey or RGB"),
        (saved(Image.fromarray(GREY), "PNG")[:900], r"it is damaged \(image file is truncated"),
        (imagecodecs.jpegxl_encode(GREY)[:-200], "it is damaged"),
        (saved(Image.fromarray(GREY), "GIF"), "it is no image of a kind that is known; save it as PNG or TIFF"),
        (b"", "it is empty; copy it again"),
        (png_of(8, b"", 30_000, 30_000), "it has more pixels than can be analysed at once; cut it into tiles"),
        # A codestream whose height has 30 bit, as large as its width.
        (b"\xff\x0a" + (3 << 1 | (1 << 30) - 1 << 3 | 1 << 33).to_bytes(16, "little"), "more than 4 GB; split it"),
    ],
    ids=["1 bit", "4 bit", "cmyk", "cut off", "cut off jpegxl", "gif", "nothing", "vast", "vast jpegxl"],
)
def test_what_cannot_be_read_as_it_is_is_told(content: bytes, sentence: str) -> None:
    with pytest.raises(ImageRefused, match=sentence):
        read(content)


def test_what_is_not_installed_is_told_with_the_command_that_adds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = {"imagecodecs": b"\xff\x0a" + bytes(20), "nd2": b"\xda\xce\xbe\x0a", "liffile": b"p\0\0\0*"}
    starts["czifile"] = b"ZISRAWFILE"
    assert {*starts, "zarr"} == set(ADDED) == set(EXTRAS["formats"])
    for package, begins in starts.items():
        monkeypatch.setitem(sys.modules, package, None)
        path = tmp_path / package
        path.write_bytes(begins)
        expected = rf'{package} is not installed, .*; add it with: pip install "lamelle\[formats\]"'
        with pytest.raises(ImageRefused, match=expected), opened(path):
            pass
