"""`lamelle look`: what the reader of images sees in files and folders before anything is run, and why not more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from daemon.records.fields import ArchiveField
from daemon.records.records import NAMES_TOLD, message_with
from daemon.reprocessing.archive import Archive, ArchiveSettings, look_through
from daemon.reprocessing.archive_stacks import describe, not_said, stored_stack
from daemon.system.errors import Exit
from daemon.system.progress import CountDisplay
from drivers.errors import ImageRefused, NotSaid
from drivers.recorded.likely_planes import likely_planes
from drivers.recorded.reading import Shape
from inference.wording import counted

ROWS = 40
"""So many rows are shown."""
FEW = 2
"""So many of the stacks are named that have something in common."""
NONE = "-"


class SeenStack(msgspec.Struct, frozen=True, kw_only=True):
    """A stack as the reader sees it; None, or nothing, where it does not say.

    Attributes
    ----------
    name
        of its first file, and of the stack where that holds several.
    files
        that it lies in.
    channels
        names that the file has for what lies along C.
    polarizations
        the states that are taken.
    bits
        that a pixel of the camera has.
    told
        how it is read, a clause each.
    needs
        what has to be said before it can be analysed, a sentence each.
    fault
        why it cannot be read, or analysed.
    """

    sample: str
    name: str
    files: tuple[str, ...]
    shape_czyx: tuple[int, int, int, int] | None = None
    pixel_um: float | None = None
    step_um: float | None = None
    channels: tuple[str, ...] = ()
    polarizations: tuple[str, ...] = ()
    bits: int | None = None
    told: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    fault: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader sees.

    Attributes
    ----------
    left_out
        why something is not read, by name.
    beside
        how many files of each kind no image is expected in.
    notes
        what may be meant otherwise than it is read, a sentence each.
    """

    root: str
    counts: str
    stacks: tuple[SeenStack, ...]
    left_out: dict[str, str]
    beside: dict[str, int]
    notes: tuple[str, ...] = ()


def look(places: Sequence[Path], settings: ArchiveSettings, console: Console, *, as_json: bool = False) -> Exit:
    """Print what the reader sees.

    Parameters
    ----------
    places
        folders and files.
    settings
        what is said of them, as for `detect`.
    as_json
        whether for programs, one object.

    Raises
    ------
    Refused
        A place does not exist, or an option means nothing.
    """
    seen = see(places, settings, Console(stderr=True, quiet=console.quiet))
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(seen)) + "\n")
    else:
        _show(seen, console)
    return Exit.SKIPPED if seen.left_out or any(one.fault for one in seen.stacks) else Exit.COMPLETE


def see(places: Sequence[Path], settings: ArchiveSettings, console: Console) -> Seen:
    """Open everything that lies there; see `look`."""
    archive = look_through(places, settings, None, console)
    stacks = []
    with CountDisplay("stacks looked at", console) as counter:
        for count, field in enumerate(archive.fields, 1):
            stacks.append(_seen(archive, field, settings))
            counter.show(count, len(archive.fields))
    return Seen(
        root=str(archive.root),
        counts=archive.counts(),
        stacks=tuple(stacks),
        left_out=archive.left_out,
        beside=archive.beside,
        notes=() if settings.planes else tuple(_perhaps_planes(stacks)),
    )


def _perhaps_planes(stacks: Iterable[SeenStack]) -> Iterator[str]:
    """Say which fields look like planes of stacks, and how that is said."""
    single: dict[tuple[str, Shape], list[str]] = {}
    for one in stacks:
        if one.shape_czyx is not None and one.shape_czyx[1] == 1 and one.files == (one.name,):
            folder, _, name = one.name.rpartition("/")
            single.setdefault((folder, one.shape_czyx), []).append(name)
    by_pattern: dict[str, list[str]] = {}
    for (folder, _), names in single.items():
        for likely in likely_planes(names):
            there = by_pattern.setdefault(likely.pattern, [])
            there += [f"{folder}/{name}" if folder else name for name in likely.names]
    for pattern, every in by_pattern.items():
        yield (
            f"{len(every)} files of one plane are named alike but for a number, such as {every[0]} and {every[1]}; "
            f'each is a field of its own: if they are planes of stacks, give --planes "{pattern}"'
        )


def _seen(archive: Archive, field: ArchiveField, settings: ArchiveSettings) -> SeenStack:
    known = SeenStack(sample=field.sample, name=field.title, files=field.names)
    try:
        headers = archive.all_headers(field)
        first, stored = headers[0], stored_stack(archive.root, field, settings)
        known = msgspec.structs.replace(
            known,
            shape_czyx=stored.whole_shape(headers),
            pixel_um=first.pixel_um or settings.pixel_um,
            step_um=first.step_um or settings.step_um,
            channels=first.channels,
            bits=first.bits,
            told=tuple(dict.fromkeys((*field.told, *(told for header in headers for told in header.told)))),
        )
        if needs := not_said(headers, stored, settings):
            return msgspec.structs.replace(known, needs=tuple(needs))
        found = describe(field, headers, stored, settings)
    except NotSaid as error:
        return msgspec.structs.replace(known, needs=(str(error),))
    except (ImageRefused, OSError) as error:
        return msgspec.structs.replace(known, fault=str(error))
    return msgspec.structs.replace(known, polarizations=found.polarizations, told=found.told)


def _show(seen: Seen, console: Console) -> None:
    """Print a row for each stack, those of a sample that are alike in one; then what is to be known of them."""
    alike: dict[SeenStack, list[SeenStack]] = {}
    for one in seen.stacks:
        if one.shape_czyx is not None:
            alike.setdefault(msgspec.structs.replace(one, name="", files=(), told=(), needs=(), fault=""), []).append(
                one
            )
    table = Table(title=escape(seen.root), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stack", overflow="fold", ratio=1)
    for name in ("fields", "C Z Y X", "pixel um", "step um"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("states")
    table.add_column("bits", justify="right")
    for same in list(alike.values())[:ROWS]:
        table.add_row(*_row(same))
    console.print(table)
    lines = [f"and {counted(len(alike) - ROWS, 'more kind')} of stacks: see --json"] if len(alike) > ROWS else []
    lines += _sums("", ((told, one.name) for one in seen.stacks for told in (*one.needs, *one.told)), FEW)
    lines += _sums("cannot be read: ", ((one.fault, one.name) for one in seen.stacks if one.fault))
    lines += _sums("left out: ", ((why, name) for name, why in seen.left_out.items()))
    for line in (*lines, *seen.notes, seen.counts):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _sums(begins: str, said: Iterable[tuple[str, str]], shown: int = NAMES_TOLD) -> list[str]:
    """Write a line for everything that is said, how often, and of which files."""
    names: dict[str, list[str]] = {}
    for what, name in said:
        names.setdefault(what, []).append(name)
    return [f"{len(every)} x {begins}{message_with(what, tuple(every), shown)}" for what, every in names.items()]


def _row(same: Sequence[SeenStack]) -> list[str]:
    first, last = same[0], same[-1]
    name = first.name if first is last else f"{first.name} ... {last.name.removeprefix(f'{first.sample}/')}"
    states = ", ".join(first.polarizations or (repr(channel) for channel in first.channels)) or NONE
    lengths = [NONE if value is None else f"{value:g}" for value in (first.pixel_um, first.step_um)]
    sizes = " ".join(map(str, first.shape_czyx or ()))
    bits = NONE if first.bits is None else str(first.bits)
    return [escape(name), str(len(same)), sizes, *lengths, escape(states), bits]
