"""From what a row of a table says to a label of an object that the dataset holds; or the reason why not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from daemon.added.store import ROW
from daemon.config.sheets import with_point
from daemon.config.taxonomy import folded
from daemon.dataset.labels import TEXTS, Completeness, Label, LabelStatus, Qualifier
from daemon.dataset.standing import HeldObjects
from daemon.labels.tables import OBJECT, Cells
from daemon.records.attempts import AttemptName
from daemon.records.objects import ObjectName
from daemon.system.errors import Refused
from drivers.texts import plain
from inference.wording import counted

W = TypeVar("W", bound=StrEnum)

CLOCKS_DIFFER = timedelta(minutes=5)
_FUTURE = "with a time in the future, by a clock that was wrong: they stand until it has passed"
_ELSEWHERE = "of an attempt at a field that does not count: they are kept, and stand in no table"
_NO_ZONE = "with a time without a zone, which was read as UTC"
_TRUTH = {
    "yes": True, "true": True, "1": True, "wahr": True, "vrai": True,
    "no": False, "false": False, "0": False, "falsch": False, "faux": False,
}  # fmt: skip
"""Spreadsheets write truth in their own language."""


@dataclass(frozen=True)
class SaidForAll:
    """What holds of rows that do not say it themselves; rows that lamelle exported say everything."""

    who: str | None = None
    utc: datetime | None = None
    status: LabelStatus | None = None


def said_for_all(who: str | None, utc: str | None, status: str | None) -> SaidForAll:
    """Read what a person says of all rows.

    Raises
    ------
    Refused
        A word is none of those that it may be.
    """
    try:
        when = None if utc is None else moment_of(utc)[0]
        return SaidForAll(_text(who), when, _word(LabelStatus, "status", {"status": status}))
    except ValueError as error:
        raise Refused(f"--{error}") from error


class LabelReader:
    """Reads rows as labels of the objects of a dataset.

    Parameters
    ----------
    now
        what the clock says; deeds that it puts into the future are noted.
    """

    def __init__(self, held: HeldObjects, for_all: SaidForAll, now: datetime) -> None:
        self._held = held
        self._for_all = for_all
        self._now = now
        self._notes: Counter[str] = Counter()

    def label(self, cells: Cells, comma_is_decimal: bool) -> Label:
        """Read a row.

        Raises
        ------
        ValueError
            It names no object of the dataset, or its words are none; the message is a clause.
        """
        numbers = {name: _number(name, cells.get(name), comma_is_decimal) for name in _NUMBERS}
        place, number = self._object(cells, numbers)
        exported = cells.get(ROW) is not None
        for_all = SaidForAll() if exported else self._for_all
        utc, zone_said = _moment(cells.get("utc"), for_all.utc)
        undone = _text(cells.get("undone"))
        status = _word(LabelStatus, "status", cells) or (None if undone else for_all.status)
        texts = {name: _text(cells.get(name)) for name in TEXTS}
        texts["who"] = texts["who"] or for_all.who
        label = Label(
            night=self._held.night,
            slide=place.slide,
            field=place.field,
            attempt=place.attempt,
            number=number,
            content=self.content(place, number, _text(cells.get("content"))),
            utc=utc,
            status=status,
            qualifier=_word(Qualifier, "qualifier", cells),
            completeness=_word(Completeness, "completeness", cells),
            units=numbers["units"],
            reworked=_truth("reworked", cells.get("reworked")),
            undone=undone,
            **texts,
        )
        self.note(label)
        if not zone_said:
            self._notes[_NO_ZONE] += 1
        return label

    def content(self, place: AttemptName, number: int, said: str | None) -> str:
        """Give the content of an object, which must be what was said, if anything was.

        Raises
        ------
        ValueError
            It is not, or there is no such object.
        """
        there = self._held.content(place, number)
        if there is None:
            raise ValueError("there is no such object in this dataset")
        if said is not None and folded(said) != there:
            raise ValueError("the object of this name has another content here: it was found by another analysis")
        return there

    def note(self, label: Label) -> None:
        """Count what a person should know of a label that is taken."""
        if label.utc > self._now + CLOCKS_DIFFER:
            self._notes[_FUTURE] += 1
        if not self._held.counts(AttemptName(label.slide, label.field, label.attempt)):
            self._notes[_ELSEWHERE] += 1

    def notes(self) -> list[str]:
        """Say what a person should know of the labels that were taken, a sentence each."""
        return [f"{counted(count, 'label')} {what}" for what, count in self._notes.items()]

    def of_this_night(self, night: str) -> None:
        """Refuse another night.

        Raises
        ------
        ValueError
            It is another.
        """
        if plain(night) != plain(self._held.night):
            raise ValueError(f"it is of night {night!r}, not of {self._held.night!r}")

    def _object(self, cells: Cells, numbers: dict[str, float | None]) -> tuple[AttemptName, int]:
        text = _text(cells.get(OBJECT), keep=True)
        if text is not None:
            name = ObjectName.parse(text)
            self.of_this_night(name.night)
            return AttemptName(name.slide, name.field, name.attempt), name.number
        night = _text(cells.get("night"), keep=True)
        if night is None:
            raise ValueError("night is empty; name the night of the object")
        self.of_this_night(night)
        slide, place, number = (_whole(name, numbers[name]) for name in ("slide", "field", "number"))
        said = numbers["attempt"]
        attempt = self._only_attempt(slide, place) if said is None else _whole("attempt", said)
        return AttemptName(slide, place, attempt), number

    def _only_attempt(self, slide: int, place: int) -> int:
        attempts = self._held.attempts(slide, place)
        if len(attempts) > 1:
            told = ", ".join(map(str, attempts))
            raise ValueError(f"attempt is empty, and the field has the attempts {told}; say which was looked at")
        return attempts[0] if attempts else 1


_NUMBERS = ("slide", "field", "attempt", "number", "units")


def moment_of(text: str) -> tuple[datetime, bool]:
    """Read a time as ISO 8601 has it, to UTC, and say whether its zone was given; without one it is UTC.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        read = datetime.fromisoformat(text)
        return (read.replace(tzinfo=UTC), False) if read.tzinfo is None else (read.astimezone(UTC), True)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"utc is {text!r}; write the time as 2026-03-14T21:05:00Z") from error


