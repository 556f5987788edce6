"""What a dataset holds, for scripts and for people."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.dataset.reader import Dataset
from daemon.records.records import Event, FieldSecured, FieldSkipped

_REASONS_SHOWN = 20
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def summarise(folder: Path) -> dict[str, Any]:
    """Count what lies in a dataset, or in the dataset of a run folder.

    Beside the counts of `Dataset.summary`: `night`, `per_slide` (a map a mini-slide), `skipped` (fields, with the
    reason and the files they were read from, if any) and `events`. Everything can be written as JSON.

    Raises
    ------
    Refused
        There is no dataset, or it is of another version.
    """
    with Dataset.open(folder) as dataset:
        started = dataset.night()
        fields = dataset.fields()
        skipped = [field for field in fields if isinstance(field, FieldSkipped)]
        objects, flagged = _objects_of(fields)
        per_slide = [
            {
                "slide": held.slide,
                "sample": held.columns.get("sample", ""),
                "planned": held.planned,
                "recorded": held.recorded,
                "skipped": held.skipped,
                "objects": objects[held.slide],
                "below_threshold": flagged[held.slide],
                "closed": held.closed,
            }
            for held in dataset.slides()
        ]
        return {
            "night": started.night if started else None,
            **dataset.summary(),
            "per_slide": per_slide,
            "skipped": [
                {
                    "slide": f.slide,
                    "field": f.field,
                    "reason": f.reason,
                    "reason_code": f.reason_code,
                    "who": f.who,
                    "fault": f.fault,
                    "attempts": f.attempts,
                    "sources": [source.name for source in f.sources],
                }
                for f in skipped
            ],
            "events": [plain_event(event) for event in dataset.events()],
        }


def show(summary: dict[str, Any], console: Console) -> None:
    """Print what `summarise` returned, for people."""
    console.print(render(summary))


def render(summary: dict[str, Any]) -> RenderableType:
    """Tables of what `summarise` returned: a slide a row, skipped fields, events with what was done."""
    parts: list[RenderableType] = [_slides_table(summary)]
    if summary["skipped"]:
        parts.append(_skipped_table(summary["skipped"]))
    if summary["events"]:
        parts.append(_events_table(summary["events"]))
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


def _objects_of(fields: list[FieldSecured | FieldSkipped]) -> tuple[Counter[int], Counter[int]]:
    """Objects found on each slide, and those kept below the threshold."""
    found: Counter[int] = Counter()
    flagged: Counter[int] = Counter()
    for field in fields:
        if isinstance(field, FieldSecured):
            below = sum(row.below_threshold for row in field.objects)
            flagged[field.slide] += below
            found[field.slide] += len(field.objects) - below
    return found, flagged


def plain_event(event: Event) -> dict[str, Any]:
    """Every field of an event, and its title, by name."""
    return {
        "utc": event.utc,
        "level": event.level,
        "name": event.name,
        "title": event.title,
        "message": event.message,
        "slide": event.slide,
        "field": event.field,
        "who": event.who,
        "by": event.by,
        "fault": event.fault,
        "reason_code": event.reason_code,
    }


def _slides_table(summary: dict[str, Any]) -> Table:
    table = Table(title=f"night {escape(str(summary['night']))}", title_justify="left")
    for name in ("slide", "sample", "planned", "recorded", "skipped", "objects", "below threshold", ""):
        table.add_column(name, justify="left" if name in ("sample", "") else "right")
    for row in summary["per_slide"]:
        table.add_row(
            str(row["slide"]),
            escape(row["sample"]),
            *(str(row[name]) for name in ("planned", "recorded", "skipped", "objects", "below_threshold")),
            "closed" if row["closed"] else "open",
        )
    return table


def alike_skipped(skipped: list[dict[str, Any]]) -> list[tuple[int, str, int, str]]:
    """Take together the fields of a slide that were skipped alike: slide, fields such as `2, 5-9`, attempts, reason."""
    alike: dict[tuple[int, int, str], list[int]] = {}
    for row in skipped:
        alike.setdefault((row["slide"], row["attempts"], row["reason"]), []).append(row["field"])
    return [(slide, ranges(fields), attempts, reason) for (slide, attempts, reason), fields in alike.items()]


def alike_events(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Take together the events that say the same but for numbers, in the order in which they first came."""
    alike: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for event in events:
        alike.setdefault((event["level"], event["title"], _NUMBER.sub("#", event["message"])), []).append(event)
    return list(alike.values())


def ranges(numbers: list[int]) -> str:
    """Write ascending numbers as people do: `2, 5-9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _skipped_table(skipped: list[dict[str, Any]]) -> Table:
    """One row for all fields of a slide that were skipped for the same reason."""
    table = Table(title="skipped fields", title_justify="left", box=SIMPLE_HEAD)
    for name in ("slide", "fields", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    alike = alike_skipped(skipped)
    for slide, fields, attempts, reason in alike[:_REASONS_SHOWN]:
        table.add_row(str(slide), fields, str(attempts), escape(reason))
    if len(alike) > _REASONS_SHOWN:
        table.add_row("", "", "", f"and {len(alike) - _REASONS_SHOWN} more reasons: see --json")
    return table


def _events_table(events: list[dict[str, Any]]) -> Table:
    """One row for all events that say the same but for numbers: how often, when last, where, what the last one says."""
    table = Table(title="events", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("times", justify="right")
    for name in ("last, UTC", "level"):
        table.add_column(name, no_wrap=True)
    table.add_column("where", max_width=12)
    table.add_column("event, and what the last one says", overflow="fold", ratio=1)
    for same in alike_events(events):
        last = same[-1]
        when = datetime.fromtimestamp(last["utc"], UTC).strftime("%H:%M:%S")
        told = Text.assemble((last["title"], "bold"), ": ", last["message"])
        table.add_row(str(len(same)), when, escape(last["level"]), places(same), told)
    return table


def places(events: list[dict[str, Any]], shown: int = 4) -> str:
    """Tell where events happened, as `slide/field`."""
    every = [
        f"{event['slide']}" if event["field"] is None else f"{event['slide']}/{event['field']}"
        for event in events
        if event["slide"] is not None
    ]
    distinct = list(dict.fromkeys(every))
    return ", ".join(distinct[:shown]) + (", ..." if len(distinct) > shown else "")


def _verdict(summary: dict[str, Any]) -> Text:
    fields, volume = summary["fields"], summary["bytes"]
    waiting = f"{summary['not_analysed']} not analysed (lamelle analyse), " if summary["not_analysed"] else ""
    text = Text(
        f"{fields['recorded']} of {fields['planned']} fields recorded, {fields['skipped']} skipped, {waiting}"
        f"{summary['objects']} objects; {size(volume['raw'])} of frames became {size(volume['recorded'])}; "
        f"{summary['gaps']} gaps, {summary['duplicates']} duplicates: "
    )
    if summary["complete"] and summary["not_analysed"]:
        return text.append("complete, but with fields not analysed", style="bold yellow")
    if summary["complete"] and not fields["skipped"]:
        return text.append("complete", style="bold green")
    if summary["complete"]:
        return text.append("complete, but with skipped fields", style="bold yellow")
    return text.append("not complete", style="bold yellow")
