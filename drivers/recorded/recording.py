"""Recorded fields on disk: stacks, or plane files, by the names of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drivers.errors import ImageRefused, SettingRefused
from drivers.microscope import ReplayedFile, Stack
from drivers.recorded.file_names import NamePattern, Polarizations, natural
from drivers.recorded.held import Header
from drivers.recorded.listing import list_images
from drivers.recorded.reading import Accept, Shape, StoredStack, first_header, headers_of
from drivers.recorded.stacks import FoundStack, find_stacks
from drivers.settings import Instrument, Replay

ANY_SLIDE = ""
SLIDES = tuple(map(str, range(1, 9)))
TOLD = 3
"""So many names stand in a sentence."""


class ReadField(NamedTuple):
    """A recorded stack, axes CZYX, and its files."""

    pixels: Stack
    sources: tuple[ReplayedFile, ...]


@dataclass(frozen=True)
class Recording:
    """Recorded fields, in order, of each recorded slide.

    Attributes
    ----------
    fields
        of each slide, of `ANY_SLIDE` where the files do not name one; those that are not whole among them, in their
        places, so that a night skips and tells them.
    polarizations
        what names have for the states.
    shape_czyx
        of the first stack, and of every one that is read.
    bit_depth
        of every frame.
    notes
        what a person should know of it, a sentence each.
    """

    folder: Path
    fields: Mapping[str, tuple[FoundStack, ...]]
    polarizations: Polarizations
    shape_czyx: Shape
    bit_depth: int
    notes: tuple[str, ...] = ()

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

    def passed_over(self, fields: int) -> Iterator[str]:
        """Say which recorded fields a scan of so many of each mini-slide does not come to."""
        for slide, of_slide in self.fields.items():
            if len(of_slide) > fields:
                where = f" of mini-slide {slide}" if slide else ""
                yield f"{self.folder} holds {len(of_slide)} fields{where}; scan.fields takes the first {fields}"

    def look(self) -> None:
        """Look into every file of every field, and refuse what is not like the first field.

        Raises
        ------
        SettingRefused
            It says which cannot be read, and which are of another shape.
        """
        others: list[str] = []
        for one in (one for one in self._every() if not one.files.fault):
            try:
                shape = self._stored(one).shape(headers_of(self.folder, one))
            except (ImageRefused, OSError) as error:
                raise SettingRefused(f"{_title(one)} of {self.folder}: {error}; complete it or move it away") from error
            if shape != self.shape_czyx:
                others.append(f"{_title(one)} is {_sizes(shape)}")
        if others:
            more = f", and {len(others) - TOLD} more" if len(others) > TOLD else ""
            raise SettingRefused(
                f"the stacks recorded in {self.folder} are not of one shape: {_title(self._first())} is "
                f"{_sizes(self.shape_czyx)} (CZYX), but {', '.join(others[:TOLD])}{more}; move away what is not alike"
            )

    def read(self, slide: int, field: int) -> ReadField:
        """Read the stack of a mini-slide's nth field (from 1).

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
        one = of_slide[field - 1]
        hashes: dict[str, str] = {}
        try:
            if one.files.fault:
                raise ImageRefused(one.files.fault)
            stored = self._stored(one)
            read = stored.read(hashes, self._accept(stored), self.polarizations.states)
            return ReadField(
                read.pixels, tuple(ReplayedFile(name, sha256, one.name) for name, sha256 in hashes.items())
            )
        except (OSError, ImageRefused) as error:
            why = f"field {field} of mini-slide {slide} cannot be read: {_title(one)}: {error}"
            raise ImageRefused(why) from error

    def _accept(self, stored: StoredStack) -> Accept:
        def accept(headers: list[Header]) -> None:
            shape = stored.shape(headers)
            if shape != self.shape_czyx:
                raise ImageRefused(f"its shape is {_sizes(shape)} where the others have {_sizes(self.shape_czyx)}")

        return accept

    def _stored(self, one: FoundStack) -> StoredStack:
        return StoredStack.of(self.folder, one, self.polarizations)

    def _first(self) -> FoundStack:
        return next(one for one in self._every() if not one.files.fault)

    def _every(self) -> Iterator[FoundStack]:
        return (one for of_slide in self.fields.values() for one in of_slide)


