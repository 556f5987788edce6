"""An archive of images: its folders become samples, its images or stacks fields, in the order people sort them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

from pydantic import Field

from daemon.config.samples import SAMPLE
from daemon.records.fields import ArchiveField
from daemon.system.errors import Refused
from drivers.recorded.file_names import NamePattern, Polarizations, StackFiles, group
from drivers.recorded.images import SUFFIXES
from drivers.settings import Positive, Settings
from inference.settings import CropSettings, DetectorSettings, FocusSettings

FOLDER = "folder"
"""Column of a sample: its folder, below the folder all images have in common."""
NOT_THE_RESULT = {"weights", "device", "threads"}
"""Settings of the detector that may differ when the same dataset is gone on with; weights are known by their sha256."""
MOST_SAMPLES, MOST_FIELDS = 9_999, 999_999


class ArchiveSettings(Settings):
    """How an archive is read and what is looked for in it.

    `pixel_um` and `step_um` are taken where a file does not say; `planes` is the pattern of plane files;
    `polarizations` are the states along C, each perhaps with the word that names have for it, `crossed=LR`.
    """

    detector: DetectorSettings = DetectorSettings()
    crops: CropSettings = CropSettings()
    focus: FocusSettings = FocusSettings()
    pixel_um: Positive | None = None
    step_um: Positive | None = None
    planes: Annotated[str, Field(min_length=1)] | None = None
    polarizations: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderSummary:
    """How many stacks a folder of an archive holds, and a digest of the names and sizes of their files.

    That much is known of a folder before anything in it is read.
    """

    stacks: int
    names_and_sizes: str


@dataclass(frozen=True)
class Archive:
    """The fields of an archive in order, and by the number of their slide the columns of their samples.

    `strangers` counts images that are no plane files of the pattern, `folders` summarises each folder.
    """

    root: Path
    fields: tuple[ArchiveField, ...]
    samples: dict[int, dict[str, str]]
    strangers: int
    folders: dict[str, FolderSummary]

    def planned(self) -> dict[int, int]:
        """Fields of each slide."""
        return dict(Counter(field.slide for field in self.fields))


def find_archive(places: Sequence[Path], settings: ArchiveSettings, but_not: Path) -> Archive:
    """List the images of some folders (those inside them too) and files, without opening one.

    Parameters
    ----------
    but_not
        a folder that is left out, as the one that is written to.

    Raises
    ------
    Refused
        A place does not exist or is no image, there are no images, or none that fit the pattern of plane files.
    """
    places = [place.resolve() for place in places]
    root = _root(places)
    sizes = {path.relative_to(root).as_posix(): size for path, size in _files(places, but_not.resolve())}
    if not sizes:
        raise Refused(f"{str(root)!r} holds no images; name folders or files of {', '.join(SUFFIXES)}")
    for name in sizes:
        if not name.isprintable():
            raise Refused(f"the file name {name!r} holds bytes that are not text; rename it")
    polarizations = Polarizations.of(settings.polarizations)
    strangers = 0
    if settings.planes is None:
        stacks = [StackFiles(name.rpartition("/")[0], name, (name,), ()) for name in sizes]
    else:
        stacks, strangers = group(sizes, NamePattern(settings.planes), polarizations)
        if not stacks:
            raise Refused(f"--planes {settings.planes!r} matches no file, such as {next(iter(sizes))!r}; correct it")
    stacks.sort(key=lambda one: (natural(one.folder), natural(one.field)))
    fields: list[ArchiveField] = []
    samples: dict[int, dict[str, str]] = {}
    for slide, (folder, there) in enumerate(groupby(stacks, key=lambda one: one.folder), start=1):
        samples[slide] = {SAMPLE: folder or root.name or "images", FOLDER: folder}
        sample = samples[slide][SAMPLE]
        fields += [
            ArchiveField(slide=slide, field=number, sample=sample, names=one.names, states=one.states, fault=one.fault)
            for number, one in enumerate(there, start=1)
        ]
    if len(samples) > MOST_SAMPLES or max(field.field for field in fields) > MOST_FIELDS:
        raise Refused(f"{str(root)!r} holds {len(fields)} stacks in {len(samples)} folders; name some of its folders")
    return Archive(root, tuple(fields), samples, strangers, _folders(fields, samples, sizes))


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Order in which people sort names: 2 before 10, capitals as small letters."""
    parts = re.split(r"(\d+)", name)
    return tuple(int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)), name


def _root(places: Sequence[Path]) -> Path:
    """Find the folder that all places have in common."""
    for place in places:
        if not place.exists():
            raise Refused(f"{str(place)!r} does not exist; name folders or files of {', '.join(SUFFIXES)}")
        if place.is_file() and place.suffix.lower() not in SUFFIXES:
            raise Refused(f"{str(place)!r} is not an image; name folders or files of {', '.join(SUFFIXES)}")
    try:
        return Path(os.path.commonpath([place if place.is_dir() else place.parent for place in places]))
    except ValueError as error:
        raise Refused(f"the images lie on several drives ({error}); give each of them its own --into") from error


def _files(places: Iterable[Path], but_not: Path) -> Iterator[tuple[Path, int]]:
    """Find images with their sizes in bytes; what begins with a dot is left out."""
    for place in places:
        if place.is_file():
            yield place, place.stat().st_size
            continue
        for folder, folders, _ in os.walk(place):
            here = Path(folder)
            folders[:] = [name for name in folders if not name.startswith(".") and here / name != but_not]
            with os.scandir(here) as entries:
                for entry in entries:
                    if (
                        not entry.name.startswith(".")
                        and Path(entry.name).suffix.lower() in SUFFIXES
                        and entry.is_file()
                    ):
                        yield here / entry.name, entry.stat().st_size


def _folders(
    fields: Sequence[ArchiveField], samples: dict[int, dict[str, str]], sizes: dict[str, int]
) -> dict[str, FolderSummary]:
    digests = {slide: hashlib.sha256() for slide in samples}
    counts = Counter(field.slide for field in fields)
    for field in fields:
        for name in field.names:
            digests[field.slide].update(f"{name}\0{sizes[name]}\0".encode("utf-8", "surrogateescape"))
    return {
        columns[FOLDER] or ".": FolderSummary(counts[slide], digests[slide].hexdigest())
        for slide, columns in samples.items()
    }
