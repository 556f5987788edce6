"""Planes that say where they belong, gathered into a stack: whole, or with a fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ImageRefused
from drivers.recorded import lengths
from drivers.recorded.held import MAX_STACK_BYTES, Header, HeldStack, StackParts

Pixels = NDArray[np.uint16]
ReadInto = Callable[[Pixels], Pixels]
"""Decodes a plane, uint16 YX: into the frame that it is given where it can, else into one of its own."""
MAX_PLANES = 1_000_000


@dataclass(frozen=True)
class HeldPlane:
    """One plane, and where it belongs in its stack.

    Attributes
    ----------
    z
        its number or its height: planes are put in the order of it.
    read
        decodes its pixels, right into the frame of its stack where that spares a copy.
    at_um
        x, y and z of the stage, None where nothing is said.
    fault
        why it cannot be read; empty where it can.
    """

    channel: str
    z: float
    read: ReadInto
    at_um: tuple[float | None, float | None, float | None] = (None, None, None)
    file: Path | None = None
    fault: str = ""


def gathered(
    planes: Sequence[HeldPlane],
    said: Header,
    *,
    channels: Sequence[str] = (),
    slices: int = 0,
    name: str = "",
    fault: str = "",
    look: Callable[[], StackParts] = StackParts,
) -> HeldStack:
    """Put planes together.

    Parameters
    ----------
    said
        of the frames, and of the stack so far as it is known; its numbers of channels and planes do not matter.
    channels
        that there should be, in their order.
    slices
        how many planes of each channel there should be, 0 where nothing is said.
    fault
        that is known already.
    look
        looks for what the planes themselves do not name, once that is asked for.
    """
    order = list(dict.fromkeys((*channels, *(plane.channel for plane in planes))))
    heights = sorted({plane.z for plane in planes})
    placed: dict[tuple[str, float], HeldPlane] = {}
    twice = [plane for plane in planes if placed.setdefault((plane.channel, plane.z), plane) is not plane]
    missing = next(((channel, z) for channel in order for z in heights if (channel, z) not in placed), None)
    shape = (len(order), max(slices, len(heights)), *said.shape_czyx[2:])
    expected = shape[0] * shape[1]
    if not fault and len(placed) < expected:
        first = f", the first is {_place(*missing)}" if missing else ""
        fault = f"{expected - len(placed)} of its {expected} planes are missing{first}; complete it"
    if not fault and twice:
        fault = f"it has {_place(twice[0].channel, twice[0].z)} more than once; leave one of them"
    fault = fault or next((plane.fault for plane in planes if plane.fault), "") or too_large(shape)
    ordered = [placed[order[0], z] for z in heights if (order[0], z) in placed] if order else []
    rising = [plane.at_um[2] for plane in ordered if plane.at_um[2] is not None]
    step_um, told = lengths.step(rising) if len(rising) == len(ordered) else (None, ())
    names = () if any(one in ("", *map(_unnamed, range(len(order)))) for one in order) else tuple(order)
    x, y, z = ordered[0].at_um if ordered else (None, None, None)
    header = replace(
        said,
        shape_czyx=shape,
        step_um=said.step_um or step_um,
        channels=names,
        position_um=(x or 0.0, y or 0.0, z or 0.0),
        told=(*said.told, *told),
    )
    files = tuple(dict.fromkeys(plane.file for plane in planes if plane.file is not None))
    in_order = [] if fault else [placed[channel, z] for channel in order for z in heights]

    def looked() -> StackParts:
        found = look()
        return StackParts(fault or found.fault, (*files, *found.files))

    return HeldStack(header, partial(_load, in_order, shape), name, looked)


def own_frame(read: Callable[[], Pixels]) -> ReadInto:
    """Give what decodes a plane into a frame of its own."""
    return lambda _: read()


def check_count(planes: int) -> None:
    """Refuse to look for more planes than any recording has.

    Raises
    ------
    ImageRefused
        There are so many.
    """
    if planes > MAX_PLANES:
        raise ImageRefused(f"it says that it has {planes} planes; write it again")


def too_large(shape_czyx: Sequence[int]) -> str:
    """Say that a stack is larger than can be read; empty where it is not."""
    if math.prod(shape_czyx) * 2 <= MAX_STACK_BYTES:
        return ""
    return f"it is a stack of {' x '.join(map(str, shape_czyx))} px (CZYX), more than 4 GB; split it"


def channel_names(said: Sequence[str], count: int) -> list[str]:
    """Give the names of channels where each has one of its own, else numbers that are not taken for names."""
    if len(said) >= count and len(set(said[:count])) == count and all(said[:count]):
        return list(said[:count])
    return [_unnamed(nth) for nth in range(count)] if count > 1 else [""]


def channel_at(names: Sequence[str], nth: int) -> str:
    """Name of the nth channel, from 0; its number where there are fewer names."""
    return names[nth] if 0 <= nth < len(names) else _unnamed(nth)


def _unnamed(nth: int) -> str:
    return f"channel {nth}"


def unlike(names: Sequence[str]) -> list[str]:
    """Make names of stacks unlike each other; a single one needs none."""
    if len(names) < 2:
        return [""] * len(names)
    return [
        name if name and names.count(name) == 1 else f"{name or 'image'} {nth}" for nth, name in enumerate(names, 1)
    ]


def told_apart(places: Sequence[Mapping[str, object]]) -> list[str]:
    """Name places along axes by those axes alone along which they differ; a name is a name without its axis."""
    values: dict[str, set[object]] = {}
    for place in places:
        for axis, at in place.items():
            values.setdefault(axis, set()).add(at)
    differing = [axis for axis, ats in values.items() if len(ats) > 1]
    return [
        " ".join(_at(axis, place[axis]) for axis in differing if axis in place) or ("image" if len(places) > 1 else "")
        for place in places
    ]


def _at(axis: str, at: object) -> str:
    return at if isinstance(at, str) and axis == "position" else f"{axis} {at}"


def _load(planes: Sequence[HeldPlane], shape: tuple[int, int, int, int]) -> Pixels:
    pixels = np.empty(shape, np.uint16)
    for plane, target in zip(planes, pixels.reshape(-1, *shape[2:]), strict=True):
        read = plane.read(target)
        if read.shape != target.shape:
            raise ImageRefused(
                f"{_place(plane.channel, plane.z)} is {read.shape[1]} x {read.shape[0]} px where others are "
                f"{shape[3]} x {shape[2]}; leave it out"
            )
        if read is not target:
            target[:] = read
    return pixels


def _place(channel: str, z: float) -> str:
    return f"plane {z:g}" + (f" of {channel}" if channel else "")
