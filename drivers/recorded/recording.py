"""Recorded stacks on disk: one OME-TIFF a field, or one file a plane."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drivers.errors import ImageRefused, SettingRefused
from drivers.microscope import Stack
from drivers.recorded.held import Header
from drivers.recorded.images import opened_one
from drivers.settings import Instrument, Replay

ANY_SLIDE = ""

Planes = Mapping[tuple[int, int], Path]


@dataclass(frozen=True)
class Recording:
    """Recorded fields, in order, of each recorded slide.

    Attributes
    ----------
    fields
        of each slide (`ANY_SLIDE` where the files do not name one): a stack's file, or a field's planes by (c, z).
    shape_czyx
        of every stack.
    bit_depth
        of every frame.
    """

    folder: Path
    fields: Mapping[str, tuple[Path | Planes, ...]]
    shape_czyx: tuple[int, int, int, int]
    bit_depth: int

    def check(self, instrument: Instrument, planes: int | None = None, fields: int | None = None) -> None:
        """Refuse an instrument, and planes and fields of a scan, that the recording cannot serve."""
        states, recorded_planes, height, width = self.shape_czyx
        if instrument.frame_px != (height, width):
            raise SettingRefused(
                f"instrument.frame_px is {list(instrument.frame_px)}, but the frames recorded in {self.folder} are "
                f"[{height}, {width}] (rows, columns); set it so"
            )
        if len(instrument.polarizations) != states:
            raise SettingRefused(
                f"instrument.polarizations names {len(instrument.polarizations)} states, but the stacks recorded in "
                f"{self.folder} hold {states}; name as many, in the order they were recorded"
            )
        if planes is not None and planes > recorded_planes:
            raise SettingRefused(
                f"scan.planes is {planes}, but the stacks recorded in {self.folder} hold {recorded_planes}; ask for "
                f"{recorded_planes}, or fewer to replay an even choice of them"
            )
        fewest = min(len(of_slide) for of_slide in self.fields.values())
        if fields is not None and fields > fewest:
            raise SettingRefused(f"scan.fields is {fields}, but {self.folder} holds {fewest} recorded; ask for no more")

    def read(self, slide: int, field: int) -> Stack:
        """Read the stack of a mini-slide's nth field (from 1), axes CZYX.

        Raises
        ------
        ImageRefused
            It was not recorded, or cannot be read.
        """
        of_slide = self.fields.get(str(slide), self.fields.get(ANY_SLIDE, ()))
        if not 1 <= field <= len(of_slide):
            raise ImageRefused(
                f"field {field} of mini-slide {slide} was not recorded: {self.folder} holds {len(of_slide)}; "
                "ask for fewer scan.fields"
            )
        try:
            stack = _read(of_slide[field - 1], self.shape_czyx)
        except (OSError, ValueError, SettingRefused) as error:
            raise ImageRefused(f"field {field} of mini-slide {slide} cannot be read: {error}") from error
        return stack


def read_recording(replay: Replay) -> Recording:
    """Find the recorded fields and look into the first.

    Raises
    ------
    Refused
        There are none, or they do not make stacks of one shape.
    """
    paths = sorted((p for p in replay.folder.glob(replay.pattern) if p.is_file()), key=lambda p: _natural(str(p)))
    if not paths:
        raise SettingRefused(
            f"instrument.replay.pattern {replay.pattern!r} finds no file below {replay.folder}; correct either"
        )
    fields = _group(replay, paths)
    first = next(iter(fields.values()))[0]
    header = _header(first if isinstance(first, Path) else first[0, 0])
    states, planes = (
        header.shape_czyx[:2] if isinstance(first, Path) else (max(at[i] for at in first) + 1 for i in (0, 1))
    )
    return Recording(replay.folder, fields, (states, planes, *header.shape_czyx[2:]), header.bits or 16)


def _header(path: Path) -> Header:
    with opened_one(path) as held:
        return held.header


def _group(replay: Replay, paths: list[Path]) -> dict[str, tuple[Path | Planes, ...]]:
    """Sort files into slides, fields and, for `layout: planes`, polarizations and planes."""
    found: dict[str, dict[str, dict[tuple[str, str], Path]]] = defaultdict(lambda: defaultdict(dict))
    for path in paths:
        name = path.relative_to(replay.folder).as_posix()
        groups = _groups(replay, name)
        field = groups.get("field") or (name if replay.layout == "stacks" else "0")
        planes = found[groups.get("slide") or ANY_SLIDE][field]
        place = (groups.get("c") or "0", groups.get("z") or "0")
        if place in planes:
            raise SettingRefused(
                f"{name} and {planes[place].name} are both plane {place[1]} of polarization {place[0]} of field "
                f"{field}; name what tells them apart in instrument.replay.field_pattern"
            )
        planes[place] = path
    return {
        slide: tuple(
            next(iter(fields[key].values())) if replay.layout == "stacks" else _number(key, fields[key])
            for key in sorted(fields, key=_natural)
        )
        for slide, fields in found.items()
    }


def _groups(replay: Replay, name: str) -> dict[str, str | None]:
    if replay.field_pattern is None:
        if replay.layout == "planes":
            raise SettingRefused(
                "instrument.replay.field_pattern is missing; with layout planes it says where a file belongs"
            )
        return {}
    try:
        match = re.search(replay.field_pattern, name)
    except re.error as error:
        raise SettingRefused(
            f"instrument.replay.field_pattern is not a regular expression ({error}); correct it"
        ) from error
    if match is None:
        raise SettingRefused(
            f"instrument.replay.field_pattern {replay.field_pattern!r} does not match {name!r}; "
            "correct it, or narrow instrument.replay.pattern"
        )
    return match.groupdict()


def _number(field: str, files: dict[tuple[str, str], Path]) -> Planes:
    """Count polarizations and planes from 0 in their natural order."""
    states = sorted({c for c, _ in files}, key=_natural)
    heights = sorted({z for _, z in files}, key=_natural)
    if len(files) != len(states) * len(heights):
        raise SettingRefused(
            f"field {field} has {len(files)} files for {len(states)} polarizations of {len(heights)} planes; "
            "complete it or move it away"
        )
    return {(states.index(c), heights.index(z)): path for (c, z), path in files.items()}


def _natural(text: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def _read(source: Path | Planes, shape: tuple[int, int, int, int]) -> Stack:
    stack = _open(source) if isinstance(source, Path) else _assemble(source)
    if stack.shape != shape:
        raise ImageRefused(f"its shape is {stack.shape} where the others have {shape}; move it away")
    return stack


def _open(path: Path) -> Stack:
    """Read a stack file, axes CZYX."""
    with opened_one(path) as held:
        return held.read()


def _assemble(planes: Planes) -> Stack:
    """Read a field's plane files, axes CZYX."""
    states, heights = (max(place[i] for place in planes) + 1 for i in (0, 1))
    frames = {place: _open(path)[0, 0] for place, path in planes.items()}
    return np.stack([np.stack([frames[c, z] for z in range(heights)]) for c in range(states)])
