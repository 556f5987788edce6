"""Annotations wherever people keep them: in a folder, a zip or a file, as COCO or as CVAT for images writes them."""

from __future__ import annotations

import hashlib
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import msgspec

from inference.annotations import coco_reading, cvat
from inference.annotations.coco import AnnotatedImage, LoadedAnnotations
from inference.annotations.foreign import OddValue, relative_name
from inference.errors import AnnotationError

CVAT_FILE = "annotations.xml"
ALONE = ("coco.json", "_annotations.coco.json", CVAT_FILE)
"""COCO as lamelle and Roboflow name it, and CVAT's own."""
FOLDER, OF_SUBSET = "annotations", "instances"
"""COCO's own layout: `annotations/instances_SUBSET.json`, pictures in folders beside `annotations`."""
NO_SUBSET = "default"
"""What CVAT calls the subset of what is in none."""
PICTURES, DATA = "images", "data"
"""Where pictures lie, as most programs have them and as FiftyOne has."""
IN_UTF8 = 0x800
"""Flag of an entry of a zip: its name is in UTF-8."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""Tried where a name has none of them: CVAT names the frames of a video without."""
LARGEST_FILE = 1 << 28
"""Bytes of a file of annotations."""
NOT_LOOKED_AT = ("__MACOSX",)


class AnnotationSource(NamedTuple):
    """A file of annotations, and its pictures.

    Attributes
    ----------
    name
        of the folder, the zip or the file, without a path; with the subset's where there are several.
    sha256
        of the file of annotations.
    pictures
        each with where it lies, or should lie if it is missing.
    folders
        in which pictures were found.
    """

    name: str
    sha256: str
    loaded: LoadedAnnotations
    pictures: tuple[tuple[Traversable, AnnotatedImage], ...]
    folders: tuple[Traversable, ...] = ()


def open_sources(path: Path) -> tuple[AnnotationSource, ...]:
    """Read the annotations of a folder, a zip or a file; several where its pictures are sorted into subsets.

    Raises
    ------
    AnnotationError
        Nothing is there, or no annotations, or they cannot be read, or a picture's name may mean one of several files.
    """
    files = list(_files(path))
    sources = tuple(_read(path.name, *file, several=len(files) > 1) for file in files)
    known: dict[str, str] = {}
    for place, picture in (pair for source in sources for pair in source.pictures):
        if not place.is_file():
            continue
        if str(place) in known:
            raise AnnotationError(
                f"{str(place)!r} is annotated twice, as {known[str(place)]!r} and as {picture.place!r}; give each "
                "picture a file of its own, or name the file of annotations that counts"
            )
        known[str(place)] = picture.place
    return sources


