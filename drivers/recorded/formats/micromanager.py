"""What Micro-Manager says of a recording and of each of its planes, in all that it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tifffile

from drivers.errors import ImageRefused
from drivers.recorded import lengths
from drivers.recorded.gathered import MAX_PLANES, unlike
from drivers.recorded.held import Header, explaining

Said = Mapping[str, Any]
MAX_JSON_BYTES = 64 << 20
UNENDED = "its recording was not ended"
_TAG = "MicroManagerMetadata"


@dataclass(frozen=True)
class Place:
    """Where a plane belongs: its channel, plane, point in time and position, all counted from 0."""

    channel: int
    slice: int
    time: int
    position: int


def said(content: bytes | str) -> Said:
    """Parse what stands in a file.

    Raises
    ------
    ImageRefused
        It is damaged.
    """
    if len(content) > MAX_JSON_BYTES:
        raise ImageRefused(f"what it says of itself has {len(content) >> 20} MB, more than can be read")
    with explaining("what it says of itself is damaged"):
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        found = json.loads(text.strip("\0 \r\n\t"))
        if not isinstance(found, dict):
            raise TypeError("it is no object")
    return found


def channels_of(summary: Said) -> list[str]:
    """Names of the channels; empty where they are not named, or not each by its own name."""
    names = summary.get("ChNames", ())
    if isinstance(names, str):  # Micro-Manager 1.4 writes a text in a text
        names = said('{"names": ' + names + "}").get("names", ()) if names.startswith("[") else [names]
    count = count_of(summary, "Channels")
    named = [str(name) for name in names] if isinstance(names, list) else []
    named = named[: count or len(named)]
    return named if len(set(named)) == len(named) and all(named) else []


def count_of(summary: Said, key: str) -> int:
    """Count of something; 0 where it is not said."""
    count = lengths.positive(summary.get(key))
    return int(count) if count is not None and count <= MAX_PLANES else 0


def header(frame: Header, summary: Said, first: Said) -> Header:
    """Add what the recording and its first plane say to what is known of the frames."""
    pixel_um = lengths.positive(first.get("PixelSizeUm")) or lengths.positive(summary.get("PixelSize_um"))
    step_um = lengths.number(summary.get("z-step_um"))
    bits = lengths.positive(first.get("BitDepth")) or lengths.positive(summary.get("BitDepth"))
    return replace(
        frame,
        pixel_um=pixel_um,
        step_um=abs(step_um) if step_um else None,
        bits=frame.bits if bits is None or frame.bits is None else min(int(bits), frame.bits),
    )


def stands(plane: Said) -> tuple[float | None, float | None, float | None]:
    """Where the stage stood, in um."""
    x, y, z = (lengths.number(plane.get(f"{axis}PositionUm")) for axis in "XYZ")
    return x, y, z


def place(plane: Said, names: Sequence[str]) -> Place | None:
    """Where a plane says that it belongs; None where it does not say."""
    channel = plane.get("ChannelIndex")
    if channel is None and plane.get("Channel") in names:
        channel = names.index(plane["Channel"])
    found = (
        channel,
        plane.get("SliceIndex", plane.get("Slice")),
        plane.get("FrameIndex", plane.get("Frame", 0)),
        plane.get("PositionIndex", 0),
    )
    if not all(isinstance(one, int) and one >= 0 for one in found):
        return None
    return Place(*found)  # type: ignore[arg-type]


def of_page(page: tifffile.TiffPage) -> Said:
    """Return what a page of a TIFF says of its plane; nothing where Micro-Manager did not write it."""
    tag = page.tags.get(_TAG)
    return tag.value if tag is not None and isinstance(tag.value, dict) else {}


def stack_names(summary: Said, firsts: Mapping[tuple[int, int], Said]) -> list[str]:
    """Name stacks by their positions, and by their points in time where there are several.

    Parameters
    ----------
    firsts
        what the first plane of each stack says, by its position and point in time.
    """
    several = len({time for _, time in firsts}) > 1
    return unlike(
        [
            _position_name(summary, plane, position) + (f" time {time}" if several else "")
            for (position, time), plane in firsts.items()
        ]
    )


def _position_name(summary: Said, plane: Said, position: int) -> str:
    """Name of a position, as its list in Micro-Manager says it."""
    name = plane.get("PositionName")
    listed = summary.get("StagePositions") or summary.get("InitialPositionList")
    if not name and isinstance(listed, list) and position < len(listed) and isinstance(listed[position], dict):
        name = listed[position].get("Label")
    return str(name or f"position {position}")
