"""What a person may do from the page, beside looking: a list, which pages draw as buttons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from daemon.counts.excluding import FieldsMeant, say_of_fields
from inference.wording import counted


class ActionTarget(NamedTuple):
    """What is done something about: folder of the dataset, mini-slide, fields, and of an object attempt and number.

    `fields` are numbers and ranges such as `3-9,12`; of an object it is the one that it lies in.
    """

    folder: Path
    slide: int
    fields: str
    attempt: int | None = None
    number: int | None = None


@dataclass(frozen=True)
class Action:
    """Something that a person may do.

    Attributes
    ----------
    name
        of its address, lower-case letters and hyphens.
    words
        on its button.
    of
        what it is done about.
    asks
        what the page asks for first, such as "Reason"; empty where it asks for nothing.
    do
        does it: what about, who wants it, what was typed; gives what to tell. What speaks against it is a `Refused`.
    """

    name: str
    words: str
    of: Literal["field", "object"]
    asks: str
    do: Callable[[ActionTarget, str, str], str]


def _say(excluded: bool | None, done: str, target: ActionTarget, who: str, typed: str) -> str:
    """Write a person's word on fields beside their dataset, as `lamelle exclude` does."""
    said = say_of_fields(target.folder, FieldsMeant(target.slide, target.fields, excluded, typed or None, who))
    return f"{counted(said, 'field')} of mini-slide {target.slide} {'is' if said == 1 else 'are'} {done}"


FIELD_ACTIONS = (
    Action("exclude", "Do not count", "field", "Reason", partial(_say, True, "not counted")),
    Action("include", "Count", "field", "Reason", partial(_say, False, "counted")),
    Action("take-back", "Take back what was said last", "field", "", partial(_say, None, "as before")),
)
"""What may be said of fields; the newest word stands above the night's rule, and nothing is deleted."""
