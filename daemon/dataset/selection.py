"""Which objects of a dataset are meant, and their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from daemon.dataset.exclusions import StandingExclusions, standing_exclusions
from daemon.dataset.field_file import FieldProvenance, Pixels, read_field_file
from daemon.dataset.reader import Dataset
from daemon.records.names import field_file
from daemon.records.records import FieldSecured, ObjectRow
from daemon.system.errors import DamagedFile
from drivers.texts import plain


@dataclass(frozen=True)
class Selection:
    """Which objects: all of the values given, None for any; samples by what their names look like.

    Objects of another field's tile (the same object was cut there too) and those below the detector's threshold are
    left out unless asked for, and so are those of fields that are not counted.
    """

    slides: frozenset[int] | None = None
    samples: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    min_score: float = 0.0
    below_threshold: bool = False
    other_tiles: bool = False
    not_counted: bool = False

    def holds_field(self, field: FieldSecured, exclusions: StandingExclusions) -> bool:
        """Whether a field is meant: its slide, its sample, and whether it is counted."""
        return (
            (self.slides is None or field.slide in self.slides)
            and (self.samples is None or plain(field.sample) in map(plain, self.samples))
            and (self.not_counted or exclusions.counted(field.slide, field.field))
        )

    def holds(self, row: ObjectRow) -> bool:
        """Whether an object is meant, its field being so."""
        return (
            (self.classes is None or row.class_name in self.classes)
            and row.score >= self.min_score
            and (self.below_threshold or not row.below_threshold)
            and (self.other_tiles or row.in_exclusive_tile)
        )


@dataclass(frozen=True)
class Chosen:
    """An object and the file it lies in."""

    slide: int
    field: int
    sample: str
    row: ObjectRow
    path: Path


@dataclass(frozen=True)
class LoadedObject:
    """An object with its pixels: `crop` uint16 CZYX, `fused` uint16 CYX."""

    chosen: Chosen
    provenance: FieldProvenance
    crop: Pixels
    fused: Pixels


def choose(dataset: Dataset, selection: Selection) -> list[Chosen]:
    """Objects that are meant, by slide, field and number."""
    exclusions = standing_exclusions(dataset)
    return [
        Chosen(field.slide, field.field, field.sample, row, file_of(dataset, field))
        for field in dataset.fields()
        if isinstance(field, FieldSecured) and selection.holds_field(field, exclusions)
        for row in field.objects
        if selection.holds(row)
    ]


def spread(chosen: Sequence[Chosen], count: int) -> list[Chosen]:
    """At most `count` objects, evenly over slides and classes, in the order given; the same ones every time."""
    groups: dict[tuple[int, str], list[Chosen]] = {}
    for one in chosen:
        groups.setdefault((one.slide, one.row.class_name), []).append(one)
    shares = dict.fromkeys(groups, 0)
    left = min(count, len(chosen))
    while left:
        # The groups with the smallest share get one more each, the rarer class first.
        open_groups = [key for key in groups if shares[key] < len(groups[key])]
        for key in sorted(open_groups, key=lambda key: (shares[key], len(groups[key])))[:left]:
            shares[key] += 1
        left = min(count, len(chosen)) - sum(shares.values())
    picked = {
        id(members[int((index + 0.5) * len(members) / shares[key])])
        for key, members in groups.items()
        for index in range(shares[key])
    }
    return [one for one in chosen if id(one) in picked]


def load(chosen: Sequence[Chosen]) -> Iterator[LoadedObject]:
    """Pixels of objects, in the order given; files are opened once where their objects stand together.

    Raises
    ------
    DamagedFile
        A file is missing or does not hold what the catalog says.
    """
    for path, group in groupby(chosen, key=lambda one: one.path):
        if not path.exists():
            raise missing(path)
        with read_field_file(path) as file:
            held = {(row.number, row.series, row.crop_box) for row in file.objects}
            for one in group:
                if (one.row.number, one.row.series, one.row.crop_box) not in held:
                    raise DamagedFile(f"{path} does not hold object {one.row.number} as the catalog has it")
                yield LoadedObject(one, file.provenance, file.crop(one.row), file.fused(one.row))


def missing(path: Path) -> DamagedFile:
    """Return the error of a file that the catalog lists and that is not there."""
    return DamagedFile(f"{path} is missing though the catalog lists it; fetch it again from the recorder")


def file_of(dataset: Dataset, field: FieldSecured) -> Path:
    """Return where the objects of a field lie; raises `DamagedFile` where its record lists no such file."""
    name = field_file(field.slide, field.field, attempt=field.attempt)
    for file in field.files:
        if file.name == name:
            return dataset.path(file)
    raise DamagedFile(f"the record of slide {field.slide} field {field.field} lists no file {name}")