def _moment(value: object, otherwise: datetime | None) -> tuple[datetime, bool]:
    if isinstance(value, datetime):
        return moment_of(value.isoformat())
    text = _text(value)
    if text is not None:
        return moment_of(text)
    if otherwise is None:
        raise ValueError("utc is empty; say when the label was given, here or for all rows with --utc")
    return otherwise, True


def _text(value: object, keep: bool = False) -> str | None:
    """Give a text as names are compared, or as it stands; None where there is none."""
    if value is None:
        return None
    text = str(value)
    return (text if keep else plain(text)) or None


def _number(name: str, value: object, comma_is_decimal: bool) -> float | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        number = float(with_point(plain(str(value)), comma_is_decimal))
    except ValueError as error:
        raise ValueError(f"{name} is {value!r}, which is no number") from error
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r}, which is no number")
    return number


def _whole(name: str, number: float | None) -> int:
    if number is None:
        raise ValueError(f"{name} is empty; name the object")
    if number != int(number) or not 0 <= number < 1e9:
        raise ValueError(f"{name} is {number:g}, which is no whole number of an object")
    return int(number)


def _word(words: type[W], name: str, cells: Cells) -> W | None:
    text = _text(cells.get(name))
    if text is None:
        return None
    try:
        return words(folded(text))
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}; choose one of {_listed(words)}") from error


def _listed(words: Iterable[StrEnum]) -> str:
    return ", ".join(word.value for word in words)


def _truth(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = folded(str(value))
    if text not in _TRUTH:
        raise ValueError(f"{name} is {value!r}; write yes or no")
    return _TRUTH[text]
