"""What a person may do from the page, beside looking: a list, which pages draw as buttons.

Nothing is in it yet: excluding fields and labelling objects come here, each as one entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple


class ActionTarget(NamedTuple):
    """What is done something about: folder of the dataset, mini-slide, field, and of an object attempt and number."""

    folder: Path
    slide: int
    field: int
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
