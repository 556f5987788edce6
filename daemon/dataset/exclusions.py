"""Which fields are counted: the night's own rule, and above it what people say, in rows beside the dataset.

A row is a deed: somebody says that an attempt at a field is not counted, or that it is, or takes back what was said
last. Of several the newest stands. A further attempt at a field is another stack: it is judged by its own flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from daemon.added.store import ROW, AddedKind, AddedStore, UnreadPart, folders_beside
from daemon.dataset.held import JudgedField
from daemon.dataset.objects_table import EXCLUDED
from daemon.records.flags import FieldFlag, words_of
from daemon.records.records import NightStarted
from daemon.system.errors import Refused
from daemon.system.progress import ranges
from drivers.texts import plain

LONGEST = 200
ALL = "all"
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?", re.ASCII)
_TEXT, _WHOLE = pa.string(), pa.int64()
EXCLUSIONS = AddedKind(
    name="exclusions",
    version=1,
    schema=pa.schema(
        [
            ("night", _TEXT), ("slide", _WHOLE), ("field", _WHOLE), ("attempt", _WHOLE),
            ("utc", pa.timestamp("us", "+00:00")), ("excluded", pa.bool_()), ("reason", _TEXT), ("who", _TEXT),
            ("undone", _TEXT),
        ]
    ),
)  # fmt: skip
Place = tuple[int, int]


class HoldsFields(Protocol):
    """What of a dataset tells which fields there are (`daemon.dataset.reader.Dataset`)."""

    folder: Path

    def night(self) -> NightStarted | None:
        """Give the record the night began with."""

    def judged(self) -> list[JudgedField]:
        """List what the records of the recorded fields say of them as a whole."""


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """One deed.

    Attributes
    ----------
    utc
        when it was said.
    excluded
        whether the field is not counted; None of a row that takes another back.
    who
        initials; None where nobody signed.
    undone
        hash of the row that this one takes back.
    """

    night: str
    slide: int
    field: int
    attempt: int
    utc: datetime
    excluded: bool | None = None
    reason: str | None = None
    who: str | None = None
    undone: str | None = None


@dataclass(frozen=True)
class FieldStanding:
    """Whether a recorded field is counted, and why.

    Attributes
    ----------
    flags
        all that it has.
    excluded_by
        those of them for which the night's rule does not count it.
    word
        what a person said of it that stands; None where nobody did.
    row
        hash of that word.
    """

    slide: int
    field: int
    attempt: int
    flags: tuple[FieldFlag, ...] = ()
    excluded_by: tuple[FieldFlag, ...] = ()
    word: Exclusion | None = None
    row: str = ""

    @property
    def counted(self) -> bool:
        """Whether its objects count."""
        return not (self.excluded_by if self.word is None else self.word.excluded)

    @property
    def reason(self) -> str:
        """Why it is not counted, or why it is although its flags speak against it; empty where nothing is to be said.

        A person's own words, where he gave any; else the flags.
        """
        flags = words_of(self.excluded_by)
        if self.word is None:
            return flags
        return self.word.reason or (flags if flags and not self.counted else "excluded" if not self.counted else "")

    @property
    def by(self) -> str:
        """Who decided: a person, somebody who did not sign, or the night's rule."""
        return "the rule" if self.word is None else self.word.who or "somebody"


@dataclass(frozen=True)
class StandingExclusions:
    """What stands of every recorded field that has a flag, or of which somebody said something.

    Attributes
    ----------
    fields
        by mini-slide and number.
    idle
        words on attempts that do not count any more.
    unread
        files beside the dataset that could not be read: what they hold is in none of this.
    """

    fields: Mapping[Place, FieldStanding]
    idle: int = 0
    unread: tuple[UnreadPart, ...] = ()

    def counted(self, slide: int, field: int) -> bool:
        """Whether the objects of a field count."""
        standing = self.fields.get((slide, field))
        return standing is None or standing.counted

    @property
    def excluded(self) -> list[FieldStanding]:
        """List the fields that are not counted, in their order."""
        return [one for one in self.fields.values() if not one.counted]

    @property
    def included(self) -> list[FieldStanding]:
        """List the fields that a person wants counted although the rule would not, in their order."""
        return [one for one in self.fields.values() if one.counted and one.excluded_by]


NOTHING_EXCLUDED = StandingExclusions({})


def exclusion_store(dataset: HoldsFields, beside: Path | None = None) -> AddedStore | None:
    """Give what people said of a dataset's fields; None where it holds no night yet."""
    started = dataset.night()
    if started is None:
        return None
    return AddedStore(EXCLUSIONS, started.night, folders_beside(dataset.folder, started.night, beside))


