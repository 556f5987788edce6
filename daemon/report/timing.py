"""Where a night's time went, held against what its moves and exposures alone need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daemon.planning.estimate import field_seconds, search_seconds
from daemon.records.events import EventName
from daemon.records.records import Event
from daemon.report.numbers import FieldNumbers, NightNumbers, awake_s

SLOWEST, TOLD_S = 5, 1.0
"""Fields that are named, of those before which most time was lost, and how much that is at least."""
PAUSES = (
    EventName.PAUSED,
    EventName.INTERRUPTED,
    EventName.NIGHT_STOPPED,
    EventName.NOT_DELIVERED,
    EventName.SPOOL_NOT_WRITTEN,
)
"""Names of events before which a night stands still, until it goes on by itself or with --resume."""
STARTING, EXPOSING, MOVING, SEARCHING = "start of the hardware", "exposures", "moves", "focus searches"
CHANGING, STANDING, REPEATING, WAITING, CLOSING = (
    "changes of mini-slide, with their first search",
    "pauses and interruptions",
    "fields exposed or taken again, or skipped",
    "waiting between fields",
    "last analysis and delivery",
)


@dataclass(frozen=True)
class Span:
    """What part of the night something took, and how often."""

    what: str
    seconds: float
    times: int


@dataclass(frozen=True)
class Slow:
    """A field that came late, though not the first of its mini-slide: seconds lost before its exposure, and to what."""

    slide: int
    field: int
    seconds: float
    what: str


@dataclass(frozen=True)
class NightTiming:
    """The night's time in spans that add up to `seconds`.

    `needed_s` is what moves, exposures and one focus search a mini-slide need for the fields that were recorded,
    `needed_field_s` what a field does; None of a replay, which has no microscope. `field_s` is the median field as it
    was, from the end of the exposure before it to the end of its own.
    """

    seconds: float
    needed_s: float | None
    needed_field_s: float | None
    field_s: float | None
    spans: tuple[Span, ...]
    slowest: tuple[Slow, ...]


def time_night(numbers: NightNumbers) -> NightTiming | None:
    """Return where the time of a night went; None of an archive, which no microscope exposed."""
    exposed = _exposed(numbers.fields)
    if not exposed:
        return None
    found: dict[str, list[float]] = {}
    steps, lost = [], []
    end_utc, slide = numbers.started.utc, 0
    skips = [field.utc for field in numbers.fields if field.state == "skipped"]
    superseded = {id(field) for field in numbers.superseded}
    for field in _exposed((*numbers.fields, *numbers.superseded)):
        begin_utc = (field.exposed_utc or 0.0) - (field.move_s or 0.0)
        gap = max(0.0, awake_s(end_utc, begin_utc, numbers.rests))
        if any(end_utc <= since and until <= begin_utc for since, until in numbers.rests):
            slide = 0  # the night was begun anew
        what = _what(field, slide, (end_utc, begin_utc), numbers.events, skips)
        found.setdefault(what, []).append(gap)
        if id(field) in superseded:
            found.setdefault(REPEATING, []).append((field.move_s or 0.0) + (field.expose_s or 0.0))
        else:
            found.setdefault(MOVING, []).append(field.move_s or 0.0)
            found.setdefault(EXPOSING, []).append(field.expose_s or 0.0)
        if what not in (STARTING, CHANGING) and gap > TOLD_S:
            lost.append(Slow(field.slide, field.field, gap, what))
        if slide == field.slide:
            steps.append(gap + (field.move_s or 0.0) + (field.expose_s or 0.0))
        end_utc, slide = begin_utc + (field.move_s or 0.0) + (field.expose_s or 0.0), field.slide
    found[CLOSING] = [max(0.0, awake_s(end_utc, numbers.ended_utc, numbers.rests))]
    spans = [Span(what, sum(took), len(took)) for what, took in found.items() if sum(took) > 0]
    config = numbers.config
    field_s = None if config is None else field_seconds(config) or None
    slides = len({field.slide for field in exposed})
    return NightTiming(
        seconds=sum(span.seconds for span in spans),
        needed_s=None
        if config is None or field_s is None
        else len(exposed) * field_s + slides * search_seconds(config),
        needed_field_s=field_s,
        field_s=sorted(steps)[len(steps) // 2] if steps else None,
        spans=tuple(sorted(spans, key=lambda span: -span.seconds)),
        slowest=tuple(sorted(lost, key=lambda one: -one.seconds)[:SLOWEST]),
    )


def _exposed(fields: Iterable[FieldNumbers]) -> list[FieldNumbers]:
    return sorted((one for one in fields if one.exposed_utc is not None and one.expose_s is not None), key=_when)


def _when(field: FieldNumbers) -> float:
    return field.exposed_utc or 0.0


def _what(
    field: FieldNumbers, slide: int, gap: tuple[float, float], events: Sequence[Event], skips: Sequence[float]
) -> str:
    """Say what the time before a field went to: the gravest that fell into it."""
    if any(event.name in PAUSES and gap[0] <= event.utc <= gap[1] for event in events):
        return STANDING
    if not slide:
        return STARTING
    if field.exposures > 1 or any(gap[0] <= utc <= gap[1] for utc in skips):
        return REPEATING
    if field.slide != slide:
        return CHANGING
    return SEARCHING if field.searched else WAITING
