"""What a dataset holds, for scripts and for people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.dataset.exclusions import FieldStanding, StandingExclusions, standing_exclusions
from daemon.dataset.held import DatasetFault, DatasetTotals, SlideHeld
from daemon.dataset.labels import LabelsBeside, labels_beside
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.records.attempts import Purpose
from daemon.records.counting import ObjectCounts
from daemon.records.events import EventName, ReasonCode
from daemon.records.flags import FieldFlag
from daemon.records.records import Event, FieldSecured, FieldSkipped, message_with
from daemon.records.states import EndedBy
from daemon.system.progress import ranges
from daemon.verdict.verdict import not_read
from inference.wording import counted

E = TypeVar("E", bound="Event | EventSummary")

_REASONS_SHOWN = 20
_FAULTS_SHOWN = 10
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class SlideSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What is held of a mini-slide."""

    slide: int
    sample: str
    planned: int
    recorded: int
    skipped: int
    objects: int
    seen_again: int
    below_threshold: int
    closed: bool
    excluded_fields: int = 0
    excluded: int = 0


class JudgedSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A field with flags, or of which a person said whether it is counted; `by` is who decided, `utc` when he did."""

    slide: int
    field: int
    attempt: int
    flags: tuple[FieldFlag, ...]
    counted: bool
    reason: str
    by: str
    utc: datetime | None

    @classmethod
    def of(cls, one: FieldStanding) -> JudgedSummary:
        """Take in what stands of a field."""
        return cls(
            slide=one.slide,
            field=one.field,
            attempt=one.attempt,
            flags=one.flags,
            counted=one.counted,
            reason=one.reason,
            by="" if one.word is None and one.counted else one.by,
            utc=None if one.word is None else one.word.utc,
        )


class SkippedSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A skipped field; `sources` are the files it was read from, if any."""

    slide: int
    field: int
    reason: str
    reason_code: ReasonCode | None
    who: str | None
    fault: str | None
    attempts: int
    sources: tuple[str, ...]


class KeptRawSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A field whose stack could not be analysed, and waits for it as it is."""

    slide: int
    field: int
    reason: str
    fault: str | None
    attempts: int


class AttemptSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A further attempt at a field: what for, what became of it, and which attempt at the field counts.

    `reason` says why one was skipped, and is empty of one that was recorded; `exposures` how often it was exposed.
    """

    slide: int
    field: int
    attempt: int
    purpose: Purpose
    state: str
    reason: str
    counts: int
    exposures: int


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should know, as `Event` has it."""

    utc: float
    level: str
    name: EventName
    title: str
    message: str
    slide: int | None
    field: int | None
    who: str | None
    by: EndedBy | None
    fault: str | None
    reason_code: ReasonCode | None
    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The message, and the first of the files that it is about."""
        return message_with(self.message, self.names)


class OriginSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Where numbers, or names, of objects come from (`daemon.dataset.later_tables.TableOrigin`), `gap` in words."""

    number: int
    uncovered: tuple[tuple[int, int], ...]
    gap: str


class DatasetSummary(DatasetTotals, frozen=True, kw_only=True):
    """All that `lamelle inspect` tells; `--json` prints it. `night` is None of a dataset that holds nothing yet.

    `told` says how many fields were read from files in a way that a person should know of; `judged` are the fields
    with flags, and those of which a person said whether they are counted.
    """

    night: str | None
    measured: OriginSummary
    named: OriginSummary
    labels: LabelsBeside
    per_slide: tuple[SlideSummary, ...]
    skipped: tuple[SkippedSummary, ...]
    kept_raw: tuple[KeptRawSummary, ...]
    again: tuple[AttemptSummary, ...]
    events: tuple[EventSummary, ...]
    told: dict[str, int]
    judged: tuple[JudgedSummary, ...] = ()


def summarise(folder: Path) -> DatasetSummary:
    """Count what lies in a dataset, or in the dataset of a run folder.

    Raises
    ------
    Refused
        There is no dataset, or it is of another version.
    """
    with Dataset.open(folder) as dataset, dataset.unchanging():
        started, fields = dataset.night(), dataset.fields()
        _, origins = objects_table(dataset)
        exclusions = standing_exclusions(dataset)
        return DatasetSummary(
            **msgspec.structs.asdict(dataset.totals()),
            night=started.night if started else None,
            measured=msgspec.convert(origins.measured, OriginSummary, from_attributes=True),
            named=msgspec.convert(origins.named, OriginSummary, from_attributes=True),
            labels=labels_beside(dataset),
            per_slide=tuple(_slide(held, fields, exclusions) for held in dataset.slides()),
            skipped=tuple(_skipped(field) for field in fields if isinstance(field, FieldSkipped)),
            kept_raw=tuple(msgspec.convert(field, KeptRawSummary, from_attributes=True) for field in kept_raw(fields)),
            again=tuple(taken_again(dataset)),
            events=tuple(msgspec.convert(event, EventSummary, from_attributes=True) for event in dataset.events()),
            told=dict(Counter(told for one in fields if isinstance(one, FieldSecured) for told in one.told)),
            judged=tuple(map(JudgedSummary.of, exclusions.fields.values())),
        )


def show(summary: DatasetSummary, console: Console) -> None:
    """Print what `summarise` returned, for people."""
    console.print(render(summary))


def render(summary: DatasetSummary) -> RenderableType:
    """Tables of what `summarise` returned: a slide a row, skipped fields, events with what was done."""
    parts: list[RenderableType] = [_slides_table(summary)]
    if summary.skipped:
        parts.append(_reasons_table("skipped fields", summary.skipped))
    if summary.kept_raw:
        parts.append(_reasons_table("fields kept raw, not analysed (lamelle analyse)", summary.kept_raw))
    if summary.again:
        parts.append(_again_table(summary.again))
    if any(one.by for one in summary.judged):
        parts.append(exclusions_table(summary.judged))
    if summary.told:
        parts.append(_told_table(summary.told))
    if summary.events:
        parts.append(_events_table(summary.events))
    if summary.faults:
        parts.append(_faults_table(summary.faults))
    parts += [Text(one.gap, style="yellow") for one in (summary.measured, summary.named) if one.gap]
    if summary.labels.line:
        parts.append(Text(f"labels: {summary.labels.line}", style="yellow" if summary.labels.unread else ""))
    parts += [Text(sentence, style="yellow") for sentence in not_read(_left_out(summary))]
    parts.append(_verdict(summary))
    return Group(*parts)


def size(count: int) -> str:
    """Bytes as people write them, in decimal units: `1.5 GB`."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _slide(
    held: SlideHeld, fields: Iterable[FieldSecured | FieldSkipped], exclusions: StandingExclusions
) -> SlideSummary:
    own = [field for field in fields if isinstance(field, FieldSecured) and field.slide == held.slide]
    objects = sum(
        (ObjectCounts.of(one.objects, field_counted=exclusions.counted(one.slide, one.field)) for one in own),
        ObjectCounts(),
    )
    return SlideSummary(
        slide=held.slide,
        sample=held.columns.get("sample", ""),
        planned=held.planned,
        recorded=held.recorded,
        skipped=held.skipped,
        objects=objects.counted,
        seen_again=objects.seen_again,
        below_threshold=objects.below_threshold,
        closed=held.closed,
        excluded_fields=sum(not exclusions.counted(one.slide, one.field) for one in own),
        excluded=objects.excluded,
    )


def taken_again(dataset: Dataset) -> Iterator[AttemptSummary]:
    """Give the further attempts at fields, in the order in which they were made."""
    for one in dataset.further_attempts():
        skipped = isinstance(one, FieldSkipped)
        yield AttemptSummary(
            slide=one.slide,
            field=one.field,
            attempt=one.attempt,
            purpose=one.purpose,
            state="skipped" if skipped else "recorded",
            reason=one.reason if skipped else "",
            counts=dataset.attempt(one.slide, one.field) or one.attempt,
            exposures=one.attempts,
        )


def _again_table(again: Iterable[AttemptSummary]) -> Table:
    """One row for all fields of a slide with which the same was done."""
    table = Table(title="fields taken again", title_justify="left", box=SIMPLE_HEAD)
    for name in ("slide", "fields", "attempt"):
        table.add_column(name, justify="right")
    for name in ("purpose", "", "counts"):
        table.add_column(name)
    table.add_column("reason", overflow="fold")
    for numbers, one in alike_attempts(again):
        counts = "yes" if one.counts == one.attempt else f"no, attempt {one.counts}"
        table.add_row(str(one.slide), numbers, str(one.attempt), one.purpose, one.state, counts, escape(one.reason))
    return table


