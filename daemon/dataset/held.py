"""What a dataset holds, in numbers, and what is not as it should be with it, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from daemon.records.flags import FieldFlag


class FaultKind(StrEnum):
    """A gap: something is missing or changed. A contradiction: a table does not say what the records do."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"


class DatasetFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be: a name, such as that of a file, and what is wrong with it."""

    kind: FaultKind
    name: str
    what: str


@dataclass(frozen=True)
class SlideHeld:
    """What a dataset holds of one mini-slide; `columns` are those of its line in the sample sheet."""

    slide: int
    columns: dict[str, str]
    planned: int
    recorded: int
    skipped: int
    closed: bool


class JudgedField(NamedTuple):
    """What a field's own record says of it as a whole: its flags, and those for which it is not counted."""

    slide: int
    field: int
    attempt: int
    flags: tuple[FieldFlag, ...]
    excluded_by: tuple[FieldFlag, ...]


class MappedField(NamedTuple):
    """What a map shows of a field: its stage position (um), the focus that was found, and how many objects count.

    Positions are None of a skipped one.
    """

    slide: int
    field: int
    recorded: bool
    analysed: bool
    x_um: float | None
    y_um: float | None
    focus_z_um: float | None
    objects: int


class FieldTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of the plan, and what became of them; `excluded` are recorded ones that are not counted."""

    planned: int
    recorded: int
    skipped: int
    excluded: int = 0


class ByteTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the frames that were exposed, and of the files that came of them and are there."""

    raw: int
    recorded: int


class DatasetTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What is there; nothing is taken for granted.

    Attributes
    ----------
    slides
        with any field recorded or skipped.
    not_analysed
        recorded fields of which only the raw stack is there: `lamelle analyse` finds their objects.
    gaps
        numbers missing in the sequence of records, planned fields passed over (all that are missing, once the night is
        closed), and listed files that are missing or have another size.
    duplicates
        fields recorded or skipped twice, and further files of a recorded field that no record lists.
    contradictions
        tables that do not say what the records do: the catalog's of objects, and the file of a closed mini-slide.
    faults
        all three by name.
    objects
        those that count.
    seen_again
        those that lie in the tile of another field, which are kept beside them.
    below_threshold
        those that score too little, which are kept too (`daemon.records.counting`).
    excluded
        those that would count, were their field counted.
    complete
        whether the night is closed and nothing is missing, twice or at odds.
    """

    slides: int
    fields: FieldTotals
    not_analysed: int
    gaps: int
    duplicates: int
    contradictions: int
    faults: tuple[DatasetFault, ...]
    objects: int
    seen_again: int
    below_threshold: int
    excluded: int = 0
    bytes: ByteTotals
    complete: bool
