"""`lamelle library show`: what a library holds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console

from daemon.library.examined import ClassCount, classes_of, show_classes
from daemon.library.library import Library
from daemon.library.split import leaks, recorded_splits
from daemon.system.errors import Refused
from inference.wording import counted


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What a library holds: entries by source, builds with what they did, splits with what leaks by now."""

    library: str
    sha256: str
    taxonomy_sha256: str
    entries: int
    sources: dict[str, int]
    classes: tuple[ClassCount, ...]
    builds: tuple[str, ...]
    splits: dict[str, list[str]]


def show(folder: Path, taxon: str | None, console: Console, *, as_json: bool = False) -> None:
    """Print what a library holds, or the specimens of one taxon.

    Raises
    ------
    Refused
        There is no library, or no such taxon.
    """
    library = Library.open(folder)
    if taxon is not None:
        _show_specimens(library, taxon, as_json)
        return
    shown = Holdings(
        library=str(folder),
        sha256=library.sha256,
        taxonomy_sha256=library.taxonomy.sha256,
        entries=len(library.entries),
        sources=dict(Counter(entry.source for entry in library.entries.values())),
        classes=classes_of(library),
        builds=tuple(
            f"{build.name}: "
            + (f"takes back {build.undoes}" if build.undoes else f"{build.taken} taken in, {build.dropped} dropped")
            + (", taken back" if build.undone else "")
            for build in library.builds
        ),
        splits={name: leaks(library, split) for name, split in recorded_splits(folder).items()},
    )
    if as_json:
        sys.stdout.write(json.dumps(msgspec.to_builtins(shown)) + "\n")
        return
    show_classes(shown.classes, console)
    lines = [f"{counted(count, 'specimen')} from {source}" for source, count in shown.sources.items()]
    lines += [f"build {build}" for build in shown.builds]
    lines += [
        f"split {name}: " + (f"LEAKS: {found[0]}" if found else "no leak") for name, found in shown.splits.items()
    ]
    lines += [f"{counted(shown.entries, 'specimen')} in {folder}, sha256 {shown.sha256}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_specimens(library: Library, text: str, as_json: bool) -> None:
    taxon = library.taxonomy.of(text)
    if taxon is None:
        known = ", ".join(one.identifier for one in library.taxonomy.taxa)
        raise Refused(f"--taxon {text!r} is none that the library knows; choose from {known}")
    own = [
        entry
        for entry in library.entries.values()
        if (named := library.taxon(entry))
        and library.taxonomy.of(named) is not None
        and taxon in library.taxonomy.lineage(named)
    ]
    if as_json:
        rows = [msgspec.to_builtins(msgspec.structs.replace(entry, look=b"")) for entry in own]
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        sys.stdout.writelines(f"{entry.key}\n" for entry in own)
