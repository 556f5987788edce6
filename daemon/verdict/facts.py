"""What a verdict on a night rests on, wherever it is known from: a running night, a run folder, a dataset."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from daemon.config.samples import SAMPLE
from daemon.records.attempts import AttemptName, FurtherAttempts, supersedes
from daemon.records.events import EventName, ReasonCode
from daemon.records.flags import FieldFlag
from daemon.records.records import (
    AnyRecord,
    AttemptsOrdered,
    Event,
    FieldAnalysed,
    FieldSecured,
    FieldSkipped,
    NightClosed,
    NightStarted,
    SlideClosed,
)
from daemon.records.states import NightState

NEED_A_PERSON = frozenset(
    {
        EventName.SLIDE_LEFT,
        EventName.NOT_MEASURED,
        EventName.NOT_NAMED,
        EventName.CAMERA_FULL,
        EventName.DIM_FIELD,
        EventName.OIL_LOST,
        EventName.LAMP_DIM,
        EventName.DETECTOR_LOST,
        EventName.CALIBRATION,
        EventName.LEFT_OUT,
        EventName.NOT_KEPT_AWAKE,
        EventName.NOT_WATCHED,
        EventName.RECORDER_AWAY,
        EventName.RECORDER_WAITS,
        EventName.DELIVERY_REFUSED,
        EventName.DELIVERY_WAITS,
    }
)
"""Events that somebody has to see to, unless they are mere information."""
TOLD_APART = frozenset({EventName.CALIBRATION, EventName.LEFT_OUT})
"""Those of them of which each message counts, not only the last of a mini-slide."""
BY_LIGHT = frozenset({EventName.DIM_FIELD, EventName.OIL_LOST, EventName.LAMP_DIM})
"""Those of them of which each field's is known, and that of the darkest speaks for all, not the last."""
OF_DELIVERY = frozenset(
    {EventName.RECORDER_AWAY, EventName.RECORDER_WAITS, EventName.DELIVERY_REFUSED, EventName.DELIVERY_WAITS}
)
"""Those of them that nobody has to see to any more once delivery goes on."""
OF_PROCESS = frozenset({EventName.NOT_KEPT_AWAKE, EventName.NOT_WATCHED})
"""Those that matter as long as the process runs that told them."""


@dataclass(frozen=True)
class SlideFacts:
    """What is known of a mini-slide; `objects` are the counted ones, `excluded` are fields that are not counted.

    These are numbered by why: a flag of theirs, or None where a person said so. `blank` are fields that count in which
    nothing is to be seen.
    """

    slide: int
    sample: str
    planned: int
    recorded: int = 0
    skipped: int = 0
    not_analysed: int = 0
    objects: int = 0
    closed: bool = False
    excluded: Mapping[FieldFlag | None, tuple[int, ...]] = field(default_factory=dict)
    blank: int = 0

    @property
    def searched(self) -> int:
        """Fields in which objects were looked for, and that count."""
        return self.recorded - self.not_analysed - sum(map(len, self.excluded.values()))


@dataclass(frozen=True)
class SkippedFields:
    """Fields of a mini-slide that were skipped for one reason; `sentence` is what was said of the last of them."""

    slide: int
    code: ReasonCode
    fields: int
    sentence: str


@dataclass(frozen=True)
class UnlikeSlide:
    """A mini-slide whose objects look unlike all that the classifier learnt from.

    Attributes
    ----------
    objects
        how many were judged.
    far
        how many of them look unlike any that it learnt from.
    times
        how many times as much they have in common as is usual.
    """

    slide: int
    objects: int
    far: int
    times: float


@dataclass(frozen=True)
class Levels:
    """What may fill up before a night ends.

    Attributes
    ----------
    spool_share
        share of the spool that is full.
    disk_hours
        how long the disk lasts at the pace so far; None where nobody can tell.
    seconds_left
        how long the night will take; None where nobody can tell.
    """

    spool_share: float
    disk_hours: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class NightFacts:
    """A night, as far as it is known.

    Attributes
    ----------
    state
        what the night said last that it does; None where it has said nothing.
    reason
        why.
    alive
        whether its process lives; None where that cannot be known, as on another computer.
    closed
        whether it has closed its record: every field is recorded or skipped.
    slides
        its mini-slides, in their order.
    skipped
        its skipped fields.
    events
        those that need a person, in their order; see `needs_a_person`.
    unsafe
        what could not be made safe; empty where all is.
    dataset_faults
        how many things are not as they should be with its dataset.
    slide
        the mini-slide that is scanned, if any.
    levels
        what may fill up, of a night that runs.
    again_ordered
        further attempts at fields that were ordered.
    again_made
        those of them that are made.
    unlike
        mini-slides that look unlike the classifier's library, of a recorded night.
    said
        mini-slide and number of fields of which a person said whether they are counted.
    """

    state: NightState | None
    reason: str
    alive: bool | None
    closed: bool
    slides: tuple[SlideFacts, ...]
    skipped: tuple[SkippedFields, ...] = ()
    events: tuple[Event, ...] = ()
    unsafe: str = ""
    dataset_faults: int = 0
    slide: int | None = None
    levels: Levels | None = None
    again_ordered: int = 0
    again_made: int = 0
    unlike: tuple[UnlikeSlide, ...] = ()
    said: frozenset[tuple[int, int]] = frozenset()

    @property
    def planned(self) -> int:
        """Fields of the plan."""
        return sum(slide.planned for slide in self.slides)

    @property
    def recorded(self) -> int:
        """Fields that are recorded."""
        return sum(slide.recorded for slide in self.slides)

    @property
    def left_out(self) -> int:
        """Fields that were skipped."""
        return sum(slide.skipped for slide in self.slides)

    @property
    def not_analysed(self) -> int:
        """Fields that are recorded but still to be analysed."""
        return sum(slide.not_analysed for slide in self.slides)

    @property
    def excluded(self) -> set[tuple[int, int]]:
        """Mini-slide and number of the fields that are recorded and not counted."""
        return {(one.slide, field) for one in self.slides for fields in one.excluded.values() for field in fields}

    @property
    def objects(self) -> int:
        """Counted objects."""
        return sum(slide.objects for slide in self.slides)


