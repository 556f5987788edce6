"""What a night knows of the mini-slide it is on, and of a field on its way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.night.brightness import Dimming
from daemon.night.focus_following import FocusFollower, Known
from daemon.records.events import SkipReason
from daemon.records.fields import PlannedField
from daemon.records.records import FocusResult
from drivers.settings import MiniSlide

LAG = 2
"""The z of field n uses focus results of fields up to n - LAG."""


@dataclass
class SlideUnderWay:
    """What the night knows of the mini-slide it is on.

    `wanted` are those of its `fields` that are to be taken, `again` whether they were before; `exposed` says how often.
    """

    settings: MiniSlide
    fields: Sequence[PlannedField]
    wanted: Sequence[PlannedField]
    follower: FocusFollower
    again: bool = False
    exposed: dict[int, int] = field(default_factory=dict)
    searches: dict[int, FocusResult] = field(default_factory=dict)
    results: dict[int, FocusResult] = field(default_factory=dict)
    settled: dict[int, asyncio.Event] = field(default_factory=dict)
    fresh: bool = True
    dimming: Dimming = field(default_factory=Dimming)
    skipped_in_a_row: int = 0
    given_up: SkipReason | None = None
    faults: set[str] = field(default_factory=set)
    overexposed: bool = False
    last: asyncio.Event = field(default_factory=lambda: already_set())

    def known_for(self, planned: PlannedField) -> list[Known]:
        """Return what says where a field is in focus: searches so far and results of fields well before it, in order.

        A further attempt is made after the plan, and goes by all that came of that.
        """
        up_to = math.inf if self.again else planned.field - LAG
        known: list[Known] = []
        for one in self.fields:
            if one.field in self.searches:
                known.append((one, self.searches[one.field]))
            if one.field <= up_to and one.field in self.results:
                known.append((one, self.results[one.field]))
        return known

    def forget_focus(self, field: int) -> None:
        """Forget where a field was in focus: without oil what is sharpest says nothing of where it is with oil."""
        self.results.pop(field, None)
        self.searches.pop(field, None)

    def seen(self, up_to: int) -> list[Known]:
        """Return results of fields up to `up_to`, searches left out."""
        return [(f, self.results[f.field]) for f in self.fields if f.field <= up_to and f.field in self.results]


@dataclass
class FieldUnderWay:
    """One field on its way; it is `settled` once it is journalled, and never before the one that comes before it.

    `by_hand` says that a stage was moved while it was exposed, by somebody or something.
    """

    planned: PlannedField
    before: asyncio.Event
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    slot: int = -1
    first_z_um: float = math.nan
    exposures: int = 0
    by_hand: bool = False


def already_set() -> asyncio.Event:
    """Make an event that nobody waits for any more."""
    event = asyncio.Event()
    event.set()
    return event
