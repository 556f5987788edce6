"""`lamelle library build`: takes labelled specimens into a library, again and again; nothing is lost in silence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
from rich.console import Console

from daemon.config.taxonomy import UNSURE, Taxonomy, folded
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.dataset.reader import Dataset
from daemon.library.class_names import TAXONOMY, add_taxa, is_unsure, read_taxonomy_of, taxon_of, with_classes
from daemon.library.entry import Entry
from daemon.library.index import INDEX, Index, IndexWriter, read_index, require_library
from daemon.library.sources.emulated import EmulatedSpecimens, is_emulated
from daemon.library.sources.objects import LabelledObjects
from daemon.library.sources.pictures import PictureFolder, PictureSettings, SourceRead, near
from daemon.records.names import LOCK
from daemon.system.durable_files import make_folder, replacing
from daemon.system.errors import Refused
from daemon.system.locks import sole
from daemon.system.progress import CountDisplay
from inference.wording import counted

PART_ENTRIES, PART_S = 2000, 20.0
"""A part is written after so many entries, or so long: what a build that is ended need not read again."""


class Source(Protocol):
    """Something that labelled specimens come from."""

    @property
    def root(self) -> Path:
        """The folder it comes from."""
        ...

    @property
    def read(self) -> SourceRead:
        """What becomes of it."""
        ...

    def entries(self, before: dict[str, Entry]) -> Iterator[Entry | None]:
        """Give the entries of each of its files, None where one has none."""
        ...


@dataclass
class Built:
    """What a build did: entries by source, what was left out by name and reason, and what a person should know."""

    taken: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def build(
    library: Path, sources: Sequence[Path], settings: PictureSettings, taxonomy: Path | None, console: Console
) -> Built:
    """Take what some folders hold into a library, as it is now: what is new or changed, and no more what is gone.

    Parameters
    ----------
    taxonomy
        table that takes the place of the library's own. Without one, classes that are new are added to that.

    Raises
    ------
    Refused
        A source is not there, another one of its name is in the library, another program builds, or a table is wrong.
    """
    for path in sources:
        if not path.is_dir():
            raise Refused(f"{path} is no folder; name folders of pictures, datasets, or specimens of the virtual slide")
    if settings.source and len(sources) > 1:
        raise Refused(
            f"--source is {settings.source!r}, one name for {len(sources)} folders; build from each by itself"
        )
    with _writing(library):
        index = read_index(library)
        names = read_taxonomy_of(library) if taxonomy is None else read_taxonomy(taxonomy)
        writer, built = IndexWriter(library), Built()
        for path in sources:
            source = _source(path, settings, library, names)
            _require_own_name(source, index)
            with CountDisplay(source.read.name, console) as display:
                names = _take(
                    library.resolve(), source, index, names, writer, built, display, open_ended=taxonomy is None
                )
        _keep(library, names, taxonomy)
        return built


def undo(library: Path) -> str:
    """Take the newest build back that holds; returns its name. The next undo takes back the one before it.

    Raises
    ------
    Refused
        There is none, or no library.
    """
    require_library(library)
    with _writing(library):
        index = read_index(library)
        held = [build for build in index.builds if not build.undone and not build.undoes]
        if not held:
            raise Refused(f"{library} holds no build that could be undone")
        IndexWriter(library, undoes=held[-1].name).write([])
        return held[-1].name


@contextmanager
def _writing(library: Path) -> Iterator[None]:
    if library.exists() and not (library / INDEX).is_dir() and any(library.iterdir()):
        raise Refused(f"{library} is no library, and not empty; name a new folder for the library first, then sources")
    make_folder(library / INDEX)
    with sole(library / LOCK, f"{library} is being built by another program; wait for it, or stop it"):
        yield


def _keep(library: Path, names: Taxonomy, given: Path | None) -> None:
    """Keep the taxonomy: as it was given, byte for byte, or what the library had, with the classes that are new."""
    if given is None:
        add_taxa(library, names)
        return
    with replacing(library / TAXONOMY) as stream:
        stream.write(given.read_bytes())


def _source(path: Path, settings: PictureSettings, library: Path, names: Taxonomy) -> Source:
    if Dataset.find(path) is not None:
        return LabelledObjects(path, settings.source, names)
    if is_emulated(path):
        return EmulatedSpecimens(path, settings.source)
    return PictureFolder(path, settings, library)


def _require_own_name(source: Source, index: Index) -> None:
    name, root = source.read.name, source.root.as_posix()
    for entry in index.entries.values():
        if entry.source == name and entry.root != root and Path(entry.root).is_dir():
            raise Refused(
                f"the library has another source {name!r}, which lies in {entry.root}; give this one a name of its own "
                "with --source"
            )


def _take(
    library: Path,
    source: Source,
    index: Index,
    names: Taxonomy,
    writer: IndexWriter,
    built: Built,
    display: CountDisplay,
    *,
    open_ended: bool,
) -> Taxonomy:
    """Take one source in, part by part; returns the taxonomy with its classes, where that is open to new ones."""
    read = source.read
    before = {key: entry for key, entry in index.entries.items() if entry.source == read.name}
    part: list[Entry] = []
    written = time.monotonic()
    taxa: dict[str, str] = {}
    poorer = 0
    for done, entry in enumerate(source.entries(before), 1):
        display.show(min(done, read.total), read.total)
        if entry is None:
            continue
        if entry.label not in taxa:
            names = with_classes(names, [entry.label]) if open_ended else names
            taxa[entry.label] = _identifier(entry.label, names)
        # What did not change may have moved, together with all that it came from.
        named = msgspec.structs.replace(
            entry, taxon=taxa[entry.label], root=source.root.as_posix(), near=near(source.root, library)
        )
        if named == before.get(named.key):
            built.unchanged[read.name] += 1
            continue
        poorer += _poorer(named, before.get(named.key))
        part.append(named)
        built.taken[read.name] += 1
        if len(part) >= PART_ENTRIES or time.monotonic() - written > PART_S:
            writer.write(part, source=read.name)
            part, written = [], time.monotonic()
    names = with_classes(names, read.classes) if open_ended else names
    if part or read.dropped or read.left_out != index.left_out.get(read.name):
        writer.write(part, read.dropped, read.name, read.left_out)
    built.dropped[read.name] = len(read.dropped)
    built.left_out.update({f"{read.name}/{name}": why for name, why in read.left_out.items()})
    if poorer:
        lost = f"{counted(poorer, 'specimen')} had a sample, mini-slide or day before, which nothing says now"
        built.notes.append(
            f"{read.name}: {lost}; say it as before (--table, --names), or take this build back (--undo)"
        )
    built.notes += [f"{read.name}: {note}" for note in [*read.notes, *_notes_of_classes(read.classes, names)]]
    return names


def _poorer(now: Entry, before: Entry | None) -> bool:
    """Whether something that was said of where and when a specimen is from is not said any more."""
    return before is not None and any(
        getattr(before, name) and not getattr(now, name) for name in ("sample", "slide", "day")
    )


def _identifier(label: str, names: Taxonomy) -> str:
    if is_unsure(label):
        return UNSURE
    taxon = taxon_of(label, names)
    return "" if taxon is None else taxon.identifier


def _notes_of_classes(labels: set[str], names: Taxonomy) -> Iterator[str]:
    """Say what became of the names of classes, where that is not plain."""
    by_taxon: dict[str, list[str]] = {}
    for label in sorted(labels, key=lambda one: (folded(one), one)):
        by_taxon.setdefault(_identifier(label, names), []).append(label)
    for identifier, called in by_taxon.items():
        quoted = ", ".join(map(repr, called))
        if identifier == UNSURE:
            yield f"{quoted} is kept as unsure, and no class is learnt from it"
        elif not identifier:
            what = counted(len(called), "class is", "classes are")
            yield f"{what} not in the taxonomy, and nothing is learnt from what is in there ({quoted}); add lines there"
        elif len(called) > 1:
            yield f"{quoted} are taken for one class, {identifier}"


def told(built: Built, console: Console, most: int = 20) -> None:
    """Print what a build did."""
    for source in {**built.taken, **built.unchanged, **built.dropped}:
        parts = [f"{counted(built.taken[source], 'specimen')} taken in"]
        parts += [f"{built.unchanged[source]} as they were"] if built.unchanged[source] else []
        parts += [f"{built.dropped[source]} no longer there"] if built.dropped[source] else []
        _print(console, f"{source}: {', '.join(parts)}")
    for note in built.notes:
        _print(console, f"note: {note}")
    for name, why in list(built.left_out.items())[:most]:
        _print(console, f"left out: {name}: {why}")
    if len(built.left_out) > most:
        _print(console, f"left out: {len(built.left_out) - most} more, which `lamelle library check` lists")


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
