"""Splits of a library: what learns and what judges, apart by sample, mini-slide or day, drawn by a seed, recorded.

Pictures of one sample are alike for many reasons that have nothing to do with what is in them. Split at random, a
classifier is judged by what it has seen: figures come out 9 to 15 points too good.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
from rich.console import Console

from daemon.library.duplicates import Group, near_duplicates, same_pictures
from daemon.library.entry import Entry
from daemon.library.library import Library
from daemon.library.sources.places import is_day
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import DamagedFile, Refused
from inference.wording import counted

SPLITS = "splits"
By = Literal["sample", "slide", "day"]
Side = Literal["learn", "judge"]
SIDES: tuple[Side, ...] = get_args(Side)
TOLD = 5
FEW_EACH = 1.5
"""Specimens of a sample, mini-slide or day, below which that tells nothing of what was taken together."""


class LibrarySplit(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are for what.

    Attributes
    ----------
    by
        what is never on two sides.
    seed
        by which it was drawn.
    judge
        share of the entries that judges, as it was asked for.
    groups
        side of each sample, mini-slide or day.
    keys
        of the entries on each side.
    left_out
        by key and reason, entries that are on no side.
    library_sha256
        of the library that it was drawn from.
    """

    by: By
    seed: int
    judge: float
    groups: dict[str, Side]
    keys: dict[Side, tuple[str, ...]]
    left_out: dict[str, str]
    library_sha256: str

    @property
    def sha256(self) -> str:
        """Hex sha256 of which entries are on which side."""
        sides = {side: sorted(self.keys.get(side, ())) for side in SIDES}
        return hashlib.sha256(msgspec.json.encode(sides, order="deterministic")).hexdigest()

    @property
    def name(self) -> str:
        """Name of its file, without ending."""
        return f"{self.by}-{self.seed}-{self.sha256[:8]}"


def draw(library: Library, by: By, seed: int, judge: float = 0.2) -> LibrarySplit:
    """Draw a split.

    Whole samples, mini-slides or days go to one side, in an order drawn by the seed, until that has its share. A
    picture of two names teaches nothing and is left out on all sides; of pictures on two sides that are the same, or
    nearly so, those that would learn are left out.

    Raises
    ------
    Refused
        It is not known of an entry where it is from, what it has for a day is none, or there are too few groups.
    """
    entries = library.learnable()
    unknown = [entry for entry in entries if not getattr(entry, by)]
    if unknown:
        raise Refused(
            f"{counted(len(unknown), 'specimen')} of {len(entries)} have no {by}, such as {unknown[0].key}; say it "
            "with --names or --table of `lamelle library build`, or split by something else"
        )
    strange = [entry for entry in entries if by == "day" and not is_day(entry.day)]
    if strange:
        raise Refused(
            f"{counted(len(strange), 'specimen')} of {len(entries)} have a day that is none, such as "
            f"{strange[0].day!r} of {strange[0].key}; mend --names or --table of `lamelle library build`, or split by "
            "something else"
        )
    sizes = Counter(getattr(entry, by) for entry in entries)
    if len(sizes) < 2:
        raise Refused(
            f"the library has {counted(len(sizes), by)}, too few to learn and judge apart; split by something "
            "else, or add more"
        )
    groups = _sides(sizes, seed, judge)
    left_out = dict(_contradicting(library, entries))
    kept = [entry for entry in entries if entry.key not in left_out]
    side_of = {entry.key: groups[getattr(entry, by)] for entry in kept}
    for group in _repeated(kept):
        firm = max((side_of[entry.key] for entry in group.entries), key=SIDES.index)
        for entry in group.entries:
            if side_of[entry.key] != firm:
                left_out[entry.key] = f"is the same picture as one that is to {firm}, or nearly so"
    keys: dict[Side, tuple[str, ...]] = {
        side: tuple(key for key, on in side_of.items() if on == side and key not in left_out) for side in SIDES
    }
    return LibrarySplit(
        by=by, seed=seed, judge=judge, groups=groups, keys=keys, left_out=left_out,
        library_sha256=library.sha256,
    )  # fmt: skip


def _sides(sizes: Mapping[str, int], seed: int, judge: float) -> dict[str, Side]:
    """Draw the side of each group: groups judge until these have their share, none that is far too large."""
    order = sorted(sizes)
    random.Random(seed).shuffle(order)  # noqa: S311 - for a split that can be drawn again
    wanted, held = judge * sum(sizes.values()), 0
    judging: set[str] = set()
    for group in order:
        if held < wanted and (held + sizes[group] <= 1.5 * wanted or not held) and len(judging) + 1 < len(sizes):
            judging.add(group)
            held += sizes[group]
    return {group: "judge" if group in judging else "learn" for group in sorted(sizes)}


