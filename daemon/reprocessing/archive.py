"""An archive of images: its folders become samples, its images or stacks fields, in the order people sort them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from rich.console import Console

from daemon.config.samples import SAMPLE
from daemon.config.taxonomy import Taxonomy
from daemon.records.fields import ArchiveField
from daemon.system.errors import Refused
from daemon.system.progress import CountDisplay
from drivers.recorded.file_names import NamePattern, Polarizations, natural
from drivers.recorded.held import Header
from drivers.recorded.images import SUFFIXES
from drivers.recorded.listing import DOCUMENTS, SIDECARS, list_images, printable
from drivers.recorded.reading import first_header, headers_of
from drivers.recorded.stacks import FoundStack, find_stacks
from drivers.settings import Positive, Settings
from inference.settings import ClassifierSettings, CropSettings, DetectorSettings, FocusSettings
from inference.wording import counted

TOLD = 3
"""So many names are told where nothing at all can be read."""
FOLDER = "folder"
"""Column of a sample: its folder, below the folder all images have in common."""
NOT_THE_RESULT = {"weights", "device", "threads"}
"""Settings of the detector that may differ when the same dataset is gone on with; weights are known by their sha256."""
MOST_SAMPLES, MOST_FIELDS = 9_999, 999_999


class ArchiveSettings(Settings):
    """How an archive is read and what is looked for in it.

    `pixel_um` and `step_um` are taken where a file does not say; `planes` is the pattern of plane files;
    `polarizations` are the states along C, each perhaps with the word that names have for it, `crossed=LR`. Without a
    `classifier` objects get no names.
    """

    detector: DetectorSettings = DetectorSettings()
    classifier: ClassifierSettings | None = None
    crops: CropSettings = CropSettings()
    focus: FocusSettings = FocusSettings()
    pixel_um: Positive | None = None
    step_um: Positive | None = None
    planes: str | None = None
    polarizations: tuple[str, ...] = ()

    def told(self, named_by: str, taxonomy: Taxonomy | None) -> dict[str, Any]:
        """Say all that a result depends on, as a dataset's configuration has it: files by what is in them.

        Parameters
        ----------
        named_by
            sha256 of the classifier.
        taxonomy
            whose identifiers it says.
        """
        told = self.model_dump(mode="json", exclude={"detector": NOT_THE_RESULT, "classifier": True})
        if self.classifier is not None:
            told["classifier"] = {"sha256": named_by, "rule": self.classifier.rule}
        if taxonomy is not None:
            told["taxonomy"] = taxonomy.sha256
        return told


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

    Attributes
    ----------
    stacks
        of the fields, as they were found, by slide and field.
    left_out
        why what lies there is in no field, by name.
    beside
        how many files of each kind no image is expected in.
    listed
        how many files, and folders that are recordings as a whole, are in fields.
    folders
        summarises each folder.
    """

    root: Path
    fields: tuple[ArchiveField, ...]
    samples: dict[int, dict[str, str]]
    stacks: dict[tuple[int, int], FoundStack]
    left_out: dict[str, str]
    beside: dict[str, int]
    listed: int
    folders: dict[str, FolderSummary]

    def planned(self) -> dict[int, int]:
        """Fields of each slide."""
        return dict(Counter(field.slide for field in self.fields))

    def header(self, field: ArchiveField) -> Header:
        """Return what the first file of a field says.

        Raises
        ------
        ImageRefused
            It cannot be read.
        """
        return first_header(self.root, self.stacks[field.slide, field.field])

    def all_headers(self, field: ArchiveField) -> list[Header]:
        """Return what each file of a field says that is opened for its pixels; see `header`."""
        return headers_of(self.root, self.stacks[field.slide, field.field])

    def counts(self) -> str:
        """Say how much lies there, and that it adds up: what is in fields, left out, or beside."""
        fields = counted(len(self.fields), "field")
        made = counted(self.listed, f"makes {fields}", f"make {fields}")
        parts = [made, f"{len(self.left_out)} left out"]
        parts += [f"{kind} {count}" for kind, count in sorted(self.beside.items())]
        total = self.listed + len(self.left_out) + sum(self.beside.values())
        return f"{counted(total, 'file or recording', 'files or recordings')} there: {', '.join(parts)}"


def find_archive(places: Sequence[Path], settings: ArchiveSettings, but_not: Path, console: Console) -> Archive:
    """List the images of some folders (those inside them too) and files, and find the stacks in them.

    Parameters
    ----------
    but_not
        a folder that is left out, as the one that is written to.
    console
        where it is told how far that is.

    Raises
    ------
    Refused
        A place does not exist or is no image, there are no images, or none that fit the pattern of plane files.
    """
    archive = look_through(places, settings, but_not, console)
    if not archive.fields:
        raise Refused(_nothing(archive, settings))
    return archive


