"""What a watcher knows of a night, as lines for a terminal of 80 x 24 or more."""

from __future__ import annotations

import textwrap
import time
from collections import Counter as Counts
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from calibration.counting.poisson import interval
from daemon.live.follower import NightView
from daemon.protocols.watching import Counters, EventNotice, Hardware, SlidePlan, Tone
from daemon.system.progress import duration, pace
from inference.wording import MICROMETRE

MB, GB = 1e6, 1e9
FULL = 0.8
"""Share of a bound from which on a level is shown as one to look at."""
COLOURS: dict[Tone, str] = {"good": "green", "running": "green", "warning": "yellow", "bad": "bold red"}
"""Of the tones of a verdict."""
NEEDS_SHOWN = 3
TROUBLE = "bold red"
LEVELS = {"info": "dim", "warning": "yellow", "error": TROUBLE}
_BAR = 14
_WIDE_BAR = 24


@dataclass(frozen=True)
class Hearing:
    """Whether the night is heard: `joined`, else why not, and when it last was (seconds since 1970)."""

    joined: bool
    trouble: str
    heard_utc: float | None


def draw(view: NightView, hearing: Hearing, now_utc: float, width: int, height: int) -> Text:
    """Draw a night in so many columns and lines; what has no room is left out, the oldest events first.

    Events are told whole, on as many lines as they take, the newest at the end.
    """
    lines = [
        *_head(view, hearing, now_utc, width),
        Text(),
        *_slides(view),
        *_counts(view, width),
        Text(),
        *_levels(view),
    ]
    lines += _events(view.events, width, max(0, height - len(lines) - 1))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[:height])


