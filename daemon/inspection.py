"""What a dataset holds, for scripts and for people."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.dataset import Dataset
from daemon.records import Event, FieldSecured, FieldSkipped

_REASONS_SHOWN = 20


def summarise(folder: Path) -> dict[str, Any]:
    """Count what lies in a dataset, or in the dataset of a run folder.

    Beside the counts of `Dataset.summary`: `night`, `per_slide` (a map a mini-slide), `skipped` (fields, with the
    reason) and `events`. Everything can be written as JSON.

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
                {"slide": f.slide, "field": f.field, "reason": f.reason, "attempts": f.attempts} for f in skipped
            ],
            "events": [_event(event) for event in dataset.events()],
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


def _event(event: Event) -> dict[str, Any]:
    return {
        "utc": event.utc,
        "level": event.level,
        "name": event.name,
        "message": event.message,
        "slide": event.slide,
        "field": event.field,
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


def _skipped_table(skipped: list[dict[str, Any]]) -> Table:
    table = Table(title="skipped fields", title_justify="left")
    for name in ("slide", "field", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    for row in skipped[:_REASONS_SHOWN]:
        table.add_row(str(row["slide"]), str(row["field"]), str(row["attempts"]), escape(row["reason"]))
    if len(skipped) > _REASONS_SHOWN:
        table.add_row("", "", "", f"and {len(skipped) - _REASONS_SHOWN} more: see --json")
    return table


def _events_table(events: list[dict[str, Any]]) -> Table:
    """One row a kind of event: how often, when last, where, and what the last one said was done."""
    table = Table(title="events", title_justify="left")
    for name, justify in (("times", "right"), ("last, UTC", "left"), ("level", "left"), ("event", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("what the last one says", overflow="fold", ratio=1)
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in events:
        kinds.setdefault((event["level"], event["name"]), []).append(event)
    for (level, name), same in kinds.items():
        last = same[-1]
        when = datetime.fromtimestamp(last["utc"], UTC).strftime("%H:%M:%S")
        table.add_row(str(len(same)), when, escape(level), escape(name), _places(same), escape(last["message"]))
    return table


def _places(events: list[dict[str, Any]], shown: int = 4) -> str:
    places = [
        f"{event['slide']}" if event["field"] is None else f"{event['slide']}/{event['field']}"
        for event in events
        if event["slide"] is not None
    ]
    distinct = list(dict.fromkeys(places))
    return ", ".join(distinct[:shown]) + (", ..." if len(distinct) > shown else "")


def _verdict(summary: dict[str, Any]) -> Text:
    fields, volume = summary["fields"], summary["bytes"]
    text = Text(
        f"{fields['recorded']} of {fields['planned']} fields recorded, {fields['skipped']} skipped, "
        f"{summary['objects']} objects; {size(volume['raw'])} of frames became {size(volume['recorded'])}; "
        f"{summary['gaps']} gaps, {summary['duplicates']} duplicates: "
    )
    if summary["complete"] and not fields["skipped"]:
        return text.append("complete", style="bold green")
    if summary["complete"]:
        return text.append("complete, but with skipped fields", style="bold yellow")
    return text.append("not complete", style="bold yellow")