def needs_a_person(event: Event) -> bool:
    """Whether somebody has to see to what an event tells."""
    return event.name in NEED_A_PERSON and event.level != "info"


class _Taken(NamedTuple):
    """What the attempt at a field that counts adds to the facts."""

    slide: int
    recorded: bool
    attempt: int
    not_analysed: bool = False
    objects: int = 0
    code: ReasonCode = ReasonCode.FAULT
    excluded: tuple[FieldFlag | None, ...] = ()
    dim: bool = False
    blank: bool = False

    @classmethod
    def of(cls, record: FieldSecured | FieldSkipped, word: bool | None) -> _Taken:
        if isinstance(record, FieldSkipped):
            return cls(record.slide, False, record.attempt, code=record.reason_code or ReasonCode.FAULT)
        return cls(record.slide, True, record.attempt, not record.analysed).found(record, word)

    def found(self, record: FieldSecured | FieldAnalysed, word: bool | None) -> _Taken:
        """Take in the objects of the field, which count unless a person, or else a flag, speaks against it."""
        excluded: tuple[FieldFlag | None, ...] = record.excluded_by if word is None else () if word else (None,)
        objects = 0 if excluded else sum(row.counted for row in record.objects)
        return self._replace(
            objects=objects,
            excluded=excluded,
            dim=FieldFlag.DIM in record.flags,
            blank=FieldFlag.BLANK in record.flags and not excluded,
        )


def _excluded(
    before: Mapping[FieldFlag | None, tuple[int, ...]], field: int, why: tuple[FieldFlag | None, ...]
) -> dict[FieldFlag | None, tuple[int, ...]]:
    """Give the fields that are not counted, with one of them as it is now."""
    others = {flag: tuple(one for one in fields if one != field) for flag, fields in before.items()}
    others |= {flag: tuple(sorted((*others.get(flag, ()), field))) for flag in why}
    return {flag: fields for flag, fields in others.items() if fields}


