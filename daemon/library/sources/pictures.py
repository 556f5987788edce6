"""Specimens from folders of pictures: a folder a class, or as a pattern or a table says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from daemon.library.entry import Entry
from daemon.library.pixels import FileStack, look_of, sha256_of_pixels, stacks_in
from daemon.library.sources.places import NamesPattern, PictureOrigin, place_in_folder
from daemon.library.sources.table import PictureTable, TableRow
from drivers.errors import ImageRefused
from drivers.recorded.file_names import Polarizations
from drivers.recorded.listing import Listing, list_images, printable
from drivers.texts import plain
from inference.wording import counted

NO_CLASS = "lies in no folder of a class; move it into one, or say what it is with --names or --table"


@dataclass(frozen=True)
class PictureSettings:
    """What is said of a folder of pictures.

    Attributes
    ----------
    source
        what it is called in the library; the name of the folder if left out.
    names
        what the names of its files tell; without it, the class is the folder that a picture lies in.
    table
        what a table beside them says; it comes before names.
    pixel_um
        size of a pixel, where neither files nor table say.
    polarizations
        what the channels of stacks are, where they are not named so.
    """

    source: str = ""
    names: NamesPattern | None = None
    table: PictureTable | None = None
    pixel_um: float | None = None
    polarizations: Polarizations = field(default_factory=Polarizations)


@dataclass
class SourceRead:
    """What becomes of a source: how many files it has, and by name and reason what is not taken in.

    `classes` are the labels that its folders and table name, those too that no picture has.
    """

    name: str
    total: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)


class PictureFolder:
    """A folder of pictures, as a source of a library.

    Parameters
    ----------
    but_not
        the library, where that lies inside.
    """

    def __init__(self, root: Path, settings: PictureSettings, but_not: Path) -> None:
        self.root = root.resolve()
        self._settings = settings
        self._library = but_not.resolve()
        self.read = SourceRead(settings.source or self.root.name)
        self._listing: Listing = list_images(self.root, [self.root], self._library)
        self.read.total = len(self._listing.sizes)
        self.read.left_out.update(self._listing.left_out)
        if self._listing.beside:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self._listing.beside.most_common())
            self.read.notes.append(f"files in which no picture is expected are passed over: {kinds}")
        if settings.names is None:
            self.read.classes |= _leaves(self.root, self._library)
        table = settings.table
        if table is None and self._listing.beside and any(self.root.glob("*.[ct]sv")):
            found = min(self.root.glob("*.[ct]sv")).name
            self.read.notes.append(
                f"{found} lies beside the pictures; where it says what they are, name it with --table"
            )

    def entries(self, before: dict[str, Entry]) -> Iterator[Entry | None]:
        """Give the entries of each file, None where it has none; what did not change is not read again.

        Parameters
        ----------
        before
            entries of this source that the library has, by their keys.
        """
        by_file: dict[str, list[Entry]] = {}
        for entry in before.values():
            by_file.setdefault(entry.name, []).append(entry)
        kept: set[str] = set()
        for name in self._listing.sizes:
            found = self._of_file(name, by_file.get(name, []))
            kept.update(entry.key for entry in found)
            yield from found or (None,)
        self.read.dropped = sorted(before.keys() - kept)
        self._tell_of_table()

    def _of_file(self, name: str, before: list[Entry]) -> list[Entry]:
        place, row = self._place(name)
        if place is None or not place.label:
            self.read.left_out[name] = NO_CLASS if place is not None else "has a name that --names does not describe"
            return []
        self.read.classes.add(place.label)
        path = self.root.joinpath(*name.split("/"))
        try:
            stat = path.stat()
            if before and all((one.size, one.modified_ns) == (stat.st_size, stat.st_mtime_ns) for one in before):
                return [self._placed(entry, place, row) for entry in before]
            return [self._entry(name, stat, seen, place, row) for seen in stacks_in(path, self._settings.polarizations)]
        except (ImageRefused, OSError) as error:
            self.read.left_out[name] = str(error) if isinstance(error, ImageRefused) else f"cannot be read ({error})"
            return []

    def _place(self, name: str) -> tuple[PictureOrigin | None, TableRow | None]:
        settings = self._settings
        said = place_in_folder(name) if settings.names is None else settings.names.place(name)
        row = None if settings.table is None else settings.table.of(name)
        if row is None:
            return said, None
        below = said or PictureOrigin()
        one = row.place
        return PictureOrigin(
            one.label or below.label, one.sample or below.sample, one.slide or below.slide, one.day or below.day
        ), row

    def _entry(
        self, name: str, stat: os.stat_result, seen: FileStack, place: PictureOrigin, row: TableRow | None
    ) -> Entry:
        header, pixels = seen.header, seen.pixels
        entry = Entry(
            key=f"{self.read.name}/{name}" + (f"#{seen.name}" if seen.name else ""),
            origin="picture",
            source=self.read.name,
            root=self.root.as_posix(),
            name=name,
            stack=seen.name,
            size=stat.st_size,
            modified_ns=stat.st_mtime_ns,
            label="",
            taxon="",
            sha256=sha256_of_pixels(pixels),
            look=look_of(pixels),
            shape_czyx=(pixels.shape[0], pixels.shape[1], pixels.shape[2], pixels.shape[3]),
            states=seen.states,
            channels=seen.channels,
            low_dn=int(pixels.min()),
            high_dn=int(pixels.max()),
            bits=header.bits,
            said_um=header.pixel_um,
            step_um=header.step_um,
        )
        return self._placed(entry, place, row)

    def _placed(self, entry: Entry, place: PictureOrigin, row: TableRow | None) -> Entry:
        pixel_um = entry.said_um or self._settings.pixel_um
        if row is not None:
            pixel_um = row.pixel_of(*entry.shape_czyx[2:], pixel_um)
        return msgspec.structs.replace(
            entry,
            label=place.label,
            sample=plain(place.sample),
            slide=plain(place.slide),
            day=place.day,
            pixel_um=pixel_um,
            length_um=None if row is None else row.length_of(self._settings.pixel_um),
            width_um=None if row is None else row.width_of(self._settings.pixel_um),
        )

    def _tell_of_table(self) -> None:
        table = self._settings.table
        if table is None:
            return
        if table.doubt:
            self.read.notes.append(f"{table.path.name}, {table.doubt}")
        self.read.notes += table.notes
        if several := list(table.several()):
            self.read.notes.append(
                f"{counted(len(several), 'line')} of {table.path.name} may be meant of several pictures, such as that "
                f"of {several[0]}; write the folder before the name of the file"
            )
        for name in table.left():
            self.read.left_out[name] = f"stands in {table.path.name}, but is not there"


def near(root: Path, library: Path) -> str:
    """Write where a source lies as seen from the library; empty where it lies on another drive."""
    try:
        return Path(os.path.relpath(root, library)).as_posix()
    except ValueError:
        return ""


def _leaves(root: Path, but_not: Path) -> set[str]:
    """Name the folders that hold no others: classes, those too that have no picture."""
    names: set[str] = set()
    for folder, inside, _ in os.walk(root):
        inside[:] = [one for one in inside if one[0] != "." and one == printable(one) and Path(folder, one) != but_not]
        if not inside and Path(folder) != root:
            names.add(Path(folder).name)
    return names