def read_recording(replay: Replay, states: Sequence[str]) -> Recording:
    """Find the recorded fields and look into the first.

    Parameters
    ----------
    replay
        where they lie, and how they are named.
    states
        polarizations of the instrument, in the order in which unnamed ones were recorded.

    Raises
    ------
    SettingRefused
        There are none, or one is not whole that can be moved away; of an image among others in a file that is noted.
    """
    polarizations = replayed_polarizations(replay, states)
    pattern = None if replay.planes is None else NamePattern(replay.planes, "instrument.replay.planes")
    folder = replay.folder.resolve()
    listing = list_images(folder, [folder], None)
    found = find_stacks(folder, listing.sizes, pattern, polarizations, in_order=True)
    left_out = listing.left_out | found.left_out
    if not found.stacks:
        such = f", such as {next(iter(listing.sizes))!r}" if listing.sizes else ""
        told = "holds no image" if pattern is None else f"holds no file that fits {pattern.told}{such}"
        raise SettingRefused(f"instrument.replay.folder {str(replay.folder)!r} {told}; correct either")
    whole = {one.files.names[0] for one in found.stacks if not one.files.fault}
    broken = [one for one in found.stacks if one.files.fault]
    for one in broken:
        if one.files.names[0] not in whole:
            raise SettingRefused(f"{_title(one)} of {folder}: {one.files.fault}; complete it or move it away")
    fields: dict[str, list[FoundStack]] = {}
    for one in sorted(found.stacks, key=lambda one: (natural(one.files.folder), natural(one.files.field))):
        fields.setdefault(_slide(one, folder), []).append(one)
    first = next(one for of_slide in fields.values() for one in of_slide if not one.files.fault)
    try:
        header = first_header(folder, first)
        stored = StoredStack.of(folder, first, polarizations)
        shape = stored.shape([header] * len(stored.names))
    except ImageRefused as error:
        raise SettingRefused(f"{_title(first)} of {folder}: {error}") from error
    skipped = [f"{_title(one)} is not whole, so its field will be skipped: {one.files.fault}" for one in broken]
    notes = (*_notes(left_out), *skipped, *first.files.told, *header.told, *_by_order(header, polarizations))
    ordered = {slide: tuple(of_slide) for slide, of_slide in sorted(fields.items())}
    return Recording(folder, ordered, polarizations, shape, header.bits or 16, notes)


def replayed_polarizations(replay: Replay, states: Sequence[str]) -> Polarizations:
    """Say which states recorded stacks have, along C where nothing names them.

    Parameters
    ----------
    states
        polarizations of the instrument, in their order.

    Raises
    ------
    SettingRefused
        A state is unknown, or given twice.
    """
    given = sorted(replay.polarizations or states, key=_place_in(states))
    return Polarizations.of(given, states, "instrument.replay.polarizations")


def replayed_planes(recorded: int, planes: int) -> list[int]:
    """Which recorded planes stand for those of a sweep: spread evenly, first for first and last for last."""
    return [round(place) for place in np.linspace(0, recorded - 1, planes)]


def _slide(one: FoundStack, folder: Path) -> str:
    """Position of the mini-slide that a stack is of, `ANY_SLIDE` where its name does not say."""
    named = one.files.slide
    position = str(int(named)) if named.isdecimal() else named
    if position not in (ANY_SLIDE, *SLIDES):
        raise SettingRefused(
            f"{_title(one)} of {folder} is of slide {named!r} by instrument.replay.planes; {{slide}} stands for the "
            f"position of a mini-slide, {SLIDES[0]} to {SLIDES[-1]}"
        )
    return position


def _place_in(states: Sequence[str]) -> Callable[[str], int]:
    """Order of what stands for states, unknown ones last."""
    return lambda given: next((n for n, state in enumerate(states) if state == given.partition("=")[0]), len(states))


def _title(one: FoundStack) -> str:
    name = f"{one.files.names[0]!r}" + (f", {one.name}" if one.name else "")
    return f"the stack of {name}" if one.files.states else name


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _by_order(header: Header, polarizations: Polarizations) -> Iterator[str]:
    """Say where channels have names of their own, which do not tell what they are."""
    words = {word.lower() for word in polarizations.words}
    if any(header.channels) and not words & {name.lower() for name in header.channels}:
        names = ", ".join(map(repr, header.channels))
        states = ", ".join(polarizations.states)
        yield f"the channels {names} are taken as {states}, by their order; {polarizations.key} can say what they are"


def _notes(left_out: Mapping[str, str]) -> Iterator[str]:
    """Say what lies beside the recording and is not read."""
    whys: dict[str, list[str]] = {}
    for name, why in left_out.items():
        whys.setdefault(why, []).append(name)
    for why, names in whys.items():
        more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
        yield f"left out of the recording: {', '.join(names[:TOLD])}{more}: {why}"
