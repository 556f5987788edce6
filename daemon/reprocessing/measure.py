"""`lamelle measure`: measures the objects of a recorded night again, from their crops, into tables beside the old ones.

`slide-N/measured-001.parquet` holds what `slide-N/objects.parquet` does, with the new measurements; its metadata say
when and with what they were made. The next time it is `measured-002`: nothing is overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow as pa
from msgspec.structs import replace
from rich.console import Console

from calibration.corrections import Corrections
from daemon.analysis.measure import FORMULAS, measure_all
from daemon.calibration_store.corrections import corrections_of_field, folder_of
from daemon.calibration_store.shelf import newest_of
from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.field_file import FieldProvenance
from daemon.dataset.later_tables import Given, MeasuredWith, later_tables, nights_of_tables, write_later_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import LoadedObject, Selection, choose, load
from daemon.records.records import MEASURED, ObjectRow
from daemon.reprocessing.worker import versions_now
from daemon.system.durable_files import make_folder, refusing
from daemon.system.errors import Refused
from daemon.system.progress import follow


@dataclass(frozen=True)
class Again:
    """What was measured: where the tables lie, their number, how many rows they have, and how many of these count."""

    folder: Path
    number: int
    rows: int
    objects: int


def measure_again(folder: Path, console: Console, calibrations: Path | None = None, into: Path | None = None) -> Again:
    """Measure every object of a dataset, or of the one in a run folder, into new tables.

    Parameters
    ----------
    console
        where to tell how far it is.
    calibrations
        folder whose newest valid records count; if left out, the records that the night names.
    into
        folder for the tables, each in that of its slide; beside the catalog if left out, where they are found.

    Raises
    ------
    Refused
        There is no dataset, or nothing in it, `into` holds another night, or the tables cannot be written.
    DamagedFile
        A field's file is missing or damaged; the slides before it are measured.
    """
    with Dataset.open(folder) as dataset:
        chosen = choose(dataset, Selection(below_threshold=True, other_tiles=True, not_counted=True))
        if not chosen:
            raise Refused(f"{dataset.folder} holds no objects; measure a night that has found some")
        if into is not None:
            _refuse_another_night(dataset, into)
        corrections = _corrections(dataset, calibrations)
        target = into or dataset.folder
        with refusing(target):
            make_folder(target)
            TemporaryFile(dir=target).close()  # before anything is measured
        there = (later_tables(place, Given.MEASURED) for place in (dataset.folder, target))
        number = 1 + max(chain.from_iterable(there), default=0)
        everything = follow(load(chosen), len(chosen), "objects", console)
        for slide, loaded in groupby(everything, key=lambda one: one.chosen.slide):
            rows, records = _measure(loaded, corrections)
            table = _with(dataset.objects(slide), rows)
            made = MeasuredWith(
                number=number,
                utc=time.time(),
                versions=versions_now(),
                formulas=FORMULAS,
                calibrations=records,
            )
            write_later_table(target, Given.MEASURED, slide, table, made)
        exclusions = standing_exclusions(dataset)
    counting = sum(one.row.counted and exclusions.counted(one.slide, one.field) for one in chosen)
    return Again(target, number, len(chosen), counting)


def _refuse_another_night(dataset: Dataset, into: Path) -> None:
    """Refuse a folder that holds another night, for whose newest measurement the tables would be taken."""
    own = dataset.night()
    if Dataset.find(into) is None:
        others = nights_of_tables(into) - {None if own is None else own.night}
        other = min(others, default=None)
    else:
        # Not the name alone: an archive that is looked through twice has one, and other objects each time.
        with Dataset.open(into) as there:
            begun = there.night()
        other = None if begun == own else "none yet" if begun is None else begun.night
    if other is not None:
        raise Refused(
            f"--into {str(into)!r} holds another night ({other}) than {dataset.folder}; name a folder of its own, or "
            "leave --into out"
        )


def _corrections(dataset: Dataset, calibrations: Path | None) -> Callable[[FieldProvenance], Corrections]:
    """Return how to get the corrections of a field."""
    started = dataset.night()
    if calibrations is None:
        records = None if started is None else folder_of(started)
        return lambda provenance: corrections_of_field(provenance, records)
    if not calibrations.is_dir():
        raise Refused(f"--calibrations {str(calibrations)!r} is not a folder; name the one that holds the records")

    def newest(provenance: FieldProvenance) -> Corrections:
        _, _, height, width = provenance.shape_czyx
        names = newest_of(calibrations, provenance.instrument, (height, width))
        if not names:
            raise Refused(
                f"--calibrations {str(calibrations)!r} holds no valid record of {provenance.instrument!r} with frames "
                f"of {height} x {width} px; name another folder, or calibrate"
            )
        return corrections_of_field(replace(provenance, calibrations=names), calibrations)

    return newest


def _measure(
    loaded: Iterable[LoadedObject], corrections: Callable[[FieldProvenance], Corrections]
) -> tuple[dict[tuple[int, int], ObjectRow], tuple[str, ...]]:
    """Measure the objects of a slide: rows by field and number, and the calibrations they rest on."""
    rows: dict[tuple[int, int], ObjectRow] = {}
    records: dict[str, None] = {}
    for field, ones in groupby(loaded, key=lambda one: one.chosen.field):
        there = list(ones)
        provenance = there[0].provenance
        known = corrections(provenance)
        records |= dict.fromkeys(known.records)
        crops = [(replace(one.chosen.row, fault=None), one.crop, one.fused) for one in there]
        rows |= {(field, row.number): row for row in measure_all(crops, provenance, known)}
    return rows, tuple(records)


def _with(table: pa.Table, rows: dict[tuple[int, int], ObjectRow]) -> pa.Table:
    """Put new measurements into a slide's table of objects."""
    places = zip(table["field"].to_pylist(), table["number"].to_pylist(), strict=True)
    ordered = [rows[place] for place in places]
    for name in MEASURED:
        index = table.schema.get_field_index(name)
        field = table.schema.field(name)
        table = table.set_column(index, field, pa.array([getattr(row, name) for row in ordered], field.type))
    return table
