"""What a verdict on a night rests on, wherever it is known from: a running night, a run folder, a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from daemon.records.events import EventName, ReasonCode
from daemon.records.records import Event, FieldSkipped
from daemon.records.states import NightState

NEED_A_PERSON = frozenset(
    {
        EventName.NOT_SAFE,
        EventName.SLIDE_LEFT,
        EventName.DIM_FIELD,
        EventName.OIL_LOST,
        EventName.LAMP_DIM,
        EventName.DETECTOR_LOST,
        EventName.CALIBRATION,
    }
)
"""Events that somebody has to see to, unless they are mere information."""


@dataclass(frozen=True)
class SlideFacts:
    """What is known of a mini-slide; `objects` are the counted ones."""

    slide: int
    sample: str
    planned: int
    recorded: int = 0
    skipped: int = 0
    not_analysed: int = 0
    objects: int = 0
    closed: bool = False


@dataclass(frozen=True)
class SkippedFields:
    """Fields of a mini-slide that were skipped for one reason; `sentence` is what was said of the last of them."""

    slide: int
    code: ReasonCode
    fields: int
    sentence: str


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
        gaps and duplicates of its dataset.
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
    def objects(self) -> int:
        """Counted objects."""
        return sum(slide.objects for slide in self.slides)


def needs_a_person(event: Event) -> bool:
    """Whether somebody has to see to what an event tells."""
    return event.name in NEED_A_PERSON and event.level != "info"


def skipped_fields(skipped: Iterable[FieldSkipped]) -> tuple[SkippedFields, ...]:
    """Put together the fields of a mini-slide that were skipped for the same reason, in the order they began."""
    alike: dict[tuple[int, ReasonCode], SkippedFields] = {}
    for one in skipped:
        key = (one.slide, one.reason_code or ReasonCode.FAULT)
        before = alike[key].fields if key in alike else 0
        alike[key] = SkippedFields(*key, before + 1, one.reason)
    return tuple(alike.values())
