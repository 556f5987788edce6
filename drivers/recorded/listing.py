"""What lies in folders: every image, and by name and reason everything that is not read."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from drivers.recorded.file_names import natural
from drivers.recorded.formats import tiff
from drivers.recorded.images import SUFFIXES, holds_stacks

THUMBNAILS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
SIDECARS = frozenset({".txt", ".xml", ".json", ".csv", ".tsv", ".log", ".yaml", ".yml", ".md", ".ini", ".ome"})
"""Suffixes of what is said about images, and holds none."""
DOCUMENTS = frozenset(
    {".pdf", ".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".ppt", ".pptx", ".html", ".htm", ".rtf"}
)
PACKED = frozenset({".zip", ".ozx", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})


@dataclass
class Listing:
    """What lies in some folders.

    Attributes
    ----------
    root
        that all names are below.
    sizes
        of each image in bytes, by its name (posix), in the order of people; 0 of a folder that is one recording.
    left_out
        why, by name, what else lies there is not read; names are printable.
    beside
        how many there are of each kind of file that no image is expected in.
    """

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    beside: Counter[str] = field(default_factory=Counter)


def list_images(
    root: Path, places: Iterable[Path], but_not: Path | None, show: Callable[[int], None] | None = None
) -> Listing:
    """List the images of some folders, those inside them too, and of some files, without opening one.

    What a link leads to is listed once, under its own name where it lies there itself.

    Parameters
    ----------
    root
        folder above all of them.
    places
        folders and files, paths resolved.
    but_not
        folder that is left out, as the one that is written to, if any.
    show
        told now and then how many were listed.
    """
    walk = _Walk(Listing(root), but_not, show or (lambda _count: None))
    for place in places:
        if place.is_dir():
            walk.folder(place, place)
        else:
            walk.file(place, place)
    walk.links()
    listing = walk.listing
    listing.sizes = dict(sorted(listing.sizes.items(), key=lambda item: natural(item[0])))
    listing.left_out = dict(sorted(listing.left_out.items(), key=lambda item: natural(item[0])))
    return listing


def printable(name: str) -> str:
    """Write a name so that it can be shown and stored: bytes that are no text, and control characters, as escapes."""
    escaped = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" else c for c in escaped)


class _Walk:
    """A walk through folders."""

    def __init__(self, listing: Listing, but_not: Path | None, show: Callable[[int], None]) -> None:
        self.listing = listing
        self._but_not = but_not
        self._show = show
        self._seen: dict[Path, str] = {}
        self._links: list[Path] = []

    def folder(self, folder: Path, real: Path) -> None:
        """List a folder and those inside it.

        Parameters
        ----------
        folder
            its path, which may lead through links.
        real
            where it lies.
        """
        waiting = [(folder, real)]
        while waiting:
            here, real = waiting.pop()
            if real == self._but_not or not self._is_new(here, real):
                continue
            name = self._name(here)
            if name and not self._named_well(name):
                continue
            try:
                whole = holds_stacks(here)
            except OSError as error:
                self._leave_out(here, f"the folder cannot be read ({error.strerror})")
                continue
            if whole:
                self._take(name or ".", 0)
                continue
            inside: list[tuple[Path, Path]] = []
            for entry in self._entries(here):
                path = here / entry.name
                if entry.name.startswith("."):
                    self.listing.beside["hidden"] += 1
                elif _leads_elsewhere(entry):
                    self._links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    inside.append((path, real / entry.name))
                else:
                    self.file(path, real / entry.name, entry)
            waiting += inside[::-1]

    def links(self) -> None:
        """Follow the links that were met, once everything that is no link is known; those met meanwhile too."""
        while self._links:
            links, self._links = sorted(self._links, key=lambda path: natural(str(path))), []
            for path in links:
                try:
                    real = path.resolve(strict=True)
                    is_folder = real.is_dir()
                except (OSError, RuntimeError) as error:
                    why = "leads round in a circle" if not isinstance(error, FileNotFoundError) else "leads nowhere"
                    self._leave_out(path, f"it is a link that {why}")
                    continue
                if is_folder:
                    self.folder(path, real)
                else:
                    self.file(path, real)

    def file(self, path: Path, real: Path, entry: os.DirEntry[str] | None = None) -> None:
        """Take a file, or say why not.

        Parameters
        ----------
        path
            of the file, which may lead through links.
        real
            where it lies.
        entry
            what is known of it.
        """
        if not self._named_well(self._name(path)):
            return
        suffix = path.suffix.lower()
        try:
            known = entry.stat() if entry is not None else path.stat()
        except OSError as error:
            self._leave_out(path, f"it cannot be read ({error.strerror})")
            return
        if not stat.S_ISREG(known.st_mode):
            self._leave_out(path, "it is neither a file nor a folder")
        elif suffix in SUFFIXES:
            if self._is_new(path, real):
                self._take(self._name(path), known.st_size)
        elif kind := _kind_beside(path, suffix):
            self.listing.beside[kind] += 1
        else:
            self._leave_out(path, _why_not(path, suffix))

    def _take(self, name: str, size: int) -> None:
        self.listing.sizes[name] = size
        self._show(len(self.listing.sizes))

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.listing.root).as_posix()
        return "" if name == "." else name

    def _is_new(self, path: Path, real: Path) -> bool:
        """Whether a folder or an image was not met before; if it was, it is left out."""
        name = self._name(path) or "."
        if real not in self._seen:
            self._seen[real] = name
            return True
        if self._seen[real] != name:
            self._leave_out(path, "a link leads to it, and it is read already")
        return False

    def _named_well(self, name: str) -> bool:
        if printable(name) == name:
            return True
        why = "its name holds bytes that are not text, or a line break or the like; rename it"
        self.listing.left_out[printable(name)] = why
        return False

    def _leave_out(self, path: Path, why: str) -> None:
        self.listing.left_out[printable(self._name(path) or ".")] = why

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: natural(entry.name))
        except OSError as error:
            self._leave_out(folder, f"the folder cannot be read ({error.strerror})")


def _leads_elsewhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link, or on Windows a junction."""
    if sys.platform == "win32" and not entry.is_symlink():
        return entry.stat(follow_symlinks=False).st_reparse_tag == stat.IO_REPARSE_TAG_MOUNT_POINT
    return entry.is_symlink()


