"""Writes small files of Leica and Zeiss, after the public descriptions of their formats."""

from __future__ import annotations

import struct
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


def czi(scenes: NDArray[np.uint16], *, packed: bool = False, without: int = 0) -> bytes:
    """Write a CZI of scenes SCZYX, `packed` with Zstandard, `without` so many planes at its end."""
    _, count, planes, height, width = scenes.shape
    out, entries = bytearray(512 + 32), []
    places = list(np.ndindex(*scenes.shape[:3]))
    for s, c, z in places[: len(places) - without]:
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
    channels = "".join(f'<Channel Id="Channel:{c}" Name="{name}"/>' for c, name in enumerate(("LR", "LL")[:count]))
    xml = (
        f"<ImageDocument><Metadata><Information><Image><SizeC>{count}</SizeC><SizeZ>{planes}</SizeZ>"
        f"<ComponentBitCount>12</ComponentBitCount><Dimensions><Channels>{channels}</Channels></Dimensions></Image>"
        f"</Information><Scaling><Items>{distances}</Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    out += _segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    header = struct.pack("<ii8x16s16siqqiq", 1, 0, bytes(16), bytes(16), 0, directory, metadata, 0, 0)
    out[: 512 + 32] = _segment(b"ZISRAWFILE", header.ljust(512, b"\0"))
    return bytes(out)


def _segment(name: bytes, content: bytes) -> bytes:
    content = content.ljust(-(-len(content) // 32) * 32, b"\0")
    return struct.pack("<16sqq", name, len(content), len(content)) + content
