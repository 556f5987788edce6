"""Specimens from the dataset of a night: its objects that a person named for sure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import msgspec

from daemon.config.taxonomy import Taxonomy
from daemon.dataset.field_file import FieldFile, read_field_file
from daemon.dataset.labels import COLUMNS, Label, LabelStatus, label_store
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import file_of
from daemon.dataset.standing import CONFLICT, HeldObjects, standing
from daemon.library.entry import Entry
from daemon.library.pixels import look_of, sha256_of_pixels
from daemon.library.sources.pictures import SourceRead
from daemon.records.attempts import AttemptName
from daemon.records.records import FieldSecured
from daemon.system.errors import DamagedFile, Refused


class LabelledObjects:
    """Objects of a dataset whose labels stand, as a source of a library.

    What persons do not agree on, what is dubious, discarded, or named with a qualifier (cf., aff., ?), and what only a
    program named is left out, and told.

    Raises
    ------
    Refused
        The dataset holds no night yet.
    """

    def __init__(self, folder: Path, name: str, taxonomy: Taxonomy) -> None:
        with Dataset.open(folder.resolve()) as dataset:
            started = dataset.night()
            if started is None:
                raise Refused(f"{folder} holds no night yet, and no object; wait for its first record")
            self.root = dataset.folder.resolve()
            self.read = SourceRead(name or started.night)
            said = label_store(dataset).read()
            self.read.left_out.update({part.name: part.what for part in said.unread})
            stands = standing(said.table, taxonomy if taxonomy.taxa else None)
            held = HeldObjects.of(dataset)
            self._fields = {
                AttemptName(field.slide, field.field, field.attempt): (field, file_of(dataset, field))
                for field in [*dataset.attempts(), *dataset.fields()]
                if isinstance(field, FieldSecured)
            }
            self._labels: list[Label] = []
            for row in stands.labels.to_pylist():
                label = msgspec.convert({name: row[name] for name in COLUMNS}, Label)
                if why := self._why_not(label, row[CONFLICT], held):
                    self.read.left_out[str(label.object)] = why
                else:
                    self._labels.append(label)
        if not stands.labels.num_rows:
            self.read.notes.append("no object has a label; see `lamelle labels`")
        self._labels.sort(key=lambda label: label.object)
        self.read.total = len(self._labels)

    def _why_not(self, label: Label, conflict: bool, held: HeldObjects) -> str:
        """Say why nothing is learnt from an object; empty where it is."""
        place = AttemptName(label.slide, label.field, label.attempt)
        if held.content(place, label.number) != label.content or place not in self._fields:
            return "is labelled, but not, or no longer, what this dataset holds"
        if conflict:
            return "is called different names by different persons"
        if label.status is not LabelStatus.VALIDATED:
            return f"is {label.status}, not validated"
        return f"is named with {label.qualifier}" if label.qualifier is not None else ""

    def entries(self, before: dict[str, Entry]) -> Iterator[Entry | None]:
        """Give the entry of each object, None where its file cannot be read; what did not change is not read again."""
        kept = set()
        by_field = groupby(self._labels, key=lambda label: AttemptName(label.slide, label.field, label.attempt))
        for place, labels in by_field:
            field, path = self._fields[place]
            with ExitStack() as held:
                file: FieldFile | None = None
                for label in labels:
                    entry = before.get(str(label.object))
                    if entry is None:
                        try:
                            file = file or held.enter_context(read_field_file(path))
                            entry = self._entry(label, field, path, file)
                        except (DamagedFile, OSError) as error:
                            self.read.left_out[str(label.object)] = str(error)
                    if entry is not None:
                        assert label.taxon is not None
                        self.read.classes.add(label.taxon)
                        entry = msgspec.structs.replace(entry, label=label.taxon)
                        kept.add(entry.key)
                    yield entry
        self.read.dropped = sorted(before.keys() - kept)

    def _entry(self, label: Label, field: FieldSecured, path: Path, file: FieldFile) -> Entry:
        row = next((row for row in file.objects if row.number == label.number), None)
        if row is None:
            raise DamagedFile(f"{path} holds no object {label.number}, though the catalog lists it")
        pixels = file.crop(row)
        planes = [row.display_plane, row.focus_plane, row.best_plane]
        # Planes are of the field's stack; a crop has all of them.
        plane = next(plane for plane in planes if plane is not None)
        night = file.provenance.night
        return Entry(
            key=str(label.object),
            origin="object",
            source=self.read.name,
            root=self.root.as_posix(),
            name=path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix(),
            stack=str(label.number),
            size=path.stat().st_size,
            modified_ns=path.stat().st_mtime_ns,
            sample=field.sample,
            slide=f"{night}/slide-{field.slide}",
            day=datetime.fromtimestamp(field.exposed_utc, UTC).date().isoformat(),
            label="",
            taxon="",
            sha256=sha256_of_pixels(pixels),
            look=look_of(pixels, plane),
            shape_czyx=(pixels.shape[0], pixels.shape[1], pixels.shape[2], pixels.shape[3]),
            states=field.polarizations,
            channels=tuple(range(len(field.polarizations))),
            low_dn=int(pixels.min()),
            high_dn=int(pixels.max()),
            bits=file.provenance.bits,
            pixel_um=file.provenance.pixel_um,
            step_um=field.step_um,
            focus_plane=plane,
            length_um=row.length_um,
            width_um=row.width_um,
        )
