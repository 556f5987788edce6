"""A report in words: the tables and lines that its pages, on the screen and on paper, both show."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from daemon.dataset.summary import (
    AttemptSummary,
    JudgedSummary,
    alike_attempts,
    alike_events,
    alike_judged,
    alike_reasons,
    places,
)
from daemon.protocols.watching import Verdict
from daemon.records.attempts import Purpose
from daemon.records.flags import FieldFlag, words_of
from daemon.report.charts import Chart, SlideCharts
from daemon.report.fields_shown import FieldPicture
from daemon.report.numbers import ClassNumbers, Count, NightNumbers, SlideNumbers
from daemon.report.objects import ObjectShown
from daemon.report.sources import Sources
from daemon.report.timing import NightTiming
from daemon.system.progress import duration
from inference import wording
from inference.classification.reference import FEWEST
from inference.wording import DASH, MICROMETRE, fixed, optional, percent, short, whole

SAMPLES, REASONS, EVENTS = 200, 40, 60
"""Lines of samples, skipped fields and events at most; `lamelle inspect --json` has all."""
ALL = "with all"
"""Head of what a density would be with the fields that are not counted."""
EXCLUDED = "Fields not counted"
SKIPPED = "Fields skipped, kept raw, or taken again"


@dataclass(frozen=True)
class NightReport:
    """Everything a page of a night shows.

    `masses` say what they lack, `finest` are those of each taxon, or class, by what it is called.
    """

    numbers: NightNumbers
    verdict: Verdict
    timing: NightTiming | None
    sources: Sources
    masses: tuple[str, ...]
    methods: tuple[str, ...]
    fields: tuple[FieldPicture, ...]
    finest: tuple[tuple[str, tuple[ObjectShown, ...]], ...]
    doubtful: tuple[ObjectShown, ...]
    night_charts: tuple[Chart, ...]
    slide_charts: tuple[SlideCharts, ...]


@dataclass(frozen=True)
class Table:
    """A table of texts; the first `left` columns are words, the others numbers. `more` says what was left out."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    more: str = ""


