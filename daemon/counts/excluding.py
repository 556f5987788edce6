"""`lamelle exclude` and `lamelle include`: which fields count, by whose word, and what that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from daemon.dataset.exclusions import fields_meant, say, standing_exclusions
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import JudgedSummary, exclusions_table
from daemon.system.errors import Refused
from inference.wording import counted


@dataclass(frozen=True)
class FieldsMeant:
    """Which fields a person means, and what he says of them.

    Attributes
    ----------
    fields
        numbers and ranges such as `3-9,12`, or `all`.
    excluded
        whether they are not counted; None takes back what was said last.
    who
        initials.
    """

    slide: int
    fields: str
    excluded: bool | None
    reason: str | None = None
    who: str | None = None


def say_of_fields(folder: Path, meant: FieldsMeant, beside: Path | None = None) -> int:
    """Write a person's word on fields beside the dataset; returns of how many.

    Raises
    ------
    Refused
        There is no dataset or no such field, or it cannot be written anywhere.
    """
    with Dataset.open(folder) as dataset, dataset.unchanging():
        fields = fields_meant(dataset, meant.slide, meant.fields)
        rows = say(dataset, fields, meant.excluded, meant.reason, meant.who, beside)
    if not rows and meant.excluded is None:
        raise Refused(f"nobody said anything of fields {meant.fields} of mini-slide {meant.slide} that stands")
    return rows


def show_exclusions(folder: Path, console: Console, beside: Path | None = None) -> bool:
    """Print what stands; whether all that lies beside the dataset could be read."""
    with Dataset.open(folder) as dataset, dataset.unchanging():
        standing = standing_exclusions(dataset, beside)
    judged = [JudgedSummary.of(one) for one in standing.fields.values()]
    if any(one.by for one in judged):
        console.print(exclusions_table(judged))
    lines = [f"{counted(len(standing.excluded), 'field')} not counted"]
    if standing.included:
        lines.append(f"{counted(len(standing.included), 'field')} counted by a person's word, against the rule")
    if standing.idle:
        words = counted(standing.idle, "word")
        lines.append(f"{words} on attempts that do not count any more; nothing follows from them")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for part in standing.unread:
        console.print(Text(f"{part.name} {part.what}", style="yellow"), soft_wrap=True)
    return not standing.unread
