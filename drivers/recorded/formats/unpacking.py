"""How much packed bytes unpack to, known before memory is taken for it."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

_BLOCK = 1 << 20
_ZSTD = 0xFD2FB528
_LENGTHS = ("<B", "<H", "<I", "<Q")
UNPACKERS: dict[str, Callable[[], Any]] = {
    "zlib": zlib.decompressobj,
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}
"""Those of Python, which unpack as much as one asks for; they do not say how much there is."""
SAY = frozenset({"blosc", "lz4", "zstd"})
"""Those that mostly say how much they unpack to."""


def unpacks_to_more(name: str, content: bytes, most: int) -> bool:
    """Whether packed bytes unpack to more than so many, found out without keeping them.

    Parameters
    ----------
    name
        of what packed them, one of `UNPACKERS` and `SAY`.
    content
        the packed bytes.
    most
        bytes that are expected.
    """
    if name == "blosc":
        return _integer("<I", content, 4) > most
    if name == "lz4":
        return _integer("<I", content, 0) > most
    if name == "zstd":
        said = _zstd_bytes(content)
        return _zstd_is_longer(content, most) if said is None else said > most
    return _is_longer(UNPACKERS[name], content, most)


def _is_longer(make: Callable[[], Any], content: bytes, most: int) -> bool:
    """Unpack piece by piece, until it is too much; what else is wrong is told by whoever reads the pixels."""
    count, rest, unpacker = 0, content, make()
    try:
        while count <= most:
            if unpacker.eof:
                if not unpacker.unused_data:
                    return False
                rest, unpacker = unpacker.unused_data, make()  # one may be packed behind the other
            found = len(unpacker.decompress(rest, _BLOCK))
            rest = getattr(unpacker, "unconsumed_tail", b"")
            if not found and not unpacker.eof:
                return False
            count += found
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        return False
    return True


def _zstd_bytes(content: bytes) -> int | None:
    """Read how much a frame of Zstandard says that it unpacks to; None where it does not say."""
    if _integer("<I", content, 0) != _ZSTD or len(content) < 5:
        return 0
    flags = content[4]
    kind, single = flags >> 6, bool(flags & 0x20)
    if not kind and not single:
        return None
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return _integer(_LENGTHS[kind], content, at) + (256 if kind == 1 else 0)


def _zstd_is_longer(content: bytes, most: int) -> bool:
    import imagecodecs

    try:
        imagecodecs.zstd_decode(content, out=most)
    except (imagecodecs.ZstdError, ValueError):
        return True
    return False


def _integer(kind: str, content: bytes, at: int) -> int:
    if at + struct.calcsize(kind) > len(content):
        return 0
    (value,) = struct.unpack_from(kind, content, at)
    return int(value)