def when(utc: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Write a time by the clock of this computer."""
    return datetime.fromtimestamp(utc).astimezone().strftime(form)


def heading(numbers: NightNumbers) -> str:
    """Say which night it was, and from when to when."""
    begin, end = numbers.started.utc, numbers.ended_utc
    same = when(begin, "%Y-%m-%d") == when(end, "%Y-%m-%d")
    until = when(end, "%H:%M" if same else "%Y-%m-%d %H:%M")
    zone = datetime.fromtimestamp(begin).astimezone().strftime("%Z")
    return f"{when(begin)} to {until} {zone}"


def facts(numbers: NightNumbers) -> list[tuple[str, str]]:
    """List what a person wants to know first: a name and a value each."""
    found = [
        ("mini-slides", f"{sum(slide.recorded > 0 for slide in numbers.slides)} of {len(numbers.slides)}"),
        ("fields recorded", f"{numbers.recorded} of {numbers.planned}"),
        ("fields skipped", str(len(numbers.skipped))),
        ("objects", whole(numbers.total.number)),
    ]
    if numbers.excluded_fields:
        found.append(("fields not counted", f"{numbers.excluded_fields} ({percent(numbers.excluded_share)})"))
    if numbers.total.per_mm2 is not None:
        found.append(("objects per mm\u00b2", short(numbers.total.per_mm2[0])))
    found.append(("took", duration(numbers.seconds)))
    return found


def counted(numbers: NightNumbers) -> str:
    """Say what counts as an object, and what was kept beside."""
    rule = "An object counts if it scores at least the threshold, lies in its field's own tile, and that field counts"
    parts = [rule]
    if numbers.excluded_fields:
        parts.append(
            f"{wording.counted(numbers.excluded_fields, 'field')} of {numbers.recorded - numbers.not_analysed} "
            f"({percent(numbers.excluded_share)}) are not: their area and their "
            f"{wording.counted(numbers.with_excluded.number - numbers.total.number, 'object')} are left out of all "
            'numbers but those under "with all"'
        )
    if numbers.seen_again:
        parts.append(f"{numbers.seen_again} more were seen again where fields overlap")
    if numbers.below_threshold:
        parts.append(f"{numbers.below_threshold} below the threshold are kept, flagged")
    missing = [kind.name for kind in numbers.kinds if not kind.count.number]
    if missing and numbers.total.number:
        parts.append(f"none was found of {', '.join(missing)}")
    return "; ".join(parts) + ". Ranges are 95 % Poisson intervals."


def samples(numbers: NightNumbers) -> Table:
    """Tabulate the mini-slides, a sample a row; with and without the fields that are not counted, where any are."""
    excluded = bool(numbers.excluded_fields)
    rows = [
        (
            f"{slide.slide} \u00b7 {slide.sample}",
            f"{slide.recorded} of {slide.planned}",
            str(slide.skipped),
            *((_left_out(slide),) if excluded else ()),
            *_counts(slide.total),
            *((_density(slide.with_excluded),) if excluded else ()),
            _range(slide.focus_um),
            _took(slide.seconds),
        )
        for slide in numbers.slides[:SAMPLES]
    ]
    head = (
        "mini-slide, sample",
        "fields",
        "skipped",
        *(("not counted",) if excluded else ()),
        "objects",
        "range",
        "per mm\u00b2",
        "range",
        *((ALL,) if excluded else ()),
        f"focus, {MICROMETRE}",
        "time",
    )
    return Table(head, tuple(rows), more=_left(len(numbers.slides) - SAMPLES))


def kinds(found: Sequence[ClassNumbers], what: str = "class", *, excluded: bool = False) -> Table:
    """Tabulate classes, or taxa, those too of which nothing was found; with all fields too where some are excluded."""
    rows = [
        (
            kind.name,
            *_counts(kind.count),
            *((_density(kind.with_excluded),) if excluded else ()),
            optional(kind.length_um),
            optional(kind.mass_pg),
        )
        for kind in found
    ]
    densities = ("per mm\u00b2", "range", *((ALL,) if excluded else ()))
    return Table((what, "objects", "range", *densities, f"length, {MICROMETRE}", "mass, pg"), tuple(rows))


def excluded(numbers: NightNumbers) -> Table:
    """Tabulate the fields that are not counted, and those that are by a person's word; alike ones share a row."""
    rows = []
    alike = alike_judged(numbers.judged)
    for fields, one in alike[:REASONS]:
        said = one.by if one.utc is None else f"{one.by}, {when(one.utc.timestamp())}"
        counts = "counted" if one.counted else "not counted"
        rows.append((one.reason or "no reason given", said, str(one.slide), fields, counts))
    head = ("why", "by", "mini-slide", "fields", "")
    return Table(head, tuple(rows), left=2, more=_left(len(alike) - REASONS))


def judged(one: JudgedSummary) -> str:
    """Say of a field whether it is counted where somebody decided that, by whom and why, and which flags it has."""
    said = f"{'counted' if one.counted else 'not counted'} by {one.by}" if one.by else ""
    said += f": {one.reason}" if said and one.reason else ""
    more = words_of(tuple(flag for flag in one.flags if not (said and flag.words in one.reason.split(", "))))
    return "; ".join(filter(None, [said, f"flagged {more}" if more else ""]))


def flags(numbers: NightNumbers) -> str:
    """Say how many fields have which flags, whether counted or not; empty where none has any."""
    found = Counter(flag for one in numbers.judged for flag in one.flags)
    said = ", ".join(f"{flag.words} {found[flag]}" for flag in FieldFlag if found[flag])
    return f"Fields by what was seen of their light: {said}. One may have several." if said else ""


def unlike(numbers: NightNumbers) -> str:
    """Say how the mini-slides compare with what the classifier learnt from; empty where nobody named anything."""
    if not numbers.taxa:
        return ""
    of = numbers.unlike
    if of.without:
        return f"Whether mini-slides look like what the classifier learnt cannot be said: {of.without}."
    out = ""
    if of.not_numbers:
        out = f" Left out: {wording.counted(of.not_numbers, 'object')} with features that are not numbers."
    if not of.slides:
        few = f"No mini-slide has the {FEWEST} objects that it takes to compare it with what the classifier learnt."
        return f"{few}{out}"
    each = ", ".join(
        f"{slide}: {one.times:.1f} ({one.far} of {one.objects}){' unlike it' if one.odd else ''}"
        for slide, one in of.slides.items()
    )
    return (
        "How many times as much as usual the objects of each mini-slide differ together from what the classifier "
        f"learnt (and how many are unlike any that it knows): {each}.{out}"
    )


def about_slide(slide: SlideNumbers) -> str:
    """Say in a line what was done on a mini-slide, and what its sample sheet says."""
    parts = [f"{slide.recorded} of {slide.planned} fields recorded"]
    parts += [f"{slide.skipped} skipped"] * bool(slide.skipped)
    parts += [f"{slide.not_analysed} not analysed yet"] * bool(slide.not_analysed)
    parts += [f"{_left_out(slide)} not counted"] * bool(slide.excluded_fields)
    parts += ["still open"] * (not slide.closed)
    if slide.area_mm2:
        parts.append(f"{short(slide.area_mm2)} mm\u00b2")
    if slide.focus_um is not None:
        parts.append(f"focus {_range(slide.focus_um)} {MICROMETRE}")
    if slide.seconds is not None:
        parts.append(_took(slide.seconds))
    parts += [f"{name} {value}" for name, value in slide.columns.items() if value]
    return " \u00b7 ".join(parts)


def skipped(numbers: NightNumbers) -> Table:
    """Tabulate fields skipped, kept raw or taken again, each once; those of a mini-slide that are alike share a row."""
    last = {(one.slide, one.field): one for one in numbers.again}
    failed = [(one, last.pop((one.slide, one.field), None)) for one in numbers.skipped]
    told = [one if again is None else replace(one, reason=f"{one.reason}{_in_vain(again)}") for one, again in failed]
    waiting = [(*row[:3], f"kept raw: {row[3]}") for row in alike_reasons(numbers.kept_raw)]
    alike = [*waiting, *alike_reasons(told), *_taken_again(last.values())]
    rows = [(reason, str(slide), fields, str(tries)) for slide, fields, tries, reason in alike[:REASONS]]
    return Table(("why", "mini-slide", "fields", "tries"), tuple(rows), more=_left(len(alike) - REASONS))


def _in_vain(last: AttemptSummary) -> str:
    """Say of a skipped field how often it was taken again."""
    return f"; taken again {wording.counted(last.attempt - 1, 'time')} in vain"


def _taken_again(last: Iterable[AttemptSummary]) -> list[tuple[int, str, int, str]]:
    """Tell of fields of which some attempt counts, each by its last one."""
    why = {Purpose.RETAKE: "taken again after a fault", Purpose.REDO: "taken again as ordered"}
    told = []
    for fields, one in alike_attempts(last):
        failed = f" was skipped ({one.reason})" if one.reason else ""
        counts = " counts" if one.counts == one.attempt else f"{failed}; attempt {one.counts} counts"
        told.append(
            (one.slide, fields, one.exposures, f"{why.get(one.purpose, 'taken again')}: attempt {one.attempt}{counts}")
        )
    return told


def events(numbers: NightNumbers) -> Table:
    """Tabulate faults and events, those that say the same in one row."""
    alike = alike_events(numbers.events)
    form = "%H:%M:%S" if numbers.seconds < 20 * 3600 else "%d %H:%M"
    rows = []
    for same in alike[:EVENTS]:
        first, last = when(same[0].utc, form), when(same[-1].utc, form)
        time = first if first == last else f"{first} {DASH} {last}"
        time += f", {len(same)} times" if len(same) > 1 else ""
        rows.append((time, same[-1].level, f"{same[-1].title}: {same[-1].sentence}", places(same)))
    return Table(("when", "", "what happened, and what was done", "where"), tuple(rows), 4, _left(len(alike) - EVENTS))


def timing(report: NightReport) -> tuple[Table, str]:
    """Tabulate where the time went, and say what the microscope alone would have needed."""
    found = report.timing
    if found is None:
        return Table((), ()), ""
    total = found.seconds or 1.0
    rows = [
        (span.what, _took(span.seconds), f"{100 * span.seconds / total:.0f} %", str(span.times)) for span in found.spans
    ]
    lines = []
    if found.needed_s is not None and found.needed_field_s is not None:
        lines.append(
            f"Moves, exposures and one focus search a mini-slide need {_took(found.needed_s)} for these fields, "
            f"{found.needed_field_s:.2f} s each; the night took {_took(found.seconds)}"
        )
    if found.field_s is not None:
        lines.append(f"the median field took {found.field_s:.2f} s")
    slow = [f"{one.slide}/{one.field} {_took(one.seconds)} ({one.what})" for one in found.slowest]
    if slow:
        lines.append(f"most was lost before mini-slide/field {', '.join(slow)}")
    told = "; ".join(lines)
    return Table(
        ("part of the night", "time", "share", "times"), tuple(rows)
    ), f"{told[:1].upper()}{told[1:]}." if told else ""


def calibrations(report: NightReport) -> Table:
    """Tabulate the calibration records that were used."""
    rows = []
    for one in report.sources.calibrations:
        age = "" if one.age_days is None else f"{one.age_days:.0f} d" if one.age_days >= 1 else "less than a day"
        rows.append((one.name, "; ".join(one.values) or one.warning, age, one.valid_until))
    return Table(("record", "says", "age then", "counts until"), tuple(rows), left=2)


def caption(one: ObjectShown) -> tuple[str, str, str]:
    """Title, measurements with flags, and locator of an object."""
    measured = [wording.length(one.length_um)] if one.length_um is not None else []
    if one.mass_pg is not None:
        measured.append(wording.mass(one.mass_pg, one.deviation_pg))
    title = f"{one.class_name} {one.score:.2f}"
    if one.taxon is not None:
        sure = "" if one.taxon_probability is None else f" {one.taxon_probability:.2f}"
        title = f"{one.taxon}{f', says {one.said_by}' if one.said_by else sure}"
    where = f"slide {one.slide} {one.sample}, field {one.field}, object {one.number}"
    return title, " \u00b7 ".join([*measured, *one.flags]), where


def field_caption(one: FieldPicture) -> tuple[str, str, str]:
    """Title of a field's picture, why it is shown, and what is known of it."""
    field = one.field
    known = [words_of(field.flags)] if field.flags else []
    if field.state != "recorded":
        known.append(field.state)
    elif field.counted:
        known.append(wording.counted(field.objects, "object"))
    if math.isfinite(field.x_um):
        known.append(f"stage {fixed(field.x_um / 1000, 2)}, {fixed(field.y_um / 1000, 2)} mm")
    known += [f"{' | '.join(one.polarizations)}"] * (len(one.polarizations) > 1)
    return f"slide {field.slide} {one.sample}, field {field.field}", "; ".join(one.whys), " \u00b7 ".join(known)


def _counts(count: Count) -> tuple[str, str, str, str]:
    if count.low is None or count.high is None:
        return DASH, "", DASH, ""
    ranged = f"{fixed(count.low, 0)} {DASH} {fixed(count.high, 0)}"
    if count.per_mm2 is None:
        return whole(count.number), ranged, DASH, ""
    value, low, high = count.per_mm2
    return whole(count.number), ranged, short(value), f"{short(low)} {DASH} {short(high)}"


def _left_out(slide: SlideNumbers) -> str:
    """How many fields of a mini-slide are not counted, and which share that is."""
    return f"{slide.excluded_fields} ({percent(slide.excluded_share)})" if slide.excluded_fields else "0"


def _density(count: Count) -> str:
    return DASH if count.per_mm2 is None else short(count.per_mm2[0])


def _range(ends: tuple[float, float] | None) -> str:
    return DASH if ends is None else f"{fixed(ends[0], 1)} to {fixed(ends[1], 1)}"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _left(count: int) -> str:
    return f"and {count} more like these: `lamelle inspect DIR --json` tells all" if count > 0 else ""