def _contradicting(library: Library, entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    for group in same_pictures(entries):
        names = sorted({library.taxon(entry) for entry in group.entries})
        if len(names) > 1:
            for entry in group.entries:
                yield entry.key, f"is one picture that is called {' and '.join(names)}"


def _repeated(entries: Sequence[Entry]) -> list[Group]:
    """Group what shows one picture, or nearly so; all that have the same pixels are in."""
    near = near_duplicates(entries)
    by_hash: dict[str, list[Entry]] = {}
    for entry in entries:
        by_hash.setdefault(entry.sha256, []).append(entry)
    wide = [Group(tuple(one for entry in group.entries for one in by_hash[entry.sha256])) for group in near]
    grouped = {entry.key for group in wide for entry in group.entries}
    return wide + [group for group in same_pictures(entries) if group.entries[0].key not in grouped]


def leaks(library: Library, split: LibrarySplit) -> list[str]:
    """Say what is on two sides of a split, a sentence each; none for one that `draw` made of this library."""
    side_of = {key: side for side, keys in split.keys.items() for key in keys}
    found = [f"{key} is no longer in the library" for key in side_of if key not in library.entries]
    entries = [library.entries[key] for key in side_of if key in library.entries]
    sides: dict[str, set[Side]] = {}
    for entry in entries:
        sides.setdefault(getattr(entry, split.by), set()).add(side_of[entry.key])
    found += [f"{split.by} {group!r} is to {' and to '.join(sorted(on))}" for group, on in sides.items() if len(on) > 1]
    for group in _repeated(entries):
        on = {side_of[entry.key] for entry in group.entries}
        if len(on) > 1:
            names = ", ".join(f"{entry.key} ({side_of[entry.key]})" for entry in group.entries[:TOLD])
            found.append(f"the same picture, or nearly so, is on {len(on)} sides: {names}")
    return found


def require_no_leak(library: Library, split: LibrarySplit) -> None:
    """Refuse a split by which something would be judged that was learnt.

    Raises
    ------
    Refused
        It has a leak, or the library changed so that it has one now.
    """
    found = leaks(library, split)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise Refused(f"split {split.name} leaks: {found[0]}{more}; draw it again with `lamelle library split`")


def write_split(library: Path, split: LibrarySplit) -> Path:
    """Record a split in its library."""
    path = library / SPLITS / f"{split.name}.json"
    make_folder(path.parent)
    with replacing(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(split), indent=1))
    return path


def recorded_splits(library: Path) -> dict[str, LibrarySplit]:
    """Read the splits that are recorded in a library, by their names; errors as `read_split`.

    Raises
    ------
    OSError
        Their folder cannot be looked into.
    """
    folder = library / SPLITS
    listed = sorted(folder.iterdir()) if folder.exists() else []  # a glob says nothing where it may not look
    return {path.stem: read_split(path) for path in listed if path.suffix == ".json"}


def read_split(path: Path) -> LibrarySplit:
    """Read a recorded split.

    Raises
    ------
    Refused
        It is not there.
    DamagedFile
        It is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=LibrarySplit)
    except OSError as error:
        raise Refused(f"the split {path} cannot be read ({error.strerror}); name another") from error
    except msgspec.DecodeError as error:
        raise DamagedFile(f"{path} is no split ({error}); draw it again with `lamelle library split`") from error


def notes_of(library: Library, split: LibrarySplit) -> list[str]:
    """Say what of a split is worth a look: samples on two sides, taxa that nobody judges or learns."""
    notes = []
    if len(split.keys["learn"]) + len(split.keys["judge"]) < FEW_EACH * len(split.groups):
        notes.append(
            f"there are nearly as many {split.by}s as specimens: split so, what is alike is on both sides, and figures "
            "are as good as at random; see that the library knows what was taken together"
        )
    side_of = {key: side for side, keys in split.keys.items() for key in keys}
    samples: dict[str, set[Side]] = {}
    for key, side in side_of.items():
        samples.setdefault(library.entries[key].sample, set()).add(side)
    both = [sample for sample, on in samples.items() if sample and len(on) > 1]
    if both:
        notes.append(
            f"{counted(len(both), 'sample is', 'samples are')} on two sides, such as {both[0]!r}: figures for new "
            "samples will be worse; split by sample to see them"
        )
    taxa = {side: {library.taxon(library.entries[key]) for key in keys} for side, keys in split.keys.items()}
    every = {library.taxon(entry) for entry in library.learnable()}
    for side, what in (("learn", "learnt"), ("judge", "judged")):
        missing = sorted(every - taxa.get(side, set()))
        if missing:
            notes.append(f"nothing of {', '.join(missing)} is {what}")
    if split.left_out:
        notes.append(
            f"{counted(len(split.left_out), 'specimen is', 'specimens are')} on no side, being the same as others"
        )
    return notes


def record(folder: Path, by: By, seed: int, judge: float, console: Console) -> Path:
    """Draw a split, record it in the library, and print what is worth a look."""
    library = Library.open(folder)
    split = draw(library, by, seed, judge)
    require_no_leak(library, split)
    path = write_split(folder, split)
    for side in SIDES:
        groups = sum(on == side for on in split.groups.values())
        line = f"{side}: {counted(len(split.keys[side]), 'specimen')} of {counted(groups, by)}"
        console.print(line, markup=False, highlight=False)
    for note in notes_of(library, split):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    return path
