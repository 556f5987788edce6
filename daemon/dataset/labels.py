"""Labels: who said which taxon an object is, when, of which content; rows added beside a dataset, never over it.

A label keeps the identifier of its taxon as it was said; what that is called today, or what it was merged into, a
taxonomy tells on reading (`daemon.dataset.standing`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from daemon.added.store import AddedKind, AddedStore, UnreadPart, folders_beside
from daemon.dataset.reader import Dataset
from daemon.records.objects import ObjectName
from daemon.system.errors import Refused
from drivers.texts import plain

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
MOST_UNITS = 10_000.0
LONGEST = 200
NOT_SIGNED = "not signed"


class LabelStatus(StrEnum):
    """How sure a label is."""

    PREDICTED = "predicted"
    """By a program; it never stands beside what a person said."""
    DUBIOUS = "dubious"
    VALIDATED = "validated"
    DISCARDED = "discarded"
    """A person does not want the object named: it is none, or too poor."""


class Qualifier(StrEnum):
    """How a name is meant, as in open nomenclature."""

    CONFER = "cf."
    AFFINIS = "aff."
    INCERTA = "?"


class Completeness(StrEnum):
    """How much of a unit is there."""

    WHOLE = "whole"
    MORE_THAN_HALF = "more than half"
    LESS = "less"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One deed: somebody, or a program, says what an object is, or takes back what was said.

    Attributes
    ----------
    night
        of the object; `object` gives its whole name.
    content
        of the object that was looked at, hex (`daemon.dataset.standing.content_of`).
    utc
        when it was said, not when it was brought in.
    status
        None of a row that takes another back.
    taxon
        its identifier, or a name that the taxonomy knows; None only of what is discarded.
    unit
        what is counted, such as `valve`, `frustule`, `cell`, `lith`, `sphere`, `spore`; `units` how many.
    view
        how it lies; as `preservation` and `contents` in the words of the laboratory, on one line.
    who
        initials; None where nobody signed.
    undone
        hash of the row that this one takes back.

    Raises
    ------
    ValueError
        It contradicts itself; the message is a clause that names the value and what it may be.
    """

    night: str
    slide: int
    field: int
    attempt: int
    number: int
    content: str
    utc: datetime
    status: LabelStatus | None = None
    taxon: str | None = None
    qualifier: Qualifier | None = None
    unit: str | None = None
    units: float | None = None
    completeness: Completeness | None = None
    view: str | None = None
    preservation: str | None = None
    reworked: bool | None = None
    contents: str | None = None
    who: str | None = None
    undone: str | None = None

    def __post_init__(self) -> None:
        for name in TEXTS:
            text = getattr(self, name)
            if text is not None and (not text or plain(text) != text or not text.isprintable() or len(text) > LONGEST):
                raise ValueError(f"{name} is {text[:LONGEST]!r}; write one line of at most {LONGEST} letters")
        for name in ("content", "undone"):
            text = getattr(self, name)
            if text is not None and not _HASH.fullmatch(text):
                raise ValueError(f"{name} is {text[:LONGEST]!r}; it is a hash of 64 digits, as lamelle exports it")
        if self.utc.tzinfo is None or not _EARLIEST <= self.utc <= _LATEST:
            raise ValueError(f"utc is {self.utc.isoformat()}; give a time with its zone, since 1970")
        if self.units is not None and not 0 <= self.units <= MOST_UNITS:
            raise ValueError(f"units is {self.units:g}; give a number from 0 to {MOST_UNITS:g}")
        said = [name for name in SAID if getattr(self, name) is not None]
        if self.undone is not None and said:
            raise ValueError(
                f"{said[0]} is given in a row that takes another back; leave it empty, or leave out undone"
            )
        if self.undone is None and self.status is None:
            raise ValueError(f"status is empty; choose one of {', '.join(LabelStatus)}")
        if self.undone is None and self.taxon is None and self.status is not LabelStatus.DISCARDED:
            raise ValueError(f"taxon is empty; name one, or give the status {LabelStatus.DISCARDED}")

    @property
    def object(self) -> ObjectName:
        """Which object is meant."""
        return ObjectName(self.night, self.slide, self.field, self.attempt, self.number)


