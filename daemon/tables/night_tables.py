"""The tables of nights, made of the numbers of their reports and of their objects, with all that was said later."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from daemon.config.taxonomy import Taxonomy
from daemon.dataset.labels import label_store
from daemon.dataset.later_tables import Given, TableOrigins, later_tables, measured_with, objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import standing, with_labels
from daemon.planning.plan import frame_of
from daemon.records.names import attempt_of
from daemon.report.gather import gather
from daemon.report.numbers import ClassNumbers, Count, NightNumbers, SlideNumbers
from daemon.tables.columns import SHEET, TableName, described, schema_of

_Row = dict[str, Any]


@dataclass(frozen=True)
class NightSaid:
    """A night as its tables say it.

    Attributes
    ----------
    numbers
        those of its report.
    origins
        where sizes, masses and taxa come from.
    objects
        all of them, those too that do not count.
    notes
        what a person should know of them, a sentence each.
    missing
        what the tables lack although it lies there, or say otherwise than the records, a sentence each.
    """

    numbers: NightNumbers
    origins: TableOrigins
    objects: pa.Table
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def read_night(dataset: Dataset, beside: Path | None = None) -> NightSaid:
    """Read what the tables of a night are made of.

    Parameters
    ----------
    beside
        folder where labels are kept besides, and which fields are counted, if one was named.

    Raises
    ------
    Refused
        The dataset holds no night yet.
    DamagedFile
        A table of it cannot be read.
    """
    numbers, _ = gather(dataset, beside)
    table, origins = objects_table(dataset, beside=beside)
    labels = label_store(dataset, beside).read()
    table = with_labels(table, dataset, standing(labels.table))
    return NightSaid(
        numbers=numbers,
        origins=origins,
        objects=_objects(dataset, numbers, table, origins),
        notes=tuple(f"{dataset.folder}: {gap}" for gap in origins.gaps),
        missing=(
            *(f"{part.name} {part.what}" for part in labels.unread),
            *(f"{dataset.folder}, {fault.name}: {fault.what}" for fault in dataset.miscounted()),
        ),
    )


def fields_table(nights: Sequence[NightNumbers]) -> pa.Table:
    """Give a row for each planned field."""
    return _joined(TableName.FIELDS, [(_fields(night), {}) for night in nights])


def samples_table(nights: Sequence[tuple[NightNumbers, TableOrigins]]) -> pa.Table:
    """Give a row for each mini-slide, with the columns of its sample sheet."""
    parts = [([_sample(night, slide, origins)], slide.columns) for night, origins in nights for slide in night.slides]
    return _joined(TableName.SAMPLES, parts)


def counts_table(nights: Sequence[NightNumbers]) -> pa.Table:
    """Give a row for each mini-slide and what is counted on it: all objects, each class, each taxon.

    Every class that a night looked for has one, and every taxon that was found on any mini-slide of the nights and that
    the night's taxonomy knows, if its objects were named.
    """
    everywhere = {one.value: None for night in nights for one in night.taxa}
    return _joined(TableName.COUNTS, [(_counts(night, everywhere), {}) for night in nights])


def all_objects(nights: Sequence[NightSaid]) -> pa.Table:
    """Give a row for each object, those too that do not count."""
    return described(TableName.OBJECTS, pa.concat_tables((one.objects for one in nights), promote_options="permissive"))


def _joined(table: TableName, parts: Sequence[tuple[Iterator[_Row] | list[_Row], Mapping[str, str]]]) -> pa.Table:
    made = [_made(list(rows), schema_of(table, sheet)) for rows, sheet in parts]
    return described(table, pa.concat_tables([*made, schema_of(table).empty_table()], promote_options="permissive"))


def _made(rows: list[_Row], schema: pa.Schema) -> pa.Table:
    unknown = {name for row in rows for name in row} - set(schema.names)
    assert not unknown, f"columns {unknown} are not in the dictionary"
    return pa.Table.from_pylist(rows, schema=schema)


def _fields(night: NightNumbers) -> Iterator[_Row]:
    reasons = {(one.slide, one.field): one.reason for one in night.skipped}
    reasons |= {(one.slide, one.field): one.reason for one in night.kept_raw}
    tile_mm2 = None if night.config is None else math.prod(frame_of(night.config).pitch_um) / 1e6
    for slide in night.slides:
        for field in sorted(slide.fields, key=lambda one: one.field):
            searched = field.state == "recorded"
            yield {
                "night": night.started.night,
                "sample": slide.sample,
                "area_mm2": tile_mm2 if searched else None,
                **asdict(field),
                "counted": searched and field.counted,
                "flags": list(field.flags),
                "reason": reasons.get((field.slide, field.field)) or field.reason or None,
                "x_um": _number(field.x_um),
                "y_um": _number(field.y_um),
                "backgrounds_dn": list(field.backgrounds_dn),
                "exposed_utc": _time(field.exposed_utc),
                "utc": _time(field.utc),
            }


def _sample(night: NightNumbers, slide: SlideNumbers, origins: TableOrigins) -> _Row:
    started, config = night.started, night.config
    row: _Row = {
        "night": started.night,
        "slide": slide.slide,
        "sample": slide.sample,
        "planned": slide.planned,
        "recorded": slide.recorded,
        "skipped": slide.skipped,
        "not_analysed": slide.not_analysed,
        "closed": slide.closed,
        **_count(slide.total),
        "area_mm2": slide.area_mm2,
        "excluded_fields": slide.excluded_fields,
        "excluded_objects": slide.with_excluded.number - slide.total.number,
        "excluded_share": slide.excluded_share,
        "all_per_mm2": slide.with_excluded.per_mm2 and slide.with_excluded.per_mm2[0],
        "started_utc": _time(started.utc),
        "instrument": _instrument(night),
        "pixel_um": None if config is None else config.instrument.pixel_um,
        "threshold": None if config is None else config.detector.threshold,
        "calibrations": list(started.calibrations),
        "weights_sha256": started.weights_sha256,
        "named_by": started.named_by or None,
        "measured": origins.measured.number,
        "named": origins.named.number,
        "lamelle": started.versions.get("lamelle"),
        "configuration_sha256": hashlib.sha256(started.configuration.encode()).hexdigest(),
    }
    return row | {f"{SHEET}{name}": value for name, value in slide.columns.items()}


def _counts(night: NightNumbers, everywhere: Mapping[str | None, None]) -> Iterator[_Row]:
    named = {one.value for one in night.taxa}
    absent = [
        taxon
        for taxon in everywhere
        if night.taxa and taxon is not None and taxon not in named and night.taxonomy.of(taxon) is not None
    ]
    for slide in night.slides:
        there = {"night": night.started.night, "slide": slide.slide, "sample": slide.sample, "area_mm2": slide.area_mm2}
        there["excluded_share"] = slide.excluded_share
        yield there | {"kind": "all"} | _count(slide.total) | _with_excluded(slide.with_excluded)
        searched = slide.total.low is not None
        none = Count.of(0, slide.area_mm2)
        none_in_all = Count.of(0, slide.all_mm2, searched=slide.with_excluded.low is not None)
        missed = [
            ClassNumbers(night.taxonomy.name_of(one), none, none_in_all, length_um=None, mass_pg=None, value=one)
            for one in absent
        ]
        for kind, kinds in (("class", slide.kinds), ("taxon", (*slide.taxa, *missed))):
            for one in kinds:
                yield (
                    there
                    | {"kind": kind, "name": one.name, "taxon": one.value if kind == "taxon" else None}
                    | _count(one.count if searched else Count.of(one.count.number, None, searched=False))
                    | _with_excluded(one.with_excluded)
                    | {"length_um": one.length_um, "mass_pg": one.mass_pg}
                )


def _count(count: Count) -> _Row:
    per_mm2, low, high = count.per_mm2 or (None, None, None)
    return {
        "objects": count.number,
        "low": count.low,
        "high": count.high,
        "objects_per_mm2": per_mm2,
        "low_per_mm2": low,
        "high_per_mm2": high,
    }


def _with_excluded(count: Count) -> _Row:
    per_mm2, low, high = count.per_mm2 or (None, None, None)
    return {
        "all_objects": count.number,
        "all_per_mm2": per_mm2,
        "all_low_per_mm2": low,
        "all_high_per_mm2": high,
    }


def _objects(dataset: Dataset, night: NightNumbers, table: pa.Table, origins: TableOrigins) -> pa.Table:
    areas = {slide.slide: slide.area_mm2 for slide in night.slides}
    own = list(night.started.calibrations)
    uncovered = set(origins.measured.uncovered)
    again = own
    if number := origins.measured.number:
        again = list(measured_with(later_tables(dataset.folder, Given.MEASURED)[number][0]).calibrations)
    places = list(zip(table["slide"].to_pylist(), table["field"].to_pylist(), strict=True))
    added = {
        "attempt": pa.array([attempt_of(name or "") for name in table["field_file"].to_pylist()], pa.int64()),
        "area_mm2": pa.array([areas.get(slide) for slide, _ in places], pa.float64()),
        "instrument": pa.array([_instrument(night)] * len(places), pa.string()),
        "calibrations": pa.array([own if place in uncovered else again for place in places], pa.list_(pa.string())),
        "taxon_name": _names(table["taxon"], night.taxonomy),
        "runner_up_name": _names(table["runner_up"], night.taxonomy),
        "label_taxon_name": _names(table["label_taxon"], night.taxonomy),
    }
    for name, column in added.items():
        table = table.append_column(name, column)
    return table.replace_schema_metadata(None)


def _names(identifiers: pa.ChunkedArray, taxonomy: Taxonomy) -> pa.Array:
    names = {one: taxonomy.name_of(one) for one in identifiers.unique().to_pylist() if one is not None}
    return pa.array([names.get(one) for one in identifiers.to_pylist()], pa.string())


def _instrument(night: NightNumbers) -> str | None:
    return None if night.config is None else night.config.instrument.name


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(utc: float | None) -> datetime | None:
    return None if utc is None or not math.isfinite(utc) else datetime.fromtimestamp(utc, UTC)
