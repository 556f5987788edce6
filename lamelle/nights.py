"""Recorded nights, read together: tables of samples, fields and objects, and the pixels of an object."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from daemon.dataset.field_file import FieldFile, Pixels, read_field_file
from daemon.dataset.held import DatasetFault
from daemon.dataset.labels import label_store
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import missing
from daemon.dataset.standing import TaxonNames, standing, with_labels
from daemon.records.names import CATALOG, field_file
from daemon.records.records import ObjectRow
from daemon.run_folder.folder import RunFolder
from daemon.system.errors import Refused

if TYPE_CHECKING:
    from daemon.counts.objects import Objects
    from daemon.report.numbers import NightNumbers


class ObjectKey(Protocol):
    """Names an object: whatever gives `night`, `slide`, `field` and `number`, as a row of `Nights.objects` does."""

    def __getitem__(self, name: str, /) -> Any:
        """Give a value by its name."""


@dataclass(frozen=True, eq=False)
class ObjectPixels:
    """The pixels of an object, with what they mean.

    Attributes
    ----------
    pixels
        uint16, intensities in DN as the camera gave them.
    axes
        `CZYX` for a stack, `CYX` for a fused crop.
    polarizations
        names of the states along C.
    pixel_um
        size of a pixel on the sample.
    step_um
        distance of the planes.
    z_um
        stage position of each plane along Z; none for a fused crop.
    corner_px
        x and y of the first pixel in the frame of the field.
    best_plane
        plane of best focus along Z, fractional, from 0.
    """

    pixels: Pixels
    axes: str
    polarizations: tuple[str, ...]
    pixel_um: float
    step_um: float
    z_um: tuple[float, ...]
    corner_px: tuple[int, int]
    best_plane: float

    @property
    def scale(self) -> tuple[float, ...]:
        """Size of a step along each of the axes, um; 1 along C."""
        um = {"C": 1.0, "Z": self.step_um, "Y": self.pixel_um, "X": self.pixel_um}
        return tuple(um[axis] for axis in self.axes)


class Nights:
    """Recorded nights; made by `lamelle.open`. No file stays open between two calls.

    Tables are those of pyarrow; `to_pandas()` makes a DataFrame of one where pandas is installed. Their columns
    `night`, `slide` and `sample` say where a row belongs; docs/python.md lists the others.

    Attributes
    ----------
    folders
        of the datasets, by the name of their night.
    left_out
        what a pattern fitted that is no dataset.
    beside
        folder where labels are kept besides, if one was named.
    """

    def __init__(self, folders: dict[str, Path], left_out: tuple[Path, ...], beside: Path | None = None) -> None:
        self.folders = folders
        self.left_out = left_out
        self.beside = beside

    def __repr__(self) -> str:
        return f"<Nights {', '.join(self.folders)}>"

    def __len__(self) -> int:
        return len(self.folders)

    def samples(self) -> pa.Table:
        """Give a row for each mini-slide of each night, with the numbers of its morning report.

        `objects` counts them, `low` and `high` bound the 95 % interval, None where nothing was searched, `area_mm2` is
        what was searched. All of these are of fields that are counted; `excluded_fields`, `excluded_objects` and
        `excluded_share` (of the area) say what is left out, `all_per_mm2` is the density with that. Columns of the
        sample sheet begin with `sample_`.

        Raises
        ------
        LamelleError
            A dataset cannot be read.
        """
        from daemon.tables.night_tables import samples_table

        return samples_table([(numbers, objects.origins) for numbers, objects in self._gathered()])

    def fields(self) -> pa.Table:
        """Give a row for each planned field of each night; `objects` counts those of the field.

        Raises
        ------
        LamelleError
            A dataset cannot be read.
        """
        from daemon.tables.night_tables import fields_table

        table = fields_table([numbers for numbers, _ in self._gathered()])
        for name in ("exposed_utc", "utc"):  # seconds since 1970, as they have been here from the first version on
            seconds = pc.divide(pc.cast(pc.cast(table[name], pa.int64()), pa.float64()), 1e6)
            table = table.set_column(table.schema.get_field_index(name), name, seconds)
        return table

    def counts(self) -> pa.Table:
        """Give a row for each mini-slide and what is counted on it: all objects, each class, each taxon.

        What was not found has a row with 0 and its interval; docs/tables.md says what the columns mean.

        Raises
        ------
        LamelleError
            A dataset cannot be read.
        """
        from daemon.tables.night_tables import counts_table

        return counts_table([numbers for numbers, _ in self._gathered()])

    def objects(
        self,
        *,
        counted: bool = True,
        measured: int | None = None,
        named: int | None = None,
        taxonomy: TaxonNames | None = None,
    ) -> pa.Table:
        """Give a row for each object of each night, with the columns of its field (`field_*`) and sample (`sample_*`).

        Columns `label_*` are those of the label that stands, None where there is none.

        Parameters
        ----------
        counted
            only the objects that count; if False also those below the threshold, those that count in a neighbouring
            field, and those of fields that are not counted, which the column `counted` tells apart.
        measured
            number of a measurement by `lamelle measure`, 0 for the night's own; the newest one if None.
        named
            number of a naming by `lamelle classify`, likewise.
        taxonomy
            tells what the taxa of labels are called today; without one they are as they were said.

        Raises
        ------
        LamelleError
            A dataset cannot be read, or has no such measurement or naming.

        Warns
        -----
        UserWarning
            A measurement or a naming does not cover all fields; those have the night's own. Or labels cannot be read.
        """
        tables = []
        for folder in self.folders.values():
            with Dataset.open(folder) as dataset, dataset.unchanging():
                table, origins = objects_table(dataset, measured, named, self.beside)
                faults = dataset.miscounted()
                labels = label_store(dataset, self.beside).read()
                table = with_labels(table, dataset, standing(labels.table, taxonomy))
            for part in labels.unread:
                warnings.warn(f"{part.name} {part.what}", stacklevel=2)
            for gap in origins.gaps:
                warnings.warn(f"{folder}: {gap}", stacklevel=2)
            _warn(folder, faults)
            tables.append(table)
        table = pa.concat_tables(tables, promote_options="permissive")
        return table.filter(table["counted"]) if counted else table

    def stack(self, key: ObjectKey) -> ObjectPixels:
        """Give an object's part of the whole focus stack, CZYX.

        Parameters
        ----------
        key
            what has the object's `night`, `slide`, `field` and `number`: a dict, or a row of a DataFrame.

        Raises
        ------
        LamelleError
            There is no such object, or its file is missing or damaged.
        """
        with self._file(key) as file:
            row = _row(file, key)
            at = file.provenance
            z_um = tuple(round(at.first_z_um + plane * at.step_um, 6) for plane in range(at.shape_czyx[1]))
            return _pixels(file, row, file.crop(row), "CZYX", z_um)

    def fused(self, key: ObjectKey) -> ObjectPixels:
        """Give an object's fused crop, CYX: each pixel from its sharpest plane.

        Parameters
        ----------
        key
            as for `stack`.

        Raises
        ------
        LamelleError
            There is no such object, or its file is missing or damaged.
        """
        with self._file(key) as file:
            row = _row(file, key)
            return _pixels(file, row, file.fused(row), "CYX", ())

    def _gathered(self) -> Iterator[tuple[NightNumbers, Objects]]:
        from daemon.report.gather import gather  # takes as long to import as all else here together

        for folder in self.folders.values():
            with Dataset.open(folder) as dataset, dataset.unchanging():
                gathered, faults = gather(dataset, self.beside), dataset.miscounted()
            _warn(folder, faults)
            yield gathered

    def _file(self, key: ObjectKey) -> FieldFile:
        night, slide, field = _part(key, "night"), _whole(key, "slide"), _whole(key, "field")
        if not isinstance(night, str) or night not in self.folders:
            raise Refused(f"there is no night {night!r} here; there are: {', '.join(self.folders)}")
        with Dataset.open(self.folders[night]) as dataset:
            name = field_file(slide, field, attempt=dataset.attempt(slide, field) or 1)
            listed = dataset.lists(name)
        path = self.folders[night] / name
        if listed and not path.is_file():
            raise missing(path)
        if not listed:
            raise Refused(f"{path} does not exist; ask for a slide and field of `fields()` that were recorded")
        return read_field_file(path)


def open_nights(place: str | Path | Iterable[str | Path], *, beside: str | Path | None = None) -> Nights:
    """Open recorded nights, to be read together.

    Parameters
    ----------
    place
        a run folder or dataset; a pattern of them such as `"runs/2025-*"`; or several of these.
    beside
        folder where labels are kept besides, as `lamelle labels` has it.

    Raises
    ------
    LamelleError
        There is no such folder or dataset, nothing fits a pattern, or two folders hold the same night.
    """
    folders: dict[str, Path] = {}
    left_out: list[Path] = []
    for one in _places(place):
        found, others = _find(Path(one).expanduser())
        left_out += others
        for folder in found:
            with Dataset.open(folder) as dataset:
                there, started = dataset.folder.resolve(), dataset.night()
            if started is None:
                raise Refused(f"{there} holds no night yet; its first record has not arrived, so wait for it")
            before = folders.setdefault(started.night, there)
            if before != there:
                raise Refused(f"{before} and {there} both hold night {started.night}; name one of them")
    if not folders:
        raise Refused("no folder was named; name a run folder or dataset")
    return Nights(folders, tuple(left_out), None if beside is None else Path(beside))


def _places(place: str | Path | Iterable[str | Path]) -> list[str | Path]:
    places = [place] if isinstance(place, str | Path) or not isinstance(place, Iterable) else list(place)
    for one in places:
        if not isinstance(one, str | Path):
            raise Refused(f"{one!r} is no folder; name a run folder or dataset, a pattern of them, or several of these")
    return places


def _find(place: Path) -> tuple[Sequence[Path], Sequence[Path]]:
    """Find the datasets that a place means, and what else a pattern fits."""
    try:
        there = place.exists()
    except OSError as error:
        raise Refused(
            f"{str(place)!r} cannot be looked for ({error.strerror}); name a run folder or dataset"
        ) from error
    if there:
        if not _is_dataset(place):
            raise Refused(f"{place} is not a dataset of lamelle, nor a run folder with one; it has no {CATALOG}")
        return [place], []
    if not glob.has_magic(str(place)):
        raise Refused(f"{place} does not exist; name a run folder or dataset, or a pattern of them")
    fitting = sorted(Path(name) for name in glob.glob(str(place), recursive=True))  # noqa: PTH207 - also absolute ones
    datasets = [one for one in fitting if _is_dataset(one)]
    if not datasets:
        raise Refused(f"no run folder or dataset fits {str(place)!r}; correct the pattern")
    return datasets, [one for one in fitting if one not in datasets]


def _is_dataset(folder: Path) -> bool:
    return (folder / CATALOG).is_file() or (RunFolder(folder).dataset / CATALOG).is_file()


def _warn(folder: Path, faults: Iterable[DatasetFault]) -> None:
    for fault in faults:
        warnings.warn(f"{folder}, {fault.name}: {fault.what}", stacklevel=3)


def _part(key: ObjectKey, name: str) -> Any:
    try:
        return key[name]
    except (KeyError, IndexError, TypeError) as error:
        raise Refused(
            f"an object is named by its night, slide, field and number, but {name!r} is missing; "
            "give a row of `objects()`, or a dict with them"
        ) from error


def _whole(key: ObjectKey, name: str) -> int:
    value = _part(key, name)
    try:
        whole = int(value)
        if isinstance(value, str) or whole == value:
            return whole
    except (TypeError, ValueError, OverflowError):
        pass
    raise Refused(f"{name} is {value!r}; give a whole number, as a row of `objects()` has it")


def _row(file: FieldFile, key: ObjectKey) -> ObjectRow:
    number = _whole(key, "number")
    for row in file.objects:
        if row.number == number:
            return row
    raise Refused(f"{file.path} holds no object {number}; ask for a number of `objects(counted=False)`")


def _pixels(file: FieldFile, row: ObjectRow, pixels: Pixels, axes: str, z_um: tuple[float, ...]) -> ObjectPixels:
    provenance = file.provenance
    return ObjectPixels(
        pixels=pixels,
        axes=axes,
        polarizations=provenance.polarizations,
        pixel_um=provenance.pixel_um,
        step_um=provenance.step_um,
        z_um=z_um,
        corner_px=row.crop_box[:2],
        best_plane=row.best_plane,
    )