class FactsGatherer:
    """Gathers what the records of a night say of it, in their order.

    Parameters
    ----------
    started
        the first record.
    words
        whether an attempt at a field is counted by a person's word, where anybody said so.
    """

    def __init__(self, started: NightStarted, words: Mapping[AttemptName, bool] | None = None) -> None:
        self._words = words or {}
        self._slides = {
            position: SlideFacts(position, started.samples.get(position, {}).get(SAMPLE, ""), planned)
            for position, planned in sorted(started.planned.items())
        }
        self._taken: dict[tuple[int, int], _Taken] = {}
        self._skipped: Counter[tuple[int, ReasonCode]] = Counter()
        self._sentences: dict[tuple[int, ReasonCode], str] = {}
        self._events: dict[tuple[EventName, int | None, str | int | None], Event] = {}
        self._lights: dict[tuple[int | None, int | None], float] = {}
        self._ending: Event | None = None
        self._not_safe: Event | None = None
        self._closed = False
        self._again = FurtherAttempts()

    def add(self, record: AnyRecord) -> None:
        """Take in a record."""
        match record:
            case FieldSecured() | FieldSkipped():
                self._go_on()
                if isinstance(record, FieldSecured) and record.backgrounds_dn:
                    self._lights[record.slide, record.field] = max(record.backgrounds_dn)
                self._take(record)
            case FieldAnalysed():
                self._analysed(record)
            case AttemptsOrdered():
                self._closed = False
                self._again.order(record.attempts)
                for position in {name.slide for name in record.attempts}:
                    self._slides[position] = replace(self._slides[position], closed=False)
            case SlideClosed():
                self._slides[record.slide] = replace(self._slides[record.slide], closed=True)
            case NightClosed():
                self._closed = True
            case Event():
                self._note(record)

    def facts(
        self,
        state: NightState | None,
        reason: str,
        *,
        alive: bool | None,
        unsafe: str | None = None,
        dataset_faults: int = 0,
        slide: int | None = None,
        levels: Levels | None = None,
        unlike: tuple[UnlikeSlide, ...] = (),
    ) -> NightFacts:
        """Give the facts so far; `state` and `unsafe` are those of the last events where nobody tells them."""
        ending = self._ending
        if ending is not None and alive is not True and (state is None or not state.ended):
            state, reason = ending.ending, ending.message
        if state is NightState.COMPLETE and self._again.made < self._again.ordered:
            # Said before further attempts were ordered; whoever was to make them has not said anything yet.
            state, reason = None, ""
        if unsafe is None:
            unsafe = "" if self._not_safe is None else self._not_safe.message
        return NightFacts(
            state=state,
            reason=reason,
            alive=alive,
            closed=self._closed,
            slides=tuple(self._slides.values()),
            skipped=tuple(
                SkippedFields(*key, count, self._sentences[key]) for key, count in self._skipped.items() if count
            ),
            events=self._told(),
            unsafe=unsafe,
            dataset_faults=dataset_faults,
            slide=slide,
            levels=levels,
            again_ordered=self._again.ordered,
            again_made=self._again.made,
            unlike=unlike,
            said=frozenset((name.slide, name.field) for name in self._words),
        )

    def _take(self, record: FieldSecured | FieldSkipped) -> None:
        """Count an attempt at a field instead of the one before, where it is to be."""
        self._again.make(AttemptName(record.slide, record.field, record.attempt))
        place, taken = (record.slide, record.field), _Taken.of(record, self._word(record))
        before = self._taken.get(place)
        if not supersedes(taken.recorded, None if before is None else before.recorded):
            return
        if before is not None:
            self._count(record.field, before, -1)
        self._count(record.field, taken, 1)
        self._taken[place] = taken
        if before is not None and before.dim:
            self._settle_light(place)
        if isinstance(record, FieldSkipped):
            key = (record.slide, taken.code)
            self._sentences[key] = record.reason

    def _settle_light(self, place: tuple[int, int]) -> None:
        """Forget what was said of the light of a stack that another takes the place of.

        What was said of the whole mini-slide is forgotten too once none of its counted fields is dim any more.
        """
        self._events.pop((EventName.DIM_FIELD, *place), None)
        if not any(one.dim and not one.excluded for one in self._taken.values() if one.slide == place[0]):
            self._events = {
                key: event for key, event in self._events.items() if event.name not in BY_LIGHT or key[1] != place[0]
            }

    def _analysed(self, record: FieldAnalysed) -> None:
        """Count what was found later in a field that was kept raw, unless another attempt at it counts by now."""
        place = (record.slide, record.field)
        before = self._taken[place]
        if before.attempt != record.attempt:
            return
        found = before._replace(not_analysed=False).found(record, self._word(record))
        self._count(record.field, before, -1)
        self._count(record.field, found, 1)
        self._taken[place] = found

    def _word(self, record: FieldSecured | FieldSkipped | FieldAnalysed) -> bool | None:
        return self._words.get(AttemptName(record.slide, record.field, record.attempt))

    def _count(self, number: int, one: _Taken, times: int) -> None:
        slide = self._slides[one.slide]
        self._slides[one.slide] = replace(
            slide,
            recorded=slide.recorded + times * one.recorded,
            skipped=slide.skipped + times * (not one.recorded),
            not_analysed=slide.not_analysed + times * one.not_analysed,
            objects=slide.objects + times * one.objects,
            blank=slide.blank + times * one.blank,
            excluded=_excluded(slide.excluded, number, one.excluded[:1] if times > 0 else ()),
        )
        if not one.recorded:
            self._skipped[one.slide, one.code] += times

    def _note(self, event: Event) -> None:
        if needs_a_person(event):
            apart = event.message if event.name in TOLD_APART else event.field if event.name in BY_LIGHT else None
            self._events[event.name, event.slide, apart] = event
        if event.name is EventName.NIGHT_RESUMED:
            self._forget(OF_DELIVERY | OF_PROCESS)
            self._go_on()
        elif event.name is EventName.DELIVERY_GOES_ON:
            self._forget(OF_DELIVERY)
        elif event.name is EventName.NOT_SAFE:
            self._not_safe = event
        elif event.name is EventName.MADE_SAFE:
            self._not_safe = None
        elif event.ending is not None:
            self._ending = event

    def _light(self, event: Event) -> float:
        """Give the background of the field that an event is about."""
        return self._lights.get((event.slide, event.field), math.inf)

    def _told(self) -> tuple[Event, ...]:
        """Give the events that need a person, those of the darkest fields last among their like: the last is told."""
        events = list(self._events.values())
        by_light = {
            name: iter(sorted((one for one in events if one.name is name), key=self._light, reverse=True))
            for name in BY_LIGHT
        }
        return tuple(next(by_light[one.name]) if one.name in BY_LIGHT else one for one in events)

    def _forget(self, names: frozenset[EventName]) -> None:
        self._events = {key: event for key, event in self._events.items() if event.name not in names}

    def _go_on(self) -> None:
        """Forget how the night ended before: it goes on. The order of records says so, as clocks may be set."""
        self._ending = self._not_safe = None
