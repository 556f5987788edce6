"""Writes small files of Leica and Zeiss, after the public descriptions of their formats."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import imagecodecs
import numpy as np
from numpy.typing import NDArray

PIXEL_M, STEP_M = 1e-7, 5e-7


def lif(images: Mapping[str, NDArray[np.uint16]]) -> bytes:
    """Write a LIF of images CZYX, of 12 bit."""
    elements, blocks = "", b""
    for nth, (name, pixels) in enumerate(images.items()):
        count, planes, height, width = pixels.shape
        sizes = ((1, width, PIXEL_M, 2), (2, height, PIXEL_M, 2 * width), (3, planes, STEP_M, 2 * width * height))
        dimensions = "".join(
            f'<DimensionDescription DimID="{axis}" NumberOfElements="{size}" Origin="0" Length="{(size - 1) * step}" '
            f'Unit="m" BitInc="0" BytesInc="{bytes_}"/>'
            for axis, size, step, bytes_ in sizes
        )
        channels = "".join(
            '<ChannelDescription DataType="0" ChannelTag="0" Resolution="12" NameOfMeasuredQuantity="" Min="0" Max="1" '
            f'Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{c * pixels[0].nbytes}" BitInc="0"/>'
            for c in range(count)
        )
        elements += (
            f'<Element Name="{name}" UniqueID="u{nth}"><Data><Image TextDescription=""><ImageDescription><Channels>'
            f"{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{nth}"/><Children/></Element>'
        )
        label = f"MemBlock_{nth}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, pixels.nbytes, 0x2A, len(label) // 2) + label
        blocks += struct.pack("<II", 0x70, len(head)) + head + pixels.tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="p" UniqueID="r"><Data><Experiment Path=""/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_r"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    return struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml + blocks


def czi(
    scenes: NDArray[np.uint16], *, packed: bool = False, without: int = 0, backwards: bool = False, shown: bool = False
) -> bytes:
    """Write a CZI of scenes SCZYX, `packed` with Zstandard, `without` so many planes at its end.

    Its planes may be written `backwards`, and its channels be named only where it says how they are `shown`.
    """
    _, count, planes, height, width = scenes.shape
    out, entries = bytearray(512 + 32), []
    places = list(np.ndindex(*scenes.shape[:3]))
    for s, c, z in places[::-1] if backwards else places[: len(places) - without]:
        data = scenes[s, c, z].tobytes()
        if packed:
            low_high = np.frombuffer(data, np.uint8).reshape(-1, 2).T.tobytes()
            data = b"\x03\x01\x01" + imagecodecs.zstd_encode(low_high)
        sizes = (("X", 100 * s, width), ("Y", 0, height), ("C", c, 1), ("Z", z, 1), ("T", 0, 1), ("S", s, 1))
        dimensions = b"".join(
            struct.pack("<4siifi", axis.encode(), start, size, float(start), size) for axis, start, size in sizes
        )
        kind = 6 if packed else 0
        entry = struct.pack("<2siqiiB5xi", b"DV", 1, len(out), 0, kind, 0, len(sizes)) + dimensions
        head = (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0")
        out += _segment(b"ZISRAWSUBBLOCK", head + data)
        entries.append(entry)
    directory = len(out)
    out += _segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    metadata = len(out)
    distances = "".join(
        f'<Distance Id="{axis}"><Value>{size}</Value></Distance>'
        for axis, size in (("X", PIXEL_M), ("Y", PIXEL_M), ("Z", STEP_M))
    )
    named = "".join(f'<Channel Id="Channel:{c}" Name="{name}"/>' for c, name in enumerate(("LR", "LL")[:count]))
    channels = "<Channel/>" * count if shown else named
    settings = f"<DisplaySetting><Channels>{named}</Channels></DisplaySetting>" if shown else ""
    xml = (
        f"<ImageDocument><Metadata><Information><Image><SizeC>{count}</SizeC><SizeZ>{planes}</SizeZ>"
        f"<ComponentBitCount>12</ComponentBitCount><Dimensions><Channels>{channels}</Channels></Dimensions></Image>"
        f"</Information><Scaling><Items>{distances}</Items></Scaling>{settings}</Metadata></ImageDocument>"
    ).encode()
    out += _segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    header = struct.pack("<ii8x16s16siqqiq", 1, 0, bytes(16), bytes(16), 0, directory, metadata, 0, 0)
    out[: 512 + 32] = _segment(b"ZISRAWFILE", header.ljust(512, b"\0"))
    return bytes(out)


def _segment(name: bytes, content: bytes) -> bytes:
    content = content.ljust(-(-len(content) // 32) * 32, b"\0")
    return struct.pack("<16sqq", name, len(content), len(content)) + content


def nd2(frame: NDArray[np.uint16], *, packed: bool = False, content: bytes = b"") -> bytes:
    """Write an ND2 of one frame YX of 12 bit, `packed` without loss, `content` in place of its pixels."""
    height, width = frame.shape
    said = {"uiWidth": width, "uiWidthBytes": 2 * width, "uiHeight": height, "uiComp": 1, "uiBpcInMemory": 16}
    said |= {"uiBpcSignificant": 12, "uiSequenceCount": 1, "eCompression": 0 if packed else 2}
    pixels = content or frame.tobytes()
    probe = _level("pFluorescentProbe", _number("m_uiColor", 0))
    plane = _level("sPlaneNew", _level("a0", _number("uiCompCount", 1), probe))
    planes = _level("sPicturePlanes", _number("uiCount", 1), _number("uiCompCount", 1), plane)
    pixel_um = _number("bCalibrated", 1), _real("dCalibration", 1e6 * PIXEL_M)
    parts = {
        b"ImageAttributesLV!": _level("SLxImageAttributes", *(_number(key, value) for key, value in said.items())),
        b"ImageMetadataSeqLV|0!": _level("SLxPictureMetadata", planes, *pixel_um),
        b"ImageDataSeq|0!": bytes(8) + (zlib.compress(pixels) if packed else pixels),
    }
    out = _chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places = b""
    for name, data in parts.items():
        places += name + struct.pack("<QQ", len(out), len(data))
        out += _chunk(name, data)
    signature = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    filemap = _chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + signature + struct.pack("<Q", len(out)))
    return out + filemap + signature + struct.pack("<Q", len(out))


def _chunk(name: bytes, data: bytes, name_bytes: int = 4072) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, name_bytes, len(data)) + name.ljust(name_bytes, b"\0") + data


def _number(name: str, value: int) -> bytes:
    return struct.pack("<BB", 3, len(name) + 1) + f"{name}\0".encode("utf-16-le") + struct.pack("<I", value)


def _real(name: str, value: float) -> bytes:
    return struct.pack("<BB", 6, len(name) + 1) + f"{name}\0".encode("utf-16-le") + struct.pack("<d", value)


def _level(name: str, *items: bytes) -> bytes:
    head = struct.pack("<BB", 11, len(name) + 1) + f"{name}\0".encode("utf-16-le")
    inside = b"".join(items)
    return head + struct.pack("<IQ", len(items), len(head) + 12 + len(inside)) + inside + bytes(8 * len(items))