TEXTS = ("taxon", "unit", "view", "preservation", "contents", "who")
"""Of one line, in anybody's words."""
SAID = (
    "status", "taxon", "qualifier", "unit", "units", "completeness", "view", "preservation", "reworked", "contents",
)  # fmt: skip
"""What a label says of its object; a row that takes another back says none of it."""


class LabelsBeside(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels lie beside a dataset, by whom, and what could not be read there."""

    labels: int
    by: dict[str, int]
    unread: tuple[UnreadPart, ...]

    @property
    def line(self) -> str:
        """Say it in one line; empty where there is nothing to say."""
        told = [f"{self.labels} beside, {self.by_whom}"] if self.labels else []
        told += [f"{one.name} {one.what}" for one in self.unread]
        return "; ".join(told)

    @property
    def by_whom(self) -> str:
        """Say by whom, the most first."""
        return f"by {', '.join(f'{who} {count}' for who, count in self.by.items())}"


_TEXT, _WHOLE = pa.string(), pa.int64()
UTC_TIME = pa.timestamp("us", "+00:00")  # a zone by name would need a data base of them, which Windows has not
LABELS = AddedKind(
    name="labels",
    version=1,
    schema=pa.schema(
        [
            ("night", _TEXT), ("slide", _WHOLE), ("field", _WHOLE), ("attempt", _WHOLE), ("number", _WHOLE),
            ("content", _TEXT), ("utc", UTC_TIME), ("status", _TEXT), ("taxon", _TEXT), ("qualifier", _TEXT),
            ("unit", _TEXT), ("units", pa.float64()), ("completeness", _TEXT), ("view", _TEXT),
            ("preservation", _TEXT), ("reworked", pa.bool_()), ("contents", _TEXT), ("who", _TEXT), ("undone", _TEXT),
        ]
    ),
)  # fmt: skip
COLUMNS = tuple(LABELS.schema.names)


def label_store(dataset: Dataset, beside: Path | None = None) -> AddedStore:
    """Give the labels of a dataset.

    Parameters
    ----------
    beside
        a folder that a person named, where labels are written and read too.

    Raises
    ------
    Refused
        It holds no night yet.
    """
    started = dataset.night()
    if started is None:
        raise Refused(f"{dataset.folder} holds no night yet, and nothing to label; wait for its first record")
    return AddedStore(LABELS, started.night, folders_beside(dataset.folder, started.night, beside))


def labels_beside(dataset: Dataset) -> LabelsBeside:
    """Count the labels of a dataset; none where it holds no night yet."""
    if dataset.night() is None:
        return LabelsBeside(labels=0, by={}, unread=())
    found = label_store(dataset).read()
    return LabelsBeside(labels=given(found.table).num_rows, by=by_whom(found.table), unread=found.unread)


def given(rows: pa.Table) -> pa.Table:
    """Give the labels among rows, without those that take others back."""
    return rows.filter(pc.is_null(rows["undone"]))


def by_whom(rows: pa.Table) -> dict[str, int]:
    """Count the labels that each person gave, the most first; those of programs, and those that nobody signed."""
    there = given(rows).select(["status", "who"]).to_pylist()
    by = Counter(
        LabelStatus.PREDICTED.value if row["status"] == LabelStatus.PREDICTED else row["who"] or NOT_SIGNED
        for row in there
    )
    return dict(by.most_common())


def label_table(labels: Iterable[Label]) -> pa.Table:
    """Give labels as rows, a time to the microsecond."""
    there = list(labels)
    return pa.table({name: [getattr(one, name) for one in there] for name in COLUMNS}, schema=LABELS.schema)


def labels_of(table: pa.Table) -> list[Label]:
    """Read the labels that rows say."""
    return [msgspec.convert(row, Label) for row in table.select(COLUMNS).to_pylist()]
