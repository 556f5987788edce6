"""A dataset as its readers see it: what is really there, and whether it is whole."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from daemon.dataset import faults
from daemon.dataset.catalog import in_memory
from daemon.dataset.catalog_format import FORMAT
from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.held import (
    ByteTotals,
    DatasetFault,
    DatasetTotals,
    FaultKind,
    FieldTotals,
    JudgedField,
    MappedField,
    SlideHeld,
)
from daemon.dataset.objects_table import COUNTED, JOINED, read_objects
from daemon.dataset.queries import damaged, query, read_columns, read_flags, read_record
from daemon.records.attempts import AttemptName
from daemon.records.counting import ObjectCounts
from daemon.records.names import CATALOG, field_file, field_of
from daemon.records.records import (
    AnyRecord,
    Event,
    FieldAnalysed,
    FieldSecured,
    FieldSkipped,
    FileEntry,
    NightClosed,
    NightStarted,
)
from daemon.run_folder.folder import RunFolder, find_dataset
from daemon.run_folder.journal import read_records
from daemon.system.durable_files import PART_SUFFIX, sha256_of
from daemon.system.durable_sqlite import Database, connect
from daemon.system.errors import JournalDamaged, Refused


class Dataset:
    """Reads a dataset, also while its recorder writes it. Use as a context manager or close it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Open the dataset in `folder`, or the one inside the run folder `folder`.

        Raises
        ------
        Refused
            There is none, or it is of another version.
        """
        there = cls.find(folder)
        if there is None:
            raise Refused(f"{folder} holds no dataset of a night; name a dataset, or the run folder it lies in")
        return cls(there, connect(there / CATALOG, FORMAT, read_only=True))

    @staticmethod
    def find(folder: Path) -> Path | None:
        """Return where the dataset lies that `folder` is, or that lies in the run folder `folder`; None if nowhere."""
        return find_dataset(folder)

    @classmethod
    def of_journal(cls, run: Path) -> Dataset:
        """Read what a run folder has secured where the dataset itself is on another computer; in memory.

        Only files that the recorder has not acknowledged yet are there.

        Raises
        ------
        Refused
            The run folder has no journal, or one of another version.
        JournalDamaged
            A record of it cannot be read.
        """
        folder = RunFolder(run)
        try:
            return cls(folder.spool, in_memory(folder.journal, read_records(folder.journal)))
        except (msgspec.DecodeError, sqlite3.IntegrityError) as error:
            told = f"{folder.journal} holds a record that cannot be read ({error}); restore it from a copy"
            raise JournalDamaged(told) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog; may be called again."""
        self._database.close()

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Make everything that is read inside belong to one moment, while the recorder goes on; may be nested."""
        if self._database.in_transaction:
            yield
            return
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("COMMIT")

    def path(self, file: FileEntry) -> Path:
        """Return where a field's file lies."""
        return self.folder.joinpath(*file.name.split("/"))

    def records(self) -> Iterator[tuple[int, AnyRecord]]:
        """Give every record with its number, in order."""
        slides: Collection[int] | None = None
        for seq, body in query(self._database, "SELECT seq, body FROM records ORDER BY seq"):
            record = read_record(self._database, seq, body, slides)
            if isinstance(record, NightStarted):
                slides = record.planned
            yield seq, record

    def night(self) -> NightStarted | None:
        """Give the record the night began with; None for a dataset that holds nothing yet."""
        first = next(self.records(), None)
        return first[1] if first is not None and isinstance(first[1], NightStarted) else None

    def closed(self) -> bool:
        """Whether the night is complete: every planned field was recorded or skipped."""
        return self.closed_utc() is not None

    def closed_utc(self) -> float | None:
        """Return when the night was complete, UTC seconds since 1970; None if it is not."""
        row = next(query(self._database, "SELECT closed_utc FROM night"), None)
        return None if row is None or row[0] is None else float(row[0])

    def slides(self) -> list[SlideHeld]:
        """List the mini-slides of the plan and what is held of each."""
        rows = query(
            self._database,
            "SELECT slide, columns, planned, count(state) FILTER (WHERE state = 'recorded'),"
            " count(state) FILTER (WHERE state = 'skipped'), closed_utc IS NOT NULL"
            " FROM samples LEFT JOIN fields USING (slide) GROUP BY slide ORDER BY slide",
        )
        return [
            SlideHeld(slide, read_columns(self._database, slide, columns), planned, recorded, skipped, bool(closed))
            for slide, columns, planned, recorded, skipped, closed in rows
        ]

    def fields(self, slide: int | None = None, field: int | None = None) -> list[FieldSecured | FieldSkipped]:
        """List the fields recorded or skipped, by slide and number, with what was found in them later.

        Parameters
        ----------
        slide
            only those of this one.
        field
            only the one of this number.
        """
        return list(self._each_field(slide, field))

    def _each_field(self, slide: int | None = None, field: int | None = None) -> Iterator[FieldSecured | FieldSkipped]:
        """Give the same one after the other: all fields of a large night together take a gigabyte."""
        rows = query(
            self._database,
            "SELECT slide, field, seq, body, analysed_seq,"
            " (SELECT body FROM records AS later WHERE later.seq = analysed_seq AND analysed_seq != fields.seq)"
            " FROM fields JOIN records USING (seq) WHERE slide = coalesce(?, slide) AND field = coalesce(?, field)"
            " ORDER BY slide, field",
            (slide, field),
        )
        for row in rows:
            yield self._field(*row)

    def mapped(self) -> list[MappedField]:
        """List what a map shows of each field, by slide and number, without reading its record."""
        counting = f"SELECT slide, field, count(*) {JOINED} WHERE {COUNTED} GROUP BY slide, field"
        counted = {(slide, field): number for slide, field, number in query(self._database, counting)}
        rows = query(
            self._database,
            "SELECT slide, field, state = 'recorded', analysed_seq IS NOT NULL, x_um, y_um, focus_z_um FROM fields"
            " ORDER BY slide, field",
        )
        return [
            MappedField(slide, field, bool(done), bool(seen), x_um, y_um, focus_z_um, counted.get((slide, field), 0))
            for slide, field, done, seen, x_um, y_um, focus_z_um in rows
        ]

    def attempts(self) -> Iterator[FieldSecured | FieldSkipped]:
        """Give every attempt at a field, in the order in which they were made; `fields` has those that count."""
        return (record for _, record in self.records() if isinstance(record, FieldSecured | FieldSkipped))

    def further_attempts(self) -> list[FieldSecured | FieldSkipped]:
        """List the attempts at fields that were taken again, in the order in which they were made."""
        rows = query(
            self._database,
            "SELECT slide, field, seq, body, NULL, NULL FROM attempts JOIN records USING (seq) WHERE attempt > 1"
            " ORDER BY seq",
        )
        return [self._field(*row) for row in rows]

    def judged(self) -> list[JudgedField]:
        """List what the records of the recorded fields say of them as a whole, by slide and number."""
        rows = query(
            self._database,
            "SELECT slide, field, attempt, coalesce(flags, '[]'), coalesce(excluded_by, '[]') FROM fields"
            " WHERE state = 'recorded' ORDER BY slide, field",
        )
        return [
            JudgedField(slide, field, attempt, *(read_flags(self._database, text) for text in (flags, excluded_by)))
            for slide, field, attempt, flags, excluded_by in rows
        ]

    def superseded(self, slide: int) -> list[FieldSecured | FieldSkipped]:
        """List the attempts at fields of a slide that do not count, in the order in which they were made."""
        rows = query(
            self._database,
            "SELECT slide, field, seq, body, NULL, NULL FROM attempts JOIN records USING (seq)"
            " WHERE slide = ? AND seq NOT IN (SELECT seq FROM fields) ORDER BY seq",
            (slide,),
        )
        return [self._field(*row) for row in rows]

    def rests(self) -> list[tuple[float, float]]:
        """Say from when to when the night was closed before it was opened again, UTC seconds since 1970."""
        rows = query(
            self._database,
            "SELECT seq, body FROM records WHERE kind IN ('night_closed', 'attempts_ordered') ORDER BY seq",
        )
        rests, closed_utc = [], None
        for seq, body in rows:
            record = read_record(self._database, seq, body)
            if isinstance(record, NightClosed):
                closed_utc = record.utc
            elif closed_utc is not None:
                rests.append((closed_utc, max(closed_utc, record.utc)))
                closed_utc = None
        return rests

    def attempt(self, slide: int, field: int) -> int | None:
        """Return which attempt at a field counts; None where there was none."""
        statement = "SELECT attempt FROM fields WHERE slide = ? AND field = ?"
        row = next(query(self._database, statement, (slide, field)), None)
        return None if row is None else int(row[0])

    def lists(self, name: str) -> bool:
        """Whether a file of this name is to be there, of the attempt at a field that counts."""
        return any(query(self._database, "SELECT 1 FROM files WHERE name = ?", (name,)))

    def objects_held(self) -> Iterator[tuple[AttemptName, str, list[int]]]:
        """Give the fields with objects: the attempt that counts, sha256 of the file of the objects, their numbers."""
        files = dict(query(self._database, "SELECT name, sha256 FROM files"))
        rows = query(
            self._database,
            "SELECT slide, field, attempt, number FROM objects JOIN fields USING (slide, field) ORDER BY slide, field",
        )
        for (slide, field, attempt), same in groupby(rows, key=lambda row: row[:3]):
            name = field_file(slide, field, attempt=attempt)
            if name in files:
                yield AttemptName(slide, field, attempt), files[name], [row[3] for row in same]

    def objects(
        self, slide: int | None = None, field: int | None = None, columns: Collection[str] | None = None
    ) -> pa.Table:
        """Give the objects of a slide, or of all, with their field's provenance and their sample's columns.

        Parameters
        ----------
        slide
            only those of this one.
        field
            only those of fields of this number.
        columns
            only these, of those that are the same for all samples: what is not asked for is not read.
        """
        slides = [held.slide for held in self.slides()] if slide is None else [slide]
        # Before the first record there is no slide: the table of any has the columns, and no row.
        tables = [read_objects(self._database, each, field, columns) for each in slides or [1]]
        return pa.concat_tables(tables, promote_options="default")

    def events(self) -> list[Event]:
        """List everything a person should know of the night, in order."""
        return [record for _, record in self.records() if isinstance(record, Event)]

    def totals(self) -> DatasetTotals:
        """Count what is there."""
        slides, standing, objects = self.slides(), standing_exclusions(self), ObjectCounts()
        planned = sum(held.planned for held in slides)
        fields: set[tuple[int, int]] = set()
        recorded: set[tuple[int, int]] = set()
        raw = not_analysed = 0
        for one in self._each_field():
            place = (one.slide, one.field)
            fields.add(place)
            if isinstance(one, FieldSecured):
                recorded.add(place)
                objects += ObjectCounts.of(one.objects, field_counted=standing.counted(*place))
                raw += 2 * math.prod(one.shape_czyx)
                not_analysed += not one.analysed
        again = (one for held in slides for one in self.superseded(held.slide))
        raw += sum(2 * math.prod(one.shape_czyx) for one in again if isinstance(one, FieldSecured))
        closed = self.closed()
        sizes = {name: path.stat().st_size for name, path in self._files_there().items()}
        listed = {file.name: file for file in self._listed()}
        found = (
            *faults.missing_numbers(self._database),
            *faults.passed_over(slides, fields, night_closed=closed),
            *faults.beyond_plan(slides),
            *faults.repeated(self.attempts()),
            *faults.damaged_files(listed, sizes, recorded),
            *self.miscounted(),
            *faults.tables_at_odds(self.folder, self._database, slides),
        )
        kinds = Counter(fault.kind for fault in found)
        return DatasetTotals(
            slides=sum(held.recorded + held.skipped > 0 for held in slides),
            fields=FieldTotals(
                planned=planned,
                recorded=len(recorded),
                skipped=len(fields) - len(recorded),
                excluded=len(standing.excluded),
            ),
            not_analysed=not_analysed,
            gaps=kinds[FaultKind.GAP],
            duplicates=kinds[FaultKind.DUPLICATE],
            contradictions=kinds[FaultKind.CONTRADICTION],
            faults=found,
            objects=objects.counted,
            seen_again=objects.seen_again,
            below_threshold=objects.below_threshold,
            excluded=objects.excluded,
            bytes=ByteTotals(raw=raw, recorded=sum(sizes[name] for name in listed if name in sizes)),
            complete=closed and not found and len(fields) == planned,
        )

    def miscounted(self) -> list[DatasetFault]:
        """Find where the table of objects, which reports and scripts read, does not count what the records do."""
        with self.unchanging():
            return faults.miscounted(self._database)

    def verify(self) -> list[str]:
        """Read every file and compare its sha256 with its record's; returns the names of those that differ."""
        there = self._files_there()
        return [
            file.name for file in self._listed() if file.name not in there or sha256_of(there[file.name]) != file.sha256
        ]

    def _listed(self) -> list[FileEntry]:
        """List the files of all attempts at fields, with those of what was found in them later."""
        records = (record for _, record in self.records())
        return [file for one in records if isinstance(one, FieldSecured | FieldAnalysed) for file in one.files]

    def _files_there(self) -> dict[str, Path]:
        paths = ((path.relative_to(self.folder).as_posix(), path) for path in self.folder.glob("slide-*/*"))
        return {name: path for name, path in paths if field_of(name) is not None and not name.endswith(PART_SUFFIX)}

    def _field(
        self, slide: int, number: int, seq: int, body: bytes, later_seq: int | None, later: bytes | None
    ) -> FieldSecured | FieldSkipped:
        field = read_record(self._database, seq, body)
        if not isinstance(field, FieldSecured | FieldSkipped) or (field.slide, field.field) != (slide, number):
            told = f"holds a record {seq} that is not of mini-slide {slide} field {number}, as its table says"
            raise damaged(self._database, told)
        found = None if later is None else read_record(self._database, later_seq or 0, later)
        if isinstance(found, FieldAnalysed) and isinstance(field, FieldSecured):
            files = field.files + found.files
            seen = replace(field, analysed=True, device=found.device, objects=found.objects, files=files)
            return replace(seen, reason="", fault=None, flags=found.flags, excluded_by=found.excluded_by)
        return field
