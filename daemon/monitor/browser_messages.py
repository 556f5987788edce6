"""What a browser is told of a night: JSON, without the pictures, which it fetches itself (docs/monitor.md)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from calibration.counting.poisson import interval
from daemon.live.follower import NightView
from daemon.live.tallies import LENGTHS_UM, MASSES_PG, edges
from daemon.protocols.watching import (
    About,
    AnyStreamMessage,
    Counters,
    EventNotice,
    FieldDone,
    Hardware,
    Overview,
    Specimens,
    State,
    Tally,
    Verdict,
)
from daemon.records.states import EndedBy, NightState

FieldRow = tuple[int, float, int, float | None, float, tuple[float, ...], str | None]
"""Number, utc, objects, focus in um, seconds, backgrounds in DN, why it was skipped: short, a night has 12,000."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """How the monitor stands to the night.

    `heard_utc` is when the last word came; `orders`: whether it takes any; `morning`: whether what it recorded can be
    looked at here; `afterwards`: what is to be said of that.
    """

    joined: bool
    trouble: str
    heard_utc: float | None
    ended: bool
    orders: bool
    morning: bool
    afterwards: str


class CountRow(msgspec.Struct, frozen=True, kw_only=True):
    """Counted objects of a class on a mini-slide, between which bounds their mean lies, and their bins."""

    slide: int
    class_name: str
    objects: int
    low: float
    high: float
    lengths: tuple[int, ...]
    masses: tuple[int, ...]


class TaxonCount(msgspec.Struct, frozen=True, kw_only=True):
    """Counted objects of a taxon, and between which bounds their mean lies."""

    taxon: str
    objects: int
    low: float
    high: float


class SlideCounts(msgspec.Struct, frozen=True, kw_only=True):
    """All that was counted on a mini-slide."""

    slide: int
    objects: int
    low: float
    high: float
    classes: tuple[CountRow, ...]
    taxa: tuple[TaxonCount, ...]


class StateShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the night does now, and why; whether that is its end, and who ended it."""

    state: NightState
    reason: str
    ended: bool
    by: EndedBy | None


class EventShown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as people read it."""

    utc: float
    level: str
    title: str
    message: str
    slide: int | None
    field: int | None


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """Everything: what a browser is told first, and again after it missed something.

    The views of an overview lie at /picture/field/SLIDE/FIELD/number of the view, the strips of objects at
    /picture/object/SLIDE/FIELD/NUMBER.
    """

    utc: float
    link: Link
    about: About | None
    state: StateShown | None
    verdict: Verdict | None
    counters: Counters | None
    hardware: Hardware | None
    fields: dict[int, list[FieldRow]]
    counts: tuple[SlideCounts, ...]
    length_edges: tuple[float, ...] = edges(LENGTHS_UM)
    mass_edges: tuple[float, ...] = edges(MASSES_PG)
    overviews: tuple[Overview, ...]
    latest: int | None
    specimens: tuple[Specimens, ...]
    events: tuple[EventShown, ...]
    notes: tuple[EventShown, ...]
    lost: int


_encoder = msgspec.json.Encoder()


def frame(name: str, value: Any) -> bytes:
    """One server-sent event. JSON holds no line break of its own."""
    return b"event: " + name.encode() + b"\ndata: " + _encoder.encode(value) + b"\n\n"


def whole(view: NightView, link: Link, notes: tuple[EventNotice, ...], utc: float) -> Whole:
    """Everything that is known; call it with the watcher's lock held."""
    fields: dict[int, list[FieldRow]] = {}
    for done in view.fields.values():
        fields.setdefault(done.slide, []).append(_row(done))
    return Whole(
        utc=utc,
        link=link,
        about=view.about,
        state=None if view.state is None else _state(view.state),
        verdict=view.verdict if link.joined or link.ended else _not_heard(view, link),
        counters=view.counters,
        hardware=view.hardware,
        fields=fields,
        counts=tuple(counts_of(view, slide) for slide in sorted({tally.slide for tally in view.tallies.rows()})),
        overviews=tuple(overview for overview, _ in view.overviews.values()),
        latest=view.latest,
        specimens=tuple(specimens for specimens, _ in view.specimens),
        events=tuple(map(_event, view.events)),
        notes=tuple(map(_event, notes)),
        lost=view.lost,
    )


def _not_heard(view: NightView, link: Link) -> Verdict | None:
    """Judge a night that is not heard any more: what was said of it last, and that nobody knows how it stands now."""
    if view.verdict is None:
        return None
    needs = (f"Find out why the night is not heard: {link.trouble}.", *view.verdict.needs)
    return Verdict(headline=view.verdict.headline, tone="bad", needs=needs, detail=" ".join(needs))


def changes(view: NightView, body: AnyStreamMessage) -> list[bytes]:
    """Return what a message changed, as server-sent events; call it with the watcher's lock held."""
    match body:
        case Overview():
            return [frame("overview", body)]
        case Specimens():
            return [frame("specimens", body)]
        case FieldDone():
            told = frame("field", {"slide": body.slide, "row": _row(body)})
            return [told, frame("counts", counts_of(view, body.slide))] if body.finds or body.instead_of else [told]
        case Counters():
            return [frame("counters", body)]
        case Hardware():
            return [frame("hardware", body)]
        case State():
            return [frame("state", _state(body))]
        case EventNotice():
            return [frame("told", _event(body))]
        case Verdict():
            return [frame("verdict", body)]


def counts_of(view: NightView, slide: int) -> SlideCounts:
    """Give the counts of a mini-slide with their intervals."""
    rows = [row for row in view.tallies.rows() if row.slide == slide]
    objects = sum(row.objects for row in rows)
    low, high = interval(objects)
    taxa = sum((Counter(row.taxa) for row in rows), Counter[str]())
    return SlideCounts(
        slide=slide,
        objects=objects,
        low=low,
        high=high,
        classes=tuple(map(_count, rows)),
        taxa=tuple(_taxon(name, count) for name, count in taxa.most_common()),
    )


def _taxon(name: str, objects: int) -> TaxonCount:
    low, high = interval(objects)
    return TaxonCount(taxon=name, objects=objects, low=low, high=high)


def _count(tally: Tally) -> CountRow:
    low, high = interval(tally.objects)
    return CountRow(
        slide=tally.slide,
        class_name=tally.class_name,
        objects=tally.objects,
        low=low,
        high=high,
        lengths=tally.lengths,
        masses=tally.masses,
    )


def _row(done: FieldDone) -> FieldRow:
    # Rounded to what is shown: all fields of a long night are half as many bytes.
    focus = None if done.focus_z_um is None else round(done.focus_z_um, 3)
    backgrounds = tuple(round(one, 1) for one in done.backgrounds_dn)
    return done.field, round(done.utc, 1), done.objects, focus, round(done.seconds, 2), backgrounds, done.reason


def _state(told: State) -> StateShown:
    return StateShown(state=told.state, reason=told.reason, ended=told.state.ended, by=told.state.by)


def _event(told: EventNotice) -> EventShown:
    return msgspec.convert(told, EventShown, from_attributes=True)