def read_content(path: Traversable, largest: int) -> bytes:
    """Read a file that a person or a zip names, no more of it than it may hold.

    Raises
    ------
    AnnotationError
        It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as stream:
            content: bytes = stream.read(largest + 1)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise AnnotationError(f"{str(path)!r} cannot be read ({error}); name a file that can") from error
    if len(content) > largest:
        raise AnnotationError(
            f"{str(path)!r} holds more than the {largest / 1e6:.0f} MB that such a file can need; export it again"
        )
    return content


def unnamed(sources: Sequence[AnnotationSource]) -> list[Traversable]:
    """Find pictures that lie beside those of some sources and are in none of them."""
    named = {str(place) for source in sources for place, _ in source.pictures}
    folders = {str(folder): folder for source in sources for folder in source.folders}
    return [
        one
        for folder in folders.values()
        for one in _entries(folder)
        if one.name.lower().endswith(SUFFIXES) and str(one) not in named and one.is_file()
    ]


class _File(NamedTuple):
    """A file of annotations, the folder that its pictures' names are relative to, and the subset it is of.

    `below` are folders there with annotations of their own, which are not looked at.
    """

    file: Traversable
    root: Traversable
    subset: str = ""
    below: tuple[str, ...] = ()


def _files(path: Path) -> Iterator[_File]:
    if path.is_dir():
        yield from _found(path, path)
    elif path.suffix.lower() in (".xml", ".json"):
        beside = path.absolute().parent
        in_cocos_layout = path.name.startswith(OF_SUBSET) and beside.name == FOLDER
        yield _of_subset(path, beside.parent) if in_cocos_layout else _File(path, path.parent)
    else:
        yield from _found(_open_zip(path), path)


def _found(root: Traversable, path: Path) -> list[_File]:
    found, folders = _in_folder(root), _folders(root)
    while not found and len(folders) == 1 and not _exports(root):
        root = folders[0]
        found, folders = _in_folder(root), _folders(root)
    if found:
        found[0] = found[0]._replace(below=tuple(folder.name for folder in folders if _in_folder(folder)))
    else:
        # A folder a subset, as Roboflow has them.
        found = [
            file._replace(subset="/".join(filter(None, (folder.name, file.subset))))
            for folder in folders
            for file in _in_folder(folder)
        ]
    if not found:
        exports = _exports(root)
        found = [_File(exports[0], root)] if len(exports) == 1 else []
    if not found:
        raise AnnotationError(
            f"{str(path)!r} holds no {', '.join(ALONE)} or {FOLDER}/{OF_SUBSET}*.json, nor does a folder in it; "
            "export annotations into it, as COCO or as CVAT for images 1.1, or name their file"
        )
    return found


def _in_folder(root: Traversable) -> list[_File]:
    """Find files of annotations right in a folder; those of one program, as another's there are the same once more."""
    for name in ALONE:
        if (file := root.joinpath(name)).is_file():
            return [_File(file, root)]
    beside = root.joinpath(FOLDER)
    entries = _entries(beside) if beside.is_dir() else []
    return [_of_subset(one, root) for one in entries if one.name.startswith(OF_SUBSET) and one.name.endswith(".json")]


def _folders(root: Traversable) -> list[Traversable]:
    """Folders that may hold annotations."""
    return [one for one in _entries(root) if one.is_dir() and one.name not in (FOLDER, PICTURES, *NOT_LOOKED_AT)]


def _exports(root: Traversable) -> list[Traversable]:
    """Files that may be annotations, whatever their names are."""
    return [one for one in _entries(root) if one.name.lower().endswith((".json", ".xml"))]


def _of_subset(file: Traversable, root: Traversable) -> _File:
    subset = file.name.removeprefix(OF_SUBSET).removesuffix(".json").removeprefix("_")
    return _File(file, root, "" if subset == NO_SUBSET else subset)