def _kind_beside(path: Path, suffix: str) -> str:
    """Name the kind of a file that no image is expected in; empty where one may be."""
    if path.name.lower() in THUMBNAILS:
        return "thumbnails"
    if suffix in SIDECARS:
        return "sidecars"
    return "documents" if suffix in DOCUMENTS or (not suffix and _is_text(path)) else ""


def _is_text(path: Path) -> bool:
    """Whether a file begins as text does; LICENSE and README have no suffix."""
    try:
        with path.open("rb") as stream:
            first = stream.read(512)
        said = codecs.getincrementaldecoder("utf-8")().decode(first)  # the last letter may be cut
    except (OSError, UnicodeDecodeError):
        return False
    return bool(said) and "\0" not in said


def _why_not(path: Path, suffix: str) -> str:
    if suffix in PACKED:
        return f"it is packed ({suffix}); unpack it"
    told = f"its suffix {suffix!r} is none that is read" if suffix else "it has no suffix"
    try:
        with path.open("rb") as stream:
            first = stream.read(8)
    except OSError as error:
        return f"{told}, and it cannot be read ({error.strerror})"
    kind = "TIFF" if first[:4] in tiff.BEGINS else "PNG" if first.startswith(b"\x89PNG") else ""
    kind = kind or ("JPEG" if first.startswith(b"\xff\xd8\xff") else "")
    return f"{told}, but it is a {kind}; rename it to end in .{kind.lower()}" if kind else told
