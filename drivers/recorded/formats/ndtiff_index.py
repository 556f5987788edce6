"""The index of an NDTiff dataset: which plane lies where in which file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from drivers.errors import ImageRefused
from drivers.recorded.formats.micromanager import UNENDED
from drivers.recorded.held import explaining

INDEX = "NDTiff.index"
MAX_INDEX_BYTES = 256 << 20
_NUMBERS = struct.Struct("<8I")
_LAST_ZEROS = 7
"""So many bytes at the end of an entry may be zero: the kind of its metadata, and all but the last of their length."""
TORN = f"its {INDEX} ends within an entry"
Axes = Mapping[str, int | str | float]
KINDS = {0: (1, 8, 1), 1: (2, 16, 1), 2: (1, 8, 3), 3: (2, 10, 1), 4: (2, 12, 1), 5: (2, 14, 1), 6: (2, 11, 1)}
"""Bytes and bits of a sample, and samples of a pixel, by the number of its type."""


@dataclass(frozen=True)
class IndexedPlane:
    """A plane, as the index says."""

    axes: Axes
    file: str
    offset: int
    width: int
    height: int
    kind: int
    compression: int
    metadata_offset: int
    metadata_bytes: int

    @property
    def pixel_bytes(self) -> int:
        """How many bytes its pixels have."""
        sample_bytes, _, samples = KINDS[self.kind]
        return self.width * self.height * sample_bytes * samples


class DatasetIndex(NamedTuple):
    """What an index names.

    Attributes
    ----------
    planes
        in the order in which they were recorded.
    end
        why there may be more of them; empty where the index was ended.
    """

    planes: list[IndexedPlane]
    end: str = ""


def axes_of(said: Mapping[object, object]) -> Axes:
    """Axes of a plane; their names as they are written by Micro-Manager and by Magellan."""
    axes: dict[str, int | str | float] = {}
    for name, at in said.items():
        if not isinstance(name, str) or not isinstance(at, int | str | float):
            raise ImageRefused(f"its {INDEX} says {name!r}: {at!r} of a plane, which is no place; it is damaged")
        axes[name] = at
    return axes


def read_index(path: Path) -> DatasetIndex:
    """Read an index, as far as it goes.

    Raises
    ------
    ImageRefused
        It is damaged, or larger than can be read.
    """
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise ImageRefused(f"its {INDEX} has more than 256 MB; split it")
    planes: list[IndexedPlane] = []
    content, at = path.read_bytes(), 0
    written = len(content.rstrip(b"\0"))  # room may be kept behind it, until it is ended
    with explaining(f"its {INDEX} is damaged"):
        while at < len(content):
            if at >= written:
                return DatasetIndex(planes, UNENDED)
            texts: list[bytes] = []
            for _ in range(2):
                if at + 4 > len(content):
                    return DatasetIndex(planes, TORN)
                (length,) = struct.unpack_from("<I", content, at)
                texts.append(content[at + 4 : at + 4 + length])
                at += 4 + length
            if at + _NUMBERS.size > len(content) or at + _NUMBERS.size - written > _LAST_ZEROS:
                return DatasetIndex(planes, TORN)
            numbers = _NUMBERS.unpack_from(content, at)
            at += _NUMBERS.size
            axes = axes_of(json.loads(texts[0].decode("utf-8")))
            planes.append(IndexedPlane(axes, texts[1].decode("utf-8"), *numbers[:-1]))
    return DatasetIndex(planes)