def standing_exclusions(dataset: HoldsFields, beside: Path | None = None) -> StandingExclusions:
    """Say of each field whether it is counted, why not, and by whom.

    Parameters
    ----------
    beside
        a folder that a person named, where such words are read too.
    """
    store = exclusion_store(dataset, beside)
    if store is None:
        return NOTHING_EXCLUDED
    found = store.read()
    words = _standing_words(found.table)
    fields = {}
    for one in dataset.judged():
        row, word = words.pop((one.slide, one.field, one.attempt), ("", None))
        if one.flags or word is not None:
            fields[one.slide, one.field] = FieldStanding(*one, word=word, row=row)
    return StandingExclusions(dict(sorted(fields.items())), len(words), found.unread)


def _standing_words(rows: pa.Table) -> dict[tuple[int, int, int], tuple[str, Exclusion]]:
    """Give the newest word on each attempt that nobody took back, with its hash."""
    said = [(row.pop(ROW), msgspec.convert(row, Exclusion)) for row in rows.to_pylist()]
    undone = {word.undone for _, word in said if word.undone is not None}
    standing: dict[tuple[int, int, int], tuple[str, Exclusion]] = {}
    for row, word in sorted(said, key=lambda one: (one[1].utc, one[0])):
        if word.undone is None and row not in undone:
            standing[word.slide, word.field, word.attempt] = row, word
    return standing


COUNTS_BY = ("counted", "in_exclusive_tile", "below_threshold", EXCLUDED.name)
"""Columns of objects that tell which count."""


def with_exclusions(table: pa.Table, standing: StandingExclusions) -> pa.Table:
    """Give a table of objects what persons say of their fields: in the columns `counted` and `field_excluded`."""
    said = {place: one for place, one in standing.fields.items() if one.word is not None}
    if not said:
        return table
    places = zip(table["slide"].to_pylist(), table["field"].to_pylist(), strict=True)
    rule = table[EXCLUDED.name].to_pylist()
    why = [
        one if (word := said.get(place)) is None else None if word.counted else word.reason
        for place, one in zip(places, rule, strict=True)
    ]
    excluded = pa.array(why, pa.string())
    own = pc.and_not(table["in_exclusive_tile"], table["below_threshold"])
    for name, column in (("counted", pc.and_(own, pc.is_null(excluded))), (EXCLUDED.name, excluded)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), column)
    return table


def fields_meant(dataset: HoldsFields, slide: int, text: str) -> list[JudgedField]:
    """Read which recorded fields of a mini-slide a person means: `3-9,12`, or `all`.

    Raises
    ------
    Refused
        It names none, or one that was not recorded.
    """
    there = {one.field: one for one in dataset.judged() if one.slide == slide}
    if not there:
        raise Refused(f"--slide is {slide}, of which no field was recorded; name a mini-slide that was")
    if text.strip() == ALL:
        return list(there.values())
    wanted: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
        if not 1 <= first <= last:
            raise Refused(f"--fields is {text!r}; write numbers and ranges such as 3-9,12, or {ALL}")
        wanted |= set(range(first, last + 1))
        # Told at the first range that names one, so that a text of many long ranges costs no more than one of them.
        if absent := sorted(wanted - there.keys()):
            raise Refused(f"--fields names {ranges(absent)}, not recorded on mini-slide {slide}; name recorded fields")
    return [there[field] for field in sorted(wanted)]


def say(
    dataset: HoldsFields,
    fields: Iterable[JudgedField],
    excluded: bool | None,
    reason: str | None = None,
    who: str | None = None,
    beside: Path | None = None,
) -> int:
    """Say that fields are not counted, or that they are; or take back what stands of them. Returns how many rows.

    A word is newer than every other on its field, whatever the clocks of the computers say.

    Parameters
    ----------
    excluded
        whether they are not counted; None takes back.

    Raises
    ------
    Refused
        A text is not of one line, or none of the folders can be written to.
    """
    for name, text in (("reason", reason), ("who", who)):
        if text is not None and (not text or plain(text) != text or not text.isprintable() or len(text) > LONGEST):
            raise Refused(f"--{name} is {text[:LONGEST]!r}; write one line of at most {LONGEST} letters")
    store = exclusion_store(dataset, beside)
    if store is None:
        raise Refused(f"{dataset.folder} holds no night yet; wait for its first record")
    rows = store.read().table
    newest: dict[Place, datetime] = {}
    for slide, field, utc in zip(*(rows[name].to_pylist() for name in ("slide", "field", "utc")), strict=True):
        newest[slide, field] = max(utc, newest.get((slide, field), utc))
    standing, now = _standing_words(rows), datetime.now(UTC)
    words = []
    for one in fields:
        before = standing.get((one.slide, one.field, one.attempt))
        if excluded is None and before is None:
            continue
        last = newest.get((one.slide, one.field))
        words.append(
            Exclusion(
                night=store.night,
                slide=one.slide,
                field=one.field,
                attempt=one.attempt,
                utc=now if last is None else max(now, last + timedelta(microseconds=1)),
                excluded=excluded,
                reason=reason,
                who=who,
                undone=before[0] if excluded is None and before is not None else None,
            )
        )
    names = EXCLUSIONS.schema.names
    table = pa.table({name: [getattr(word, name) for word in words] for name in names}, schema=EXCLUSIONS.schema)
    return store.add(table) if words else 0