def look_through(places: Sequence[Path], settings: ArchiveSettings, but_not: Path | None, console: Console) -> Archive:
    """Do the same where perhaps nothing can be read, which is no error here; see `find_archive`."""
    places = [place.resolve() for place in places]
    root = _root(places)
    pattern = None if settings.planes is None else NamePattern(settings.planes)
    polarizations = Polarizations.of(settings.polarizations)
    with CountDisplay("files listed", console) as counter:
        listing = list_images(root, places, None if but_not is None else but_not.resolve(), counter.show)
    with CountDisplay("files opened", console) as counter:
        try:
            found = find_stacks(root, listing.sizes, pattern, polarizations, show=counter.show)
        except OSError as error:
            raise Refused(f"{str(root)!r} cannot be read just now ({error}); say the same again once it can") from error
    left_out = {**listing.left_out, **found.left_out}
    found.stacks.sort(key=lambda one: (natural(one.files.folder), natural(one.files.slide), natural(one.files.field)))
    fields: list[ArchiveField] = []
    samples: dict[int, dict[str, str]] = {}
    stacks: dict[tuple[int, int], FoundStack] = {}
    by_sample = groupby(found.stacks, key=lambda one: (one.files.folder, one.files.slide))
    places_of: dict[int, str] = {}
    for slide, ((folder, named), there) in enumerate(by_sample, start=1):
        places_of[slide] = "/".join(filter(None, (folder, named)))
        sample = places_of[slide] or printable(root.name) or "images"
        samples[slide] = {SAMPLE: sample, FOLDER: folder}
        for number, one in enumerate(there, start=1):
            fields.append(_field(slide, number, sample, one))
            stacks[slide, number] = one
    if len(samples) > MOST_SAMPLES or max((field.field for field in fields), default=0) > MOST_FIELDS:
        raise Refused(f"{str(root)!r} holds {len(fields)} stacks in {len(samples)} folders; name some of its folders")
    folders = _folders(root, fields, places_of, listing.sizes)
    listed = len({name for field in fields for name in field.names} & listing.sizes.keys())
    return Archive(root, tuple(fields), samples, stacks, left_out, dict(listing.beside), listed, folders)


def _field(slide: int, number: int, sample: str, one: FoundStack) -> ArchiveField:
    files = one.files
    return ArchiveField(
        slide=slide,
        field=number,
        sample=sample,
        names=files.names,
        states=files.states,
        fault=files.fault,
        stack=one.name,
        told=files.told,
    )


def _nothing(archive: Archive, settings: ArchiveSettings) -> str:
    """Say why there is not one stack."""
    told = "".join(f"; {name!r} is left out: {why}" for name, why in islice(archive.left_out.items(), TOLD))
    more = f"; and {len(archive.left_out) - TOLD} more" if len(archive.left_out) > TOLD else ""
    if archive.beside and not archive.left_out:
        told = f"; {', '.join(f'{count} {kind}' for kind, count in archive.beside.items())} lie there"
    if settings.planes is not None and archive.left_out:
        return f"--planes {settings.planes!r} matches no file, such as {next(iter(archive.left_out))!r}; correct it"
    return f"{str(archive.root)!r} holds no images; name folders or files of {', '.join(SUFFIXES)}{told}{more}"


def _root(places: Sequence[Path]) -> Path:
    """Find the folder that all places have in common."""
    for place in places:
        try:
            place.stat()
        except FileNotFoundError as error:
            what = f"{str(place)!r} does not exist; name folders or files of {', '.join(SUFFIXES)}"
            raise Refused(what) from error
        except OSError as error:
            raise Refused(f"{str(place)!r} cannot be read ({error.strerror}); see to its rights") from error
        if place.is_file() and place.suffix.lower() in SIDECARS | DOCUMENTS:
            raise Refused(f"{str(place)!r} is not an image; name folders or files of {', '.join(SUFFIXES)}")
    try:
        return Path(os.path.commonpath([place if place.is_dir() else place.parent for place in places]))
    except ValueError as error:
        raise Refused(f"the images lie on several drives ({error}); give each of them its own --into") from error


def _folders(
    root: Path, fields: Sequence[ArchiveField], places: Mapping[int, str], sizes: Mapping[str, int]
) -> dict[str, FolderSummary]:
    digests = {slide: hashlib.sha256() for slide in places}
    counts = Counter(field.slide for field in fields)
    for field in fields:
        for name in field.names:
            size = sizes.get(name) or _size(root / name)
            digests[field.slide].update(f"{name}\0{size}\0".encode())
        digests[field.slide].update(field.stack.encode())
    return {place or ".": FolderSummary(counts[slide], digests[slide].hexdigest()) for slide, place in places.items()}


def _size(path: Path) -> int:
    """Bytes of a file in a folder that is a recording as a whole; 0 of the folder itself, and of what is missing."""
    return path.stat().st_size if path.is_file() else 0