def printable(text: str) -> str:
    """Give a text in which nothing can steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def clock(utc: float) -> str:
    """Give a moment as people here say it: 23:04:11."""
    return time.strftime("%H:%M:%S", time.localtime(utc))


def _head(view: NightView, hearing: Hearing, now_utc: float, width: int) -> Iterator[Text]:
    if not hearing.joined:
        since = "never heard" if hearing.heard_utc is None else f"lost since {clock(hearing.heard_utc)}"
        ago = "" if hearing.heard_utc is None else f", {duration(now_utc - hearing.heard_utc)} ago"
        yield from _wrapped(f"{since}{ago}: {printable(hearing.trouble)}", TROUBLE, width)
        if view.about is not None:
            yield Text("what follows is what was last known", "yellow")
    about, verdict = view.about, view.verdict
    if about is not None:
        if verdict is not None:
            colour = COLOURS[verdict.tone] if hearing.joined else "dim"
            yield from _wrapped(printable(verdict.headline), f"bold {colour}", width)
            for need in verdict.needs[:NEEDS_SHOWN]:
                yield from _wrapped(printable(need), colour, width)
            if (more := len(verdict.needs) - NEEDS_SHOWN) > 0:
                yield Text(f"and {more} more: see the report or the page", colour)
        began = f"night {printable(about.night)}, begun {clock(about.began_utc)}, now {clock(now_utc)}"
        yield Text(began, "dim")
    if view.counters is not None:
        yield _overall(view.counters)


def _wrapped(words: str, style: str, width: int) -> Iterator[Text]:
    """Give a sentence on as many lines as it takes: what may need somebody is never cut."""
    yield from (Text(line, style) for line in textwrap.wrap(words, width))


def _overall(counters: Counters) -> Text:
    done = counters.secured + counters.skipped
    parts = [f"{done}/{counters.planned} fields"]
    if counters.skipped:
        parts.append(f"{counters.skipped} skipped")
    if counters.again_ordered:
        parts.append(f"{counters.again_made}/{counters.again_ordered} taken again")
    parts.append(pace(counters.fields_per_s))
    left = counters.planned - done + counters.again_ordered - counters.again_made
    if counters.seconds_left is not None and left > 0:
        parts.append(f"{duration(counters.seconds_left)} left")
    return _bar(done, counters.skipped, counters.planned, _WIDE_BAR).append(f"  {', '.join(parts)}")


def _slides(view: NightView) -> Iterator[Text]:
    if view.about is None:
        return
    done, skipped = Counts[int](), Counts[int]()
    for field in view.fields.values():
        done[field.slide] += 1
        skipped[field.slide] += field.reason is not None
    found = Counts[int]()
    for tally in view.tallies.rows():
        found[tally.slide] += tally.objects
    now = view.counters.slide if view.counters is not None else None
    for slide in view.about.slides:
        n = slide.position
        yield _slide(slide, done[n], skipped[n], found[n], is_now=n == now)


def _slide(slide: SlidePlan, done: int, skipped: int, objects: int, is_now: bool) -> Text:
    planned = len(slide.places)
    mark, style = ("✓", "green") if done == planned else ("▶", "bold") if is_now else (" ", "dim")
    line = Text(f"{mark} {slide.position} {printable(slide.sample)[:14]:14s} ", style)
    line.append_text(_bar(done, skipped, planned, _BAR)).append(f" {f'{done}/{planned}':>9s}")
    if done > skipped:
        low, high = interval(objects)
        line.append(f"  {objects} ({low:.0f}-{high:.0f}) objects", "default")
    if skipped:
        line.append(f", {skipped} skipped", "yellow")
    return line


def _bar(done: int, skipped: int, planned: int, width: int) -> Text:
    full = width * done // planned
    yellow = min(full, -(-width * skipped // planned)) if skipped else 0
    return Text.assemble(("█" * (full - yellow), "green"), ("█" * yellow, "yellow"), ("░" * (width - full), "dim"))


def _counts(view: NightView, width: int) -> Iterator[Text]:
    """Count the objects of each class, with the 95 % interval of the mean that such a count stands for."""
    found = Counts[str]()
    for tally in view.tallies.rows():
        found[tally.class_name] += tally.objects
    words = [f"{printable(name)} {count} ({_between(count)})" for name, count in found.most_common()]
    line = Text()
    for word in words:
        if len(line) + len(word) > width:
            yield line
            line = Text()
        line.append(f"{word}   ")
    if len(line):
        yield line


def _between(count: int) -> str:
    low, high = interval(count)
    return f"{low:.0f}-{high:.0f}"


def _levels(view: NightView) -> Iterator[Text]:
    counters = view.counters
    if counters is not None:
        spool = counters.spool_bytes / max(counters.spool_limit_bytes, 1)
        ring = f"ring {counters.ring_used}/{counters.ring_stacks}"
        hours = "" if counters.disk_hours is None else f", {counters.disk_hours:.1f} h"
        disk = f"disk {counters.disk_free_bytes / GB:.0f} GB{hours} left"
        yield Text.assemble(
            (
                f"spool {counters.spool_bytes / MB:.0f}/{counters.spool_limit_bytes / MB:.0f} MB",
                "yellow" if spool > FULL else "default",
            ),
            f"   {counters.backlog} to deliver   {ring}   {disk}",
        )
    if view.hardware is not None:
        yield from _hardware(view.hardware)


def _hardware(hardware: Hardware) -> Iterator[Text]:
    light = {True: ", light on", False: ", light off", None: ""}[hardware.light]
    at = ""
    if hardware.x_um is not None and hardware.y_um is not None and hardware.z_um is not None:
        at = f", at {hardware.x_um / 1000:.3f} {hardware.y_um / 1000:.3f} mm, z {hardware.z_um:.2f} {MICROMETRE}"
    yield Text(f"microscope {printable(hardware.microscope)}{light}{at}")
    yield Text(f"analysis   {printable(hardware.analysis)}")
    yield Text(f"recorder   {printable(hardware.recorder)}")


def _events(events: Sequence[EventNotice], width: int, room: int) -> list[Text]:
    """Give the newest events in so many lines; the oldest of them may lack its end, if alone it is longer than that."""
    shown: list[Text] = []
    for told in reversed(events):
        lines = list(_event(told, width))
        if len(shown) + len(lines) > room:
            return shown or lines[:room]
        shown = [*lines, *shown]
    return shown


def _event(told: EventNotice, width: int) -> Iterator[Text]:
    words = f"{clock(told.utc)} {printable(told.title)}: {printable(told.message)}"
    return _wrapped(words, LEVELS.get(told.level, "yellow"), width)
