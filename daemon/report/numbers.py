"""The numbers of a recorded night; what its pages show comes from here and from nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from calibration.counting.poisson import interval
from daemon.config.model import NightConfig as Config
from daemon.config.taxonomy import Taxonomy
from daemon.counts.unlike import Unlike
from daemon.dataset.summary import AttemptSummary, JudgedSummary
from daemon.records.flags import FieldFlag
from daemon.records.records import Event, FieldSecured, FieldSkipped, NightStarted
from daemon.verdict.facts import UnlikeSlide

State = Literal["recorded", "not analysed", "skipped", "open"]


@dataclass(frozen=True)
class Count:
    """A number of objects with its 95 % interval by Poisson, and the same three a mm2 where the area is known.

    Where nothing was searched, there is no interval.
    """

    number: int
    low: float | None
    high: float | None
    per_mm2: tuple[float, float, float] | None

    @classmethod
    def of(cls, number: int, area_mm2: float | None, *, searched: bool = True) -> Count:
        """Count so many objects on an area; none says nothing where nothing was searched."""
        if not searched:
            return cls(number, None, None, None)
        low, high = interval(number)
        per_mm2 = (number / area_mm2, low / area_mm2, high / area_mm2) if area_mm2 else None
        return cls(number, low, high, per_mm2)


NOTHING = Count(0, None, None, None)


@dataclass(frozen=True)
class ClassNumbers:
    """The objects of one class, or one taxon, by its name.

    `with_excluded` counts those of fields too that are not counted. Medians are of usable ones, weighted for those
    that are cut, None where none is. `value` is what the objects' table has for it: the class, the identifier of the
    taxon, None of what is not named.
    """

    name: str
    count: Count
    with_excluded: Count
    length_um: float | None
    mass_pg: float | None
    value: str | None


@dataclass(frozen=True)
class FieldNumbers:
    """One field: where it lies (stage um), what was found, and when it was exposed.

    `objects` are those that count, `attempt` is the one that does. `move_s` and `expose_s` are None of a stack that no
    camera exposed here. `reason` says why the field is not counted, or what a person said of it.
    """

    slide: int
    field: int
    state: State
    x_um: float
    y_um: float
    objects: int = 0
    focus_z_um: float | None = None
    backgrounds_dn: tuple[float, ...] = ()
    exposed_utc: float | None = None
    move_s: float | None = None
    expose_s: float | None = None
    searched: bool = False
    exposures: int = 0
    utc: float = math.nan
    counted: bool = True
    flags: tuple[FieldFlag, ...] = ()
    reason: str = ""
    attempt: int = 1


@dataclass(frozen=True)
class SlideNumbers:
    """One mini-slide, one sample.

    `columns` are those of the sample sheet but the sample's name. `taxa` is empty where nobody named anything.
    `area_mm2` is that of the exclusive tiles of counted fields in which objects were looked for; None where nothing
    tells it. `excluded_fields` are such fields that are not counted, `with_excluded` is what it would be with them, on
    an area of `all_mm2`.
    `focus_um` is the lowest and the highest focus, `seconds` from the first exposure to the end of the last.
    """

    slide: int
    sample: str
    columns: dict[str, str]
    planned: int
    recorded: int
    skipped: int
    not_analysed: int
    closed: bool
    total: Count
    kinds: tuple[ClassNumbers, ...]
    taxa: tuple[ClassNumbers, ...]
    area_mm2: float | None
    focus_um: tuple[float, float] | None
    seconds: float | None
    fields: tuple[FieldNumbers, ...]
    with_excluded: Count
    excluded_fields: int = 0
    all_mm2: float | None = None

    @property
    def excluded_share(self) -> float:
        """Share of the fields in which objects were looked for that are not counted."""
        analysed = self.recorded - self.not_analysed
        return self.excluded_fields / analysed if analysed else 0.0


@dataclass(frozen=True)
class NightNumbers:
    """A whole night.

    `seen_again` are objects that lie in another field's tile and `below_threshold` those that score too little: both
    are kept and not counted. `frame_um` is width and height of a frame, `bytes_recorded` what its files should take.
    `config` is None of an archive, or of a night of another version. `kept_raw` are fields that could not be analysed,
    `again` are further attempts at fields, `superseded` such as do not count. `rests` are the times, from and until,
    at which the night was closed before fields of it were taken again. `unlike` says which mini-slides look unlike what
    the classifier learnt. `with_excluded` is the total with the fields that are not counted, `judged` tells of each
    field with a flag or a person's word, `unread` what of such words cannot be read.
    """

    started: NightStarted
    config: Config | None
    ended_utc: float
    closed: bool
    slides: tuple[SlideNumbers, ...]
    total: Count
    kinds: tuple[ClassNumbers, ...]
    taxa: tuple[ClassNumbers, ...]
    classes: tuple[str, ...]
    taxonomy: Taxonomy
    unlike: Unlike
    seen_again: int
    below_threshold: int
    bytes_exposed: int
    bytes_recorded: int
    frame_um: tuple[float, float]
    polarizations: tuple[str, ...]
    devices: tuple[str, ...]
    events: tuple[Event, ...]
    skipped: tuple[FieldSkipped, ...]
    kept_raw: tuple[FieldSecured, ...]
    again: tuple[AttemptSummary, ...]
    superseded: tuple[FieldNumbers, ...] = ()
    rests: tuple[tuple[float, float], ...] = ()
    with_excluded: Count = NOTHING
    judged: tuple[JudgedSummary, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def excluded_fields(self) -> int:
        """Fields in which objects were looked for, and that are not counted."""
        return sum(slide.excluded_fields for slide in self.slides)

    @property
    def excluded_share(self) -> float:
        """Share of the fields in which objects were looked for that are not counted."""
        analysed = self.recorded - self.not_analysed
        return self.excluded_fields / analysed if analysed else 0.0

    @property
    def unlike_slides(self) -> tuple[UnlikeSlide, ...]:
        """Mini-slides whose objects look unlike what the classifier learnt."""
        found = self.unlike.slides.items()
        return tuple(UnlikeSlide(slide, one.objects, one.far, one.times) for slide, one in found if one.odd)

    @property
    def planned(self) -> int:
        """Fields that were planned."""
        return sum(slide.planned for slide in self.slides)

    @property
    def recorded(self) -> int:
        """Fields that were recorded."""
        return sum(slide.recorded for slide in self.slides)

    @property
    def not_analysed(self) -> int:
        """Recorded fields in which nothing has been looked for yet."""
        return sum(slide.not_analysed for slide in self.slides)

    @property
    def seconds(self) -> float:
        """From the start to the last record, but for the times at which the night was closed."""
        return max(0.0, awake_s(self.started.utc, self.ended_utc, self.rests))

    @property
    def fields(self) -> list[FieldNumbers]:
        """Every field, slide by slide."""
        return [field for slide in self.slides for field in slide.fields]


def awake_s(begin_utc: float, end_utc: float, rests: Iterable[tuple[float, float]]) -> float:
    """Return how long a night took from a moment to a later one, without its rests."""
    rested = (min(end_utc, until) - max(begin_utc, since) for since, until in rests)
    return end_utc - begin_utc - sum(max(0.0, one) for one in rested)
