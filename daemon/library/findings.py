"""What is doubtful about a library before anything is learnt from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from daemon.config.taxonomy import NOT_NAMED, UNSURE
from daemon.library.class_names import TAXONOMY
from daemon.library.duplicates import RULE, SMALLEST_PX, Group, near_duplicates, same_pictures
from daemon.library.entry import Entry
from daemon.library.library import Library
from daemon.library.pixels import place_of
from daemon.library.sources.places import impossible
from inference.wording import counted

FEW = 10
"""Classes with fewer examples are kept, and not known."""
UNEQUAL = 100
"""Times by which the largest class may be larger than the smallest that is learnt."""

Kind = Literal[
    "two names",
    "alike, two names",
    "looks mislabelled",
    "same picture",
    "alike",
    "nested",
    "few",
    "unequal",
    "day",
    "constant",
    "tiny",
    "changed",
    "not in the taxonomy",
    "unsure",
    "origin unknown",
    "left out",
]
TITLES: dict[Kind, str] = {
    "two names": "One picture under two names",
    "alike, two names": "Nearly the same picture under two names",
    "looks mislabelled": "Looks mislabelled",
    "same picture": "The same picture several times",
    "alike": "Nearly the same picture",
    "nested": "Classes in classes",
    "few": "Classes of few pictures, or none",
    "unequal": "Very unequal classes",
    "day": "Days that cannot be",
    "constant": "Pictures of one value",
    "tiny": "Pictures in which little can be seen",
    "changed": "Files that changed or are gone",
    "not in the taxonomy": "Classes that are not in the taxonomy",
    "unsure": "Kept as unsure",
    "origin unknown": "Samples, mini-slides and days that nobody said",
    "left out": "Not taken in",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something doubtful.

    Attributes
    ----------
    told
        what it is, a sentence.
    keys
        of the entries that it is about.
    """

    kind: Kind
    told: str
    keys: tuple[str, ...] = ()


def find(library: Library, today: date) -> list[Finding]:
    """Find all that can be told without learning anything, in the order of `TITLES`."""
    entries = list(library.entries.values())
    found = [*_repeated(library, entries), *_of_classes(library), *_of_entries(library, entries, today)]
    found += [
        Finding(kind="left out", told=f"{source}/{name}: {why}")
        for source, names in library.left_out.items()
        for name, why in names.items()
    ]
    return sorted(found, key=lambda finding: list(TITLES).index(finding.kind))


def _repeated(library: Library, entries: Sequence[Entry]) -> Iterator[Finding]:
    visible = [entry for entry in entries if not entry.constant]
    for group, how in [
        *((group, "the same picture") for group in same_pictures(visible)),
        *((group, f"nearly the same picture ({group.alike:.3f})") for group in near_duplicates(visible)),
    ]:
        names = sorted({_name(library, entry) for entry in group.entries})
        kind: Kind
        if how == "the same picture":
            kind = "two names" if len(names) > 1 else "same picture"
        else:
            kind = "alike, two names" if len(names) > 1 else "alike"
        keys = ", ".join(entry.key for entry in group.entries)
        called = f"called {' and '.join(names)}" if len(names) > 1 else f"all called {names[0]}"
        yield Finding(kind=kind, told=f"{how}, {called}: {keys}", keys=_keys(group))


def _keys(group: Group) -> tuple[str, ...]:
    return tuple(entry.key for entry in group.entries)


def _name(library: Library, entry: Entry) -> str:
    identifier = library.taxon(entry)
    taxon = library.taxonomy.of(identifier) if identifier else None
    return entry.label if taxon is None else taxon.name


def counts(library: Library) -> dict[str, int]:
    """Count the examples of each taxon that has any, or that has no part in the taxonomy that could have some."""
    counted_ = Counter(library.taxon(entry) for entry in library.learnable())
    leaves = [taxon.identifier for taxon in library.taxonomy.taxa if not library.taxonomy.children(taxon.identifier)]
    return {identifier: counted_[identifier] for identifier in sorted({*leaves, *counted_})}


def _of_classes(library: Library) -> Iterator[Finding]:
    of = counts(library)
    if len(of) > 1 and not any(taxon.parent for taxon in library.taxonomy.taxa):
        yield Finding(
            kind="nested",
            told="no taxon has a parent, so it cannot be told whether classes lie in classes; write parents into "
            f"{library.folder / TAXONOMY}",
        )
    for identifier, count in of.items():
        for above in library.taxonomy.lineage(identifier)[1:]:
            if count and of.get(above.identifier):
                yield Finding(
                    kind="nested",
                    told=f"{identifier} ({count}) is part of {above.identifier} ({of[above.identifier]}), so what is "
                    f"called {above.identifier} may be one of it; call all of them as finely, or give the rest a class "
                    "of its own",
                )
    for identifier, count in of.items():
        if count < FEW:
            what = f"has {counted(count, 'picture')}" if count else "has no picture"
            yield Finding(kind="few", told=f"{identifier} {what}; below {FEW} a class is kept, and not known")
    known = {identifier: count for identifier, count in of.items() if count >= FEW}
    if known:
        most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
        if known[most] > UNEQUAL * known[least]:
            yield Finding(
                kind="unequal",
                told=f"{most} ({known[most]}) is {known[most] // known[least]} times as large as {least} "
                f"({known[least]}); accuracy alone says little of such a library",
            )


def _of_entries(library: Library, entries: Sequence[Entry], today: date) -> Iterator[Finding]:
    for entry in entries:
        keys = (entry.key,)
        if why := impossible(entry.day, today):
            yield Finding(kind="day", told=f"{entry.key}: {entry.day!r} {why}", keys=keys)
        height, width = entry.shape_czyx[2:]
        if entry.constant:
            yield Finding(kind="constant", told=f"{entry.key}: all of its pixels are {entry.low_dn}", keys=keys)
        elif min(height, width) < SMALLEST_PX:
            yield Finding(kind="tiny", told=f"{entry.key}: {width} x {height} px", keys=keys)
        if why := _changed(entry, library.folder):
            yield Finding(kind="changed", told=f"{entry.key}: {why}", keys=keys)
    bins: tuple[tuple[str, Kind], ...] = ((NOT_NAMED, "not in the taxonomy"), (UNSURE, "unsure"))
    for taxon, kind in bins:
        labels = Counter(entry.label for entry in entries if library.taxon(entry) == taxon)
        for label, count in labels.items():
            yield Finding(kind=kind, told=f"{label!r}: {counted(count, 'picture')}, of which nothing is learnt")
    for what in ("sample", "slide", "day"):
        missing = sum(not getattr(entry, what) for entry in entries)
        if missing:
            yield Finding(kind="origin unknown", told=f"{missing} of {counted(len(entries), 'picture')} have no {what}")


def _changed(entry: Entry, library: Path) -> str:
    path = place_of(entry, library)
    try:
        stat = path.stat()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); put it back, or build again"
    if stat.st_size != entry.size:
        return f"{path} changed since it was taken in; build again"
    return ""


def rule_of_near_duplicates() -> str:
    """Say when two pictures count as nearly the same."""
    return f"Nearly the same are pictures with {RULE}. Copies that were turned or mirrored are not looked for."
