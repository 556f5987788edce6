"""What is said of a night's objects, for people: how many are named what, by whom, and where two do not agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.added.store import ROW, UnreadPart
from daemon.dataset.labels import NOT_SIGNED, Label, LabelStatus, by_whom, given, label_store
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import HeldObjects, TaxonNames, standing
from daemon.labels.rows import CLOCKS_DIFFER
from daemon.labels.transfer import Brought
from daemon.records.attempts import AttemptName
from daemon.system.progress import ranges
from inference.wording import counted

_SHOWN = 20


class DisputedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object of which persons say different taxa: who says what, the label that stands first."""

    object: str
    said: tuple[tuple[str | None, str | None, datetime], ...]


class LabelOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All that `lamelle labels DIR show` tells; `--json` prints it.

    Attributes
    ----------
    labels
        all that were given, and `taken_back` of them.
    objects
        that have a label that stands.
    taxa
        taxon, status and number of objects; the taxon is None of what was discarded without one.
    by
        how many labels each person gave, programs (`predicted`), and nobody signed.
    notes
        what a person should know, a sentence each.
    unread
        files beside the dataset that could not be read: what they hold is in none of this.
    """

    night: str
    labels: int
    taken_back: int
    objects: int
    taxa: tuple[tuple[str | None, LabelStatus, int], ...]
    by: dict[str, int]
    conflicts: tuple[DisputedObject, ...]
    notes: tuple[str, ...]
    unread: tuple[UnreadPart, ...]


def overview(
    folder: Path, beside: Path | None = None, taxonomy: TaxonNames | None = None, now: datetime | None = None
) -> LabelOverview:
    """Look at the labels of a dataset, or of the one in a run folder.

    Parameters
    ----------
    beside
        where labels are kept besides, if a person named a folder.
    taxonomy
        tells what taxa are called today.
    now
        what the clock says, if another than the computer's.
    """
    with Dataset.open(folder) as dataset, dataset.unchanging():
        store = label_store(dataset, beside)
        found = store.read()
        stands = standing(found.table, taxonomy)
        held = HeldObjects.of(dataset)
    rows = stands.labels
    named = Counter(zip(rows["taxon"].to_pylist(), map(LabelStatus, rows["status"].to_pylist()), strict=True))
    hashes = set(found.table[ROW].to_pylist())
    lost = sum(target is not None and target not in hashes for target in found.table["undone"].to_pylist())
    late = pc.greater(found.table["utc"], (now or datetime.now(UTC)) + CLOCKS_DIFFER)
    elsewhere, changed = _of_no_object(rows.to_pylist(), held)
    notes = {
        "of an attempt at a field that does not count": elsewhere,
        "of an object that this dataset does not hold, or holds with another content": changed,
        "with a time in the future, by a clock that was wrong": pc.sum(late).as_py() or 0,
        "taking back what does not lie here": lost,
    }
    return LabelOverview(
        night=store.night,
        labels=given(found.table).num_rows,
        taken_back=stands.taken_back,
        objects=rows.num_rows,
        taxa=tuple((taxon, status, count) for (taxon, status), count in named.most_common()),
        by=by_whom(found.table),
        conflicts=tuple(
            DisputedObject(
                object=str(one.said[0].object), said=tuple((label.who, _meant(label), label.utc) for label in one.said)
            )
            for one in stands.conflicts
        ),
        notes=tuple(f"{counted(count, 'row')} {what}" for what, count in notes.items() if count),
        unread=found.unread,
    )


def show(of: LabelOverview, console: Console) -> None:
    """Print what `overview` returned, for people."""
    parts: list[RenderableType] = []
    if of.taxa:
        parts.append(_taxa_table(of))
    if of.conflicts:
        parts.append(_conflicts_table(of))
    parts += [Text(note, style="yellow") for note in of.notes]
    parts += [Text(f"{part.name} {part.what}", style="yellow") for part in of.unread]
    back = f", {of.taken_back} taken back" if of.taken_back else ""
    by = ", ".join(f"{who} {count}" for who, count in of.by.items())
    missed = f"; without what {counted(len(of.unread), 'file')} would say" if of.unread else ""
    parts.append(
        Text(
            f"{counted(of.labels, 'label')}{f' by {by}' if by else ''}{back}; {counted(of.objects, 'object')} named; "
            f"{counted(len(of.conflicts), 'conflict')}{missed}"
        )
    )
    console.print(Group(*parts))


def tell(brought: Brought, console: Console) -> None:
    """Print what became of labels that were brought in."""
    for (source, why), which in brought.left_out.items():
        numbers = [one for one in which if isinstance(one, int)]
        names = [one for one in which if isinstance(one, str)]
        where = ranges(numbers) if numbers else ", ".join(names[:_SHOWN])
        where += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        word = "row" if len(which) == 1 else "rows"
        _print(console, f"{source}, {f'{word} {where}' if numbers else where}: {why}")
    for note in brought.notes:
        _print(console, note)
    out = f", {brought.refused} left out" if brought.refused else ""
    _print(console, f"{counted(brought.added, 'label')} added, {brought.known} known already{out}")


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _meant(label: Label) -> str | None:
    return LabelStatus.DISCARDED.value if label.status is LabelStatus.DISCARDED else label.taxon


def _of_no_object(rows: list[dict[str, object]], held: HeldObjects) -> tuple[int, int]:
    """Count labels of attempts that do not count, and those of no object that is held."""
    elsewhere = changed = 0
    for row in rows:
        slide, field, attempt, number = (int(str(row[name])) for name in ("slide", "field", "attempt", "number"))
        place = AttemptName(slide, field, attempt)
        if held.content(place, number) != row["content"]:
            changed += 1
        elif not held.counts(place):
            elsewhere += 1
    return elsewhere, changed


def _taxa_table(of: LabelOverview) -> Table:
    table = Table(title=f"night {escape(of.night)}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("taxon", overflow="fold")
    for status in LabelStatus:
        table.add_column(status.value, justify="right")
    counts: dict[str | None, Counter[LabelStatus]] = {}
    for taxon, status, count in of.taxa:
        counts.setdefault(taxon, Counter())[status] += count
    for taxon, each in counts.items():
        table.add_row(escape(taxon or "not named"), *(str(each[status] or "") for status in LabelStatus))
    return table


def _conflicts_table(of: LabelOverview) -> Table:
    table = Table(title="two persons, two names", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("object", overflow="fold")
    table.add_column("who says what; the first stands", overflow="fold")
    for one in of.conflicts[:_SHOWN]:
        table.add_row(escape(one.object), escape("; ".join(_sayings(one))))
    if len(of.conflicts) > _SHOWN:
        table.add_row("", f"and {len(of.conflicts) - _SHOWN} more: see --json")
    return table


def _sayings(one: DisputedObject) -> Iterator[str]:
    for who, what, utc in one.said:
        yield f"{who or NOT_SIGNED}: {what or 'nothing'}, {utc:%Y-%m-%d %H:%M}"
