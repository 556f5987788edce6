"""Which fields are taken again: by the night itself after a fault, by `--resume`, and as a person orders it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.records.attempts import AttemptName, Purpose
from daemon.records.events import ReasonCode
from daemon.records.fields import PlannedField
from daemon.records.records import AttemptsOrdered, FieldSecured, FieldSkipped
from daemon.run_folder.journal import Journal
from daemon.system.errors import Refused

BY_FAULT = (ReasonCode.FAULT, ReasonCode.FAULTS_IN_A_ROW, ReasonCode.ANALYSIS_FAILED)
"""Why fields are skipped that may be had another time."""
SKIPPED = "skipped"
_ITEM = re.compile(r"(?:mini-)?slide\s+(\d{1,9})(?:\s+fields?\s+(\S.*))?", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")

Attempt = FieldSecured | FieldSkipped


def retakes(journal: Journal, *after: Purpose) -> list[AttemptName]:
    """Name the next attempts at fields that a fault kept from being recorded.

    Parameters
    ----------
    *after
        what the last attempt at such a field was made for; any, if left out.
    """

    def wanted(counting: Attempt, last: Attempt) -> bool:
        skipped = isinstance(counting, FieldSkipped) and counting.reason_code in BY_FAULT
        return skipped and (not after or last.purpose in after)

    return _next_attempts(journal, wanted)


def order_at_start(journal: Journal, redo: str | None, who: str) -> AttemptsOrdered | None:
    """Give the order that a night is gone on with; None where there is nothing to order.

    Parameters
    ----------
    redo
        what a person wants taken again (`ordered`); without it, of a night that was closed, what faults kept from being
        recorded.
    who
        orders it.

    Raises
    ------
    Refused
        As `ordered` does.
    """
    if redo is not None:
        return AttemptsOrdered(utc=time.time(), purpose=Purpose.REDO, attempts=tuple(ordered(journal, redo)), who=who)
    # One that was not closed goes on as it would have gone on.
    attempts = tuple(retakes(journal)) if journal.night_closed() else ()
    return AttemptsOrdered(utc=time.time(), purpose=Purpose.RETAKE, attempts=attempts) if attempts else None


def ordered(journal: Journal, text: str) -> list[AttemptName]:
    """Name the attempts that a person orders: `skipped`, or `slide 5`, `slide 5 fields 3-9, 12`, several with `;`.

    Raises
    ------
    Refused
        The text is none of these, or names no field that was taken or skipped.
    """
    places: set[tuple[int, int]] = set()
    skipped = False
    for item in filter(None, (part.strip() for part in text.split(";"))):
        if item.lower() == SKIPPED:
            skipped = True
            continue
        places |= _places(journal, text, item)

    def wanted(counting: Attempt, _last: Attempt) -> bool:
        return (counting.slide, counting.field) in places or (skipped and isinstance(counting, FieldSkipped))

    names = _next_attempts(journal, wanted)
    missing = sorted(places - {(name.slide, name.field) for name in names})
    if missing:
        slide, number = missing[0]
        told = f"slide {slide} field {number}, which was not taken yet or is to be taken again anyhow"
        raise Refused(f"--redo {text!r} names {told}; leave it out")
    if not names:
        raise Refused(f"--redo {text!r} names no field that was taken or skipped; `lamelle inspect` lists them")
    return names


def further_attempts(journal: Journal, plan: Sequence[PlannedField], slide: int) -> list[PlannedField]:
    """List the further attempts at fields of a mini-slide that are due, by field."""
    planned = {one.field: one for one in plan if one.slide == slide}
    due = [
        replace(planned[name.field], attempt=name.attempt, purpose=order.purpose) for name, order in journal.due(slide)
    ]
    return sorted(due, key=lambda one: (one.field, one.attempt))


def _next_attempts(journal: Journal, wanted: Callable[[Attempt, Attempt], bool]) -> list[AttemptName]:
    names = []
    for slide in sorted(journal.started().planned):
        counting = {one.field: one for one in journal.slide_fields(slide)}
        last = {one.field: one for one in journal.attempts(slide)}
        due = {name.field for name, _ in journal.due(slide)}
        names += [
            AttemptName(slide, number, last[number].attempt + 1)
            for number in sorted(counting)
            if number not in due and wanted(counting[number], last[number])
        ]
    return names


def _places(journal: Journal, text: str, item: str) -> set[tuple[int, int]]:
    """Name the fields, mini-slide and number, that one item of a selection stands for."""
    match = _ITEM.fullmatch(item)
    ranges = match and [_RANGE.fullmatch(part.strip()) for part in (match[2] or "1").split(",")]
    if match is None or ranges is None or not all(ranges):
        raise Refused(
            f"--redo {text!r} is not understood at {item!r}; write skipped, or slide 5, or slide 5 fields 3-9, 12, "
            "several with ; between them"
        )
    slide = int(match[1])
    planned = journal.started().planned.get(slide, 0)
    if not planned:
        raise Refused(f"--redo {text!r} names mini-slide {slide}, which the night does not have; leave it out")
    if match[2] is None:
        return {(slide, one.field) for one in journal.slide_fields(slide)}
    places: set[tuple[int, int]] = set()
    for found in filter(None, ranges):
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last <= planned:
            raise Refused(
                f"--redo {text!r} names fields {found[0]}, but those of mini-slide {slide} run from 1 to {planned}; "
                "give the lower one first"
            )
        places |= {(slide, number) for number in range(first, last + 1)}
    return places
