"""Gathers the numbers of a night from its dataset, once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from daemon.config.loading import thaw
from daemon.config.model import NightConfig as Config
from daemon.config.samples import SAMPLE
from daemon.config.taxonomy import UNSURE, Taxonomy
from daemon.counts.objects import Objects, load_own_objects, weighted_median
from daemon.counts.taxa import taxonomy_of
from daemon.counts.unlike import Unlike, unlike
from daemon.dataset.exclusions import StandingExclusions, standing_exclusions
from daemon.dataset.held import SlideHeld
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import JudgedSummary, kept_raw, taken_again
from daemon.planning.plan import frame_of, make_plan
from daemon.records.counting import ObjectCounts
from daemon.records.fields import PlannedField
from daemon.records.records import FieldSecured, FieldSkipped, NightStarted
from daemon.report.numbers import ClassNumbers, Count, FieldNumbers, NightNumbers, SlideNumbers, awake_s
from daemon.system.errors import Refused

Field = FieldSecured | FieldSkipped
COLUMNS = ("slide", "field", "class_name", "taxon", "length_um", "mass_pg")
"""Of objects, that the numbers of a night rest on."""
UNKNOWN_PIXEL_UM = 0.06
"""Stands on maps for a pixel that nothing tells."""


def gather(
    dataset: Dataset, beside: Path | None = None, columns: Collection[str] | None = None
) -> tuple[NightNumbers, Objects]:
    """Gather the numbers of a night, one mini-slide in memory at a time, and the columns of the objects that count.

    Parameters
    ----------
    beside
        a folder that a person named, where it is said too which fields are counted.
    columns
        that are wanted of the objects; all of them if left out, and `COLUMNS` where only the numbers are.

    Raises
    ------
    Refused
        The dataset holds no night yet.
    """
    started = dataset.night()
    if started is None:
        raise Refused(f"{dataset.folder} holds no night yet; its first record has not arrived, so wait for it")
    config = thaw(started.configuration)
    own = load_own_objects(dataset, beside=beside, columns=columns)
    objects = own.of(own["counted"].astype(np.bool_))
    exclusions = standing_exclusions(dataset, beside)
    plan = _plan(config, started)
    tally = _Sums(exclusions)
    rests = tuple(dataset.rests())
    taxonomy = taxonomy_of(dataset, objects.origins.named)
    taxa = _taxa(own, started, taxonomy)
    slides = tuple(
        _slide(dataset.fields(held.slide), held, plan, config, own, taxa, tally, rests) for held in dataset.slides()
    )
    events = tuple(dataset.events())
    closed_utc = dataset.closed_utc()
    areas = [slide.area_mm2 for slide in slides]
    area = sum(one for one in areas if one is not None) if None not in areas else None
    excluded = sum(slide.excluded_fields for slide in slides)
    analysed = sum(slide.recorded - slide.not_analysed for slide in slides)
    with_excluded = None if area is None else area + excluded * _tile_mm2(config)
    searched = _Searched(area, with_excluded, analysed - excluded, analysed)
    classes = _classes(config, objects)
    times = [started.utc, tally.last_utc, *(event.utc for event in events), closed_utc or 0.0]
    pixel_um = objects.pixel_um if config is None else config.instrument.pixel_um
    height, width = tally.frame_px or ((1024, 1024) if config is None else config.instrument.frame_px)
    numbers = NightNumbers(
        started=started,
        config=config,
        ended_utc=max(times),
        closed=closed_utc is not None,
        slides=slides,
        total=searched.count(len(objects)),
        with_excluded=searched.count_all(len(own)),
        kinds=_kinds(own, "class_name", {name: name for name in classes}, searched),
        taxa=_kinds(own, "taxon", taxa, searched),
        classes=classes,
        taxonomy=taxonomy,
        unlike=unlike(dataset, objects.origins.named) if taxa else Unlike({}),
        seen_again=tally.objects.seen_again,
        below_threshold=tally.objects.below_threshold,
        bytes_exposed=tally.bytes_exposed,
        bytes_recorded=tally.bytes_recorded,
        frame_um=(width * (pixel_um or UNKNOWN_PIXEL_UM), height * (pixel_um or UNKNOWN_PIXEL_UM)),
        polarizations=tally.polarizations,
        devices=tuple(sorted(tally.devices)),
        events=events,
        skipped=tuple(tally.skipped),
        kept_raw=tuple(tally.kept_raw),
        again=tuple(taken_again(dataset)),
        judged=tuple(map(JudgedSummary.of, exclusions.fields.values())),
        unread=tuple(f"{one.name} {one.what}" for one in exclusions.unread),
        superseded=tuple(_field(one, 0, plan) for held in dataset.slides() for one in dataset.superseded(held.slide)),
        rests=rests,
    )
    return numbers, objects


class _Sums:
    """What is summed over all fields while they pass."""

    def __init__(self, exclusions: StandingExclusions) -> None:
        self.exclusions = exclusions
        self.objects = ObjectCounts()
        self.bytes_exposed = self.bytes_recorded = 0
        self.last_utc = 0.0
        self.frame_px: tuple[int, int] | None = None
        self.polarizations: tuple[str, ...] = ()
        self.devices: set[str] = set()
        self.skipped: list[FieldSkipped] = []
        self.kept_raw: list[FieldSecured] = []

    def add(self, field: Field) -> None:
        self.last_utc = max(self.last_utc, field.utc)
        if isinstance(field, FieldSkipped):
            self.skipped.append(field)
            return
        self.kept_raw += kept_raw([field])
        self.bytes_exposed += 2 * math.prod(field.shape_czyx)
        self.bytes_recorded += sum(file.size for file in field.files)
        self.frame_px = self.frame_px or field.shape_czyx[2:]
        self.polarizations = self.polarizations or field.polarizations
        self.devices |= {field.device} if field.device else set()
        counted = self.exclusions.counted(field.slide, field.field)
        self.objects += ObjectCounts.of(field.objects, field_counted=counted)


def _slide(
    fields: Sequence[Field],
    held: SlideHeld,
    plan: Mapping[tuple[int, int], PlannedField],
    config: Config | None,
    every: Objects,
    taxa: Mapping[str | None, str],
    tally: _Sums,
    rests: Sequence[tuple[float, float]],
) -> SlideNumbers:
    own = every.of(every["slide"] == held.slide)
    found = Counter(own["field"][own["counted"].astype(np.bool_)].tolist())
    for field in fields:
        tally.add(field)
    done = [_judged(_field(field, found[field.field], plan), tally.exclusions) for field in fields]
    there = {field.field for field in fields}
    left = [
        FieldNumbers(one.slide, one.field, "open", one.x_um, one.y_um)
        for one in plan.values()
        if one.slide == held.slide and one.field not in there
    ]
    analysed = sum(field.state == "recorded" for field in done)
    excluded = sum(field.state == "recorded" and not field.counted for field in done)
    counted = analysed - excluded
    tile = None if config is None else _tile_mm2(config)
    searched = _Searched(
        area_mm2=None if tile is None else counted * tile,
        all_mm2=None if tile is None else analysed * tile,
        fields=counted,
        all_fields=analysed,
    )
    heights = [field.focus_z_um for field in done if field.focus_z_um is not None]
    return SlideNumbers(
        slide=held.slide,
        sample=held.columns.get(SAMPLE, ""),
        columns={name: value for name, value in held.columns.items() if name != SAMPLE},
        planned=held.planned,
        recorded=held.recorded,
        skipped=held.skipped,
        not_analysed=sum(field.state == "not analysed" for field in done),
        closed=held.closed,
        total=searched.count(found.total()),
        with_excluded=searched.count_all(len(own)),
        excluded_fields=excluded,
        all_mm2=searched.all_mm2,
        kinds=_kinds(own, "class_name", {name: name for name in _classes(config, every)}, searched),
        taxa=_kinds(own, "taxon", taxa, searched),
        area_mm2=searched.area_mm2,
        focus_um=(min(heights), max(heights)) if heights else None,
        seconds=_seconds(done, rests),
        fields=(*done, *left),
    )


@dataclass(frozen=True)
class _Searched:
    """The area of counted fields in which objects were looked for, and of all such; how many fields these are."""

    area_mm2: float | None
    all_mm2: float | None
    fields: int
    all_fields: int

    def count(self, number: int) -> Count:
        """Count objects of counted fields."""
        return Count.of(number, self.area_mm2, searched=self.fields > 0)

    def count_all(self, number: int) -> Count:
        """Count objects of all fields."""
        return Count.of(number, self.all_mm2, searched=self.all_fields > 0)


def _tile_mm2(config: Config | None) -> float:
    return 0.0 if config is None else math.prod(frame_of(config).pitch_um) / 1e6


def _judged(field: FieldNumbers, exclusions: StandingExclusions) -> FieldNumbers:
    """Add to a field whether it is counted, and why."""
    one = exclusions.fields.get((field.slide, field.field))
    return field if one is None else replace(field, counted=one.counted, flags=one.flags, reason=one.reason)


def _field(field: Field, objects: int, plan: Mapping[tuple[int, int], PlannedField]) -> FieldNumbers:
    if isinstance(field, FieldSkipped):
        place = plan.get((field.slide, field.field))
        x_um, y_um = (math.nan, math.nan) if place is None else (place.x_um, place.y_um)
        return FieldNumbers(
            field.slide,
            field.field,
            "skipped",
            x_um,
            y_um,
            exposures=field.attempts,
            utc=field.utc,
            attempt=field.attempt,
        )
    return FieldNumbers(
        slide=field.slide,
        field=field.field,
        state="recorded" if field.analysed else "not analysed",
        x_um=field.x_um,
        y_um=field.y_um,
        objects=objects,
        focus_z_um=field.focus.z_um,
        backgrounds_dn=field.backgrounds_dn,
        exposed_utc=field.exposed_utc,
        move_s=field.seconds.get("move"),
        expose_s=field.seconds.get("expose"),
        searched=field.search is not None,
        exposures=field.attempts,
        utc=field.utc,
        attempt=field.attempt,
    )


def _seconds(fields: Sequence[FieldNumbers], rests: Sequence[tuple[float, float]]) -> float | None:
    spans = [
        (one.exposed_utc, one.exposed_utc + one.expose_s)
        for one in fields
        if one.exposed_utc is not None and one.expose_s is not None
    ]
    if not spans:
        return None
    return max(0.0, awake_s(min(begin for begin, _ in spans), max(end for _, end in spans), rests))


def _plan(config: Config | None, started: NightStarted) -> dict[tuple[int, int], PlannedField]:
    """Find every planned field; none where nothing tells."""
    if config is None:
        return {}
    try:
        plan = make_plan(config, started.samples)
    except (Refused, KeyError):  # a plan of another version
        return {}
    return {(one.slide, one.field): one for one in plan if one.field <= started.planned.get(one.slide, 0)}


def _classes(config: Config | None, objects: Objects) -> tuple[str, ...]:
    """List the classes that were looked for, then others that were found, the same order on every page."""
    known = () if config is None else tuple(config.detector.classes)
    return (*known, *(name for name in objects.names("class_name") if name not in known))


def _taxa(objects: Objects, started: NightStarted, taxonomy: Taxonomy) -> dict[str | None, str]:
    """Give what people call each taxon that was found, the most frequent first, then what has no name of its own."""
    found = Counter(objects["taxon"].tolist())
    if not started.named_by and set(found) <= {None}:
        return {}
    last = {UNSURE: UNSURE, None: "not named"}
    return {one: taxonomy.name_of(one) for one, _ in found.most_common() if one not in last} | last


def _kinds(
    every: Objects, column: str, names: Mapping[str | None, str], searched: _Searched
) -> tuple[ClassNumbers, ...]:
    """Count the objects of each value of a column; `names` says what people call it."""
    kinds = []
    for value, name in names.items():
        alike = every.of(np.array([one == value for one in every[column]], np.bool_))
        own = alike.of(alike["counted"].astype(np.bool_))
        counts = searched.count(len(own)), searched.count_all(len(alike))
        length_um, mass_pg = _median(own, "length_um", "size"), _median(own, "mass_pg", "mass")
        kinds.append(ClassNumbers(name, *counts, length_um, mass_pg, value))
    return tuple(kinds)


def _median(objects: Objects, column: str, use: Literal["size", "mass"]) -> float | None:
    values = objects[column].astype(np.float64)
    there = np.isfinite(values) & objects.usable(use)
    return weighted_median(values[there], objects.weights[there]) if there.any() else None