def _entries(folder: Traversable) -> list[Traversable]:
    try:
        return sorted((one for one in folder.iterdir() if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        raise AnnotationError(f"{str(folder)!r} cannot be looked into ({error}); allow it, or move it away") from error


def _open_zip(path: Path) -> Traversable:
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise AnnotationError(f"annotations {str(path)!r} do not exist; name a folder, a zip or a file") from error
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise AnnotationError(
            f"annotations {str(path)!r} cannot be read ({error}); name a folder, a zip, an XML or a JSON file"
        ) from error
    known: set[str] = set()
    for entry in archive.infolist():
        try:
            if entry.filename == "./":
                continue
            name = relative_name(_name_of(entry), str(path))
        except OddValue as odd:
            raise AnnotationError(f"{str(path)!r} has an entry that {odd}; pack it again") from odd
        folder = entry.filename.endswith(("/", "\\"))
        if name in known and not folder:
            raise AnnotationError(f"{str(path)!r} holds {name!r} twice, and nothing says which counts; pack it again")
        known.add(name)
        # Some programs of Windows write its own slashes.
        entry.filename = name + "/" * folder
        archive.NameToInfo[entry.filename] = entry
    return zipfile.Path(archive)


def _name_of(entry: zipfile.ZipInfo) -> str:
    """Give the name of an entry; Macs write UTF-8 and do not say so."""
    if not entry.flag_bits & IN_UTF8:
        with suppress(UnicodeError):
            return entry.filename.encode("cp437").decode()
    return entry.filename


def _read(
    name: str, file: Traversable, root: Traversable, subset: str, below: Sequence[str], *, several: bool
) -> AnnotationSource:
    content = read_content(file, LARGEST_FILE)
    read = cvat.read if file.name.lower().endswith(".xml") else coco_reading.read
    loaded = read(content, str(file))
    finder = _Finder(root)
    inner = subset.rpartition("/")[2] if root.joinpath(FOLDER).is_dir() else ""
    pictures = []
    for picture in loaded.dataset.images:
        if picture.stack is not None and picture.stack.file_name:
            place = finder.find(picture.stack.file_name, "")
        else:
            place = finder.find(picture.file_name, picture.subset or inner)
        parts = dict.fromkeys(part for part in (subset, picture.subset) if part not in ("", NO_SUBSET))
        pictures.append((place, msgspec.structs.replace(picture, subset="/".join(parts))))
    full = f"{name}/{subset}" if several and subset else name
    if below:
        told = f"{name}: annotations in {', '.join(below)} are not looked at, as {file.name} lies above them"
        loaded = msgspec.structs.replace(
            loaded, problems=(f"{told}; name these folders to take them", *loaded.problems)
        )
    folders = tuple(finder.folders.values())
    return AnnotationSource(full, hashlib.sha256(content).hexdigest(), loaded, tuple(pictures), folders)


class _Finder:
    """Finds pictures by the names that annotations give them."""

    def __init__(self, root: Traversable) -> None:
        self._root = root
        self._pictures = root.joinpath(PICTURES)
        self._known: dict[str, dict[str, list[Traversable]]] = {}
        self.folders: dict[str, Traversable] = {}
        """In which pictures were found, by their paths."""
        folders = _entries(self._pictures) if self._pictures.is_dir() else []
        self._with: defaultdict[str, list[Traversable]] = defaultdict(list)
        """Folders of subsets, by what lies in them."""
        for folder in folders:
            for spelling in self._inside(folder) if folder.is_dir() else ():
                self._with[spelling].append(folder)

    def find(self, name: str, subset: str) -> Traversable:
        """Where a picture lies; where it should lie if it is missing.

        Raises
        ------
        AnnotationError
            It may be one of several files.
        """
        at_large = [self._root, self._pictures]
        if not subset:
            folders = at_large + [one for way in _spellings(name.partition("/")[0]) for one in self._with.get(way, ())]
        else:
            parts = subset.split("/")
            folders = [above.joinpath(*parts) for above in (self._pictures, self._root)]
            folders = [folder for folder in folders if folder.is_dir()]
            # A name may say its subset once more.
            folders = folders + at_large if not folders or set(parts) & set(name.split("/")[:-1]) else folders
        found = list({str(place): place for folder in folders for place in self._in(folder, name)}.values())
        if not found and not subset:
            found = self._in(self._root.joinpath(DATA), name)
        if len(found) > 1:
            raise AnnotationError(
                f"the picture {name!r} may be {' or '.join(repr(str(place)) for place in found[:3])}, and nothing says "
                "which; name its subset in the annotations, or take the others away"
            )
        return found[0] if found else folders[0].joinpath(*name.split("/"))

    def _in(self, folder: Traversable, name: str) -> list[Traversable]:
        """Find a picture by its very name, or else by one that differs as file systems let names differ."""
        *above, last = name.split("/")
        where = folder.joinpath(*above) if above else folder
        exact = where.joinpath(last)
        if exact.is_file():
            found = [exact]
        else:
            inside = self._inside(where)
            found = [one for way in _spellings(last) for one in inside.get(way, ()) if one.is_file()]
        if found:
            self.folders[str(where)] = where
        return found

    def _inside(self, folder: Traversable) -> dict[str, list[Traversable]]:
        """List what lies in a folder, by what is the same for all spellings of a name."""
        if str(folder) not in self._known:
            entries: defaultdict[str, list[Traversable]] = defaultdict(list)
            for one in _entries(folder) if folder.is_dir() else ():
                entries[alike(one.name)].append(one)
            self._known[str(folder)] = dict(entries)
        return self._known[str(folder)]


def _spellings(name: str) -> list[str]:
    """Give what a file may be called that annotations call by a name."""
    spelt = alike(name)
    return [spelt] if spelt.endswith(SUFFIXES) else [spelt, *(spelt + suffix for suffix in SUFFIXES)]


def alike(name: str) -> str:
    """Spell a name as all that mean the same file on some system are spelt: letters composed, case left aside."""
    return unicodedata.normalize("NFC", name).casefold()