def alike_attempts(again: Iterable[AttemptSummary]) -> list[tuple[str, AttemptSummary]]:
    """Take together the fields of a slide of which all of this is the same: fields such as `2, 5-9`, and the first."""
    alike: dict[AttemptSummary, list[AttemptSummary]] = {}
    for one in again:
        alike.setdefault(msgspec.structs.replace(one, field=0), []).append(one)
    return [(ranges(sorted(one.field for one in same)), same[0]) for same in alike.values()]


def _skipped(field: FieldSkipped) -> SkippedSummary:
    return SkippedSummary(
        slide=field.slide,
        field=field.field,
        reason=field.reason,
        reason_code=field.reason_code,
        who=field.who,
        fault=field.fault,
        attempts=field.attempts,
        sources=tuple(source.title for source in field.sources),
    )


def _slides_table(summary: DatasetSummary) -> Table:
    table = Table(title=f"night {escape(str(summary.night))}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    excluded = any(row.excluded_fields for row in summary.per_slide)
    left_out = ("not counted",) if excluded else ()
    names = ("slide", "sample", "fields", "skipped", *left_out, "objects", "seen again", "below threshold", "")
    for name in names:
        table.add_column(name, justify="left" if name in ("sample", "") else "right")
    for row in summary.per_slide:
        fields, closed = f"{row.recorded} of {row.planned}", "closed" if row.closed else "open"
        left = (row.excluded_fields,) if excluded else ()
        numbers = (row.skipped, *left, row.objects, row.seen_again, row.below_threshold)
        table.add_row(str(row.slide), escape(row.sample), fields, *map(str, numbers), closed)
    return table


def kept_raw(fields: Iterable[FieldSecured | FieldSkipped]) -> list[FieldSecured]:
    """Pick the fields whose stacks could not be analysed, and wait for it as they are."""
    return [field for field in fields if isinstance(field, FieldSecured) and not field.analysed and field.reason]


def alike_reasons(
    fields: Iterable[FieldSkipped | SkippedSummary | FieldSecured | KeptRawSummary],
) -> list[tuple[int, str, int, str]]:
    """Take together the fields of a slide with the same reason: slide, fields such as `2, 5-9`, attempts, reason."""
    alike: dict[tuple[int, int, str], list[int]] = {}
    for row in fields:
        alike.setdefault((row.slide, row.attempts, row.reason), []).append(row.field)
    return [(slide, ranges(fields), attempts, reason) for (slide, attempts, reason), fields in alike.items()]


def alike_events(events: Iterable[E]) -> list[list[E]]:
    """Take together the events that say the same but for numbers, in the order in which they first came."""
    alike: dict[tuple[str, str, str, tuple[str, ...]], list[E]] = {}
    for event in events:
        message = event.message if event.names else _NUMBER.sub("#", event.message)
        alike.setdefault((event.level, event.title, message, event.names), []).append(event)
    return list(alike.values())


def _reasons_table(title: str, fields: Iterable[SkippedSummary | KeptRawSummary]) -> Table:
    """One row for all fields of a slide that have the same reason."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("slide", "fields", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    alike = alike_reasons(fields)
    for slide, numbers, attempts, reason in alike[:_REASONS_SHOWN]:
        table.add_row(str(slide), numbers, str(attempts), escape(reason))
    if len(alike) > _REASONS_SHOWN:
        table.add_row("", "", "", f"and {len(alike) - _REASONS_SHOWN} more reasons: see --json")
    return table


def exclusions_table(judged: Iterable[JudgedSummary]) -> Table:
    """One row for all fields of a slide of which the same was decided."""
    table = Table(title="fields that are not counted, or by a person's word", title_justify="left", box=SIMPLE_HEAD)
    for name in ("slide", "fields"):
        table.add_column(name, justify="right")
    for name in ("", "reason", "by", "said, UTC"):
        table.add_column(name, overflow="fold")
    for numbers, one in alike_judged(judged):
        counted = "counted" if one.counted else "not counted"
        said = "" if one.utc is None else f"{one.utc:%Y-%m-%d %H:%M}"
        table.add_row(str(one.slide), numbers, counted, escape(one.reason), escape(one.by), said)
    return table


def alike_judged(judged: Iterable[JudgedSummary]) -> list[tuple[str, JudgedSummary]]:
    """Take together the fields of a slide of which the same was decided: fields such as `2, 5-9`, and the first."""
    alike: dict[JudgedSummary, list[JudgedSummary]] = {}
    for one in judged:
        if one.by:
            utc = None if one.utc is None else one.utc.replace(second=0, microsecond=0)
            alike.setdefault(msgspec.structs.replace(one, field=0, attempt=1, flags=(), utc=utc), []).append(one)
    return [(ranges([one.field for one in same]), same[0]) for same in alike.values()]


def _told_table(told: Mapping[str, int]) -> Table:
    table = Table(title="how files were read", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("fields", justify="right")
    table.add_column("", overflow="fold")
    for clause, count in told.items():
        table.add_row(str(count), escape(clause))
    return table


def _faults_table(faults: Sequence[DatasetFault]) -> Table:
    table = Table(title="not as it should be", title_justify="left", box=SIMPLE_HEAD)
    for name in ("", "where", "what"):
        table.add_column(name, overflow="fold")
    for fault in faults[:_FAULTS_SHOWN]:
        table.add_row(fault.kind, escape(fault.name), escape(fault.what))
    if len(faults) > _FAULTS_SHOWN:
        table.add_row("", "", f"and {len(faults) - _FAULTS_SHOWN} more: see --json")
    return table


def _events_table(events: Iterable[EventSummary]) -> Table:
    """One row for all events that say the same but for numbers: how often, when last, where, what the last one says."""
    table = Table(title="events", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("times", justify="right")
    for name in ("last, UTC", "level"):
        table.add_column(name, no_wrap=True)
    table.add_column("where", max_width=12)
    table.add_column("event, and what the last one says", overflow="fold", ratio=1)
    for same in alike_events(events):
        last = same[-1]
        when = datetime.fromtimestamp(last.utc, UTC).strftime("%H:%M:%S")
        told = Text.assemble((last.title, "bold"), ": ", last.sentence)
        table.add_row(str(len(same)), when, escape(last.level), places(same), told)
    return table


def places(events: Iterable[Event | EventSummary], shown: int = 4) -> str:
    """Return where events happened, as `slide/field`."""
    every = [
        f"{event.slide}" if event.field is None else f"{event.slide}/{event.field}"
        for event in events
        if event.slide is not None
    ]
    distinct = list(dict.fromkeys(every))
    return ", ".join(distinct[:shown]) + (", ..." if len(distinct) > shown else "")


def _left_out(summary: DatasetSummary) -> dict[str, tuple[str, ...]]:
    return {event.message: event.names for event in summary.events if event.name is EventName.LEFT_OUT}


def _verdict(summary: DatasetSummary) -> Text:
    fields, volume = summary.fields, summary.bytes
    waiting = f"{summary.not_analysed} not analysed (lamelle analyse), " if summary.not_analysed else ""
    left = f"{fields.excluded} not counted, " if fields.excluded else ""
    odd = f", {counted(summary.contradictions, 'contradiction')}" if summary.contradictions else ""
    text = Text(
        f"{fields.recorded} of {counted(fields.planned, 'field')} recorded, {fields.skipped} skipped, {waiting}{left}"
        f"{counted(summary.objects, 'object')}; {size(volume.raw)} of frames became {size(volume.recorded)}; "
        f"{counted(summary.gaps, 'gap')}, {counted(summary.duplicates, 'duplicate')}{odd}: "
    )
    if summary.complete and summary.not_analysed:
        return text.append("complete, but with fields not analysed", style="bold yellow")
    if summary.complete and fields.skipped:
        return text.append("complete, but with skipped fields", style="bold yellow")
    if summary.complete and _left_out(summary):
        return text.append("complete, but with files left out", style="bold yellow")
    if summary.complete:
        return text.append("complete", style="bold green")
    return text.append("not complete", style="bold yellow")
