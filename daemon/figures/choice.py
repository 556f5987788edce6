"""Which objects are shown, and in which order: by where they are, and by what was said of them last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from daemon.config.taxonomy import UNSURE, Taxonomy, close_to
from daemon.counts.called import DISCARDED, UNNAMED, CalledNow, name_of
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, Selection, choose
from daemon.records.records import MEASURED, NAMED
from daemon.system.errors import Refused


class ObjectOrder(StrEnum):
    """What comes first: the place it was found at, the surest, the largest, or taxon by taxon the surest."""

    PLACE = "place"
    SCORE = "score"
    SIZE = "size"
    TAXON = "taxon"


@dataclass(frozen=True)
class ObjectChoice:
    """Which objects are shown.

    Attributes
    ----------
    selection
        by mini-slide, sample, class and score.
    taxa
        identifiers or names of taxa, with those below them; `unsure`, `not named` and `discarded` are some too. None:
        any.
    least_um
        lowest length; what was not measured is left out where a bound is given.
    most_um
        greatest length.
    order
        in which they come.
    """

    selection: Selection = field(default_factory=Selection)
    taxa: frozenset[str] | None = None
    least_um: float | None = None
    most_um: float | None = None
    order: ObjectOrder = ObjectOrder.PLACE


@dataclass(frozen=True)
class ChosenObjects:
    """Objects as they were measured last and are called now, in their order.

    Attributes
    ----------
    taxonomy
        what their taxa are called by.
    """

    objects: list[Chosen]
    taxonomy: Taxonomy

    def name_of(self, one: Chosen) -> str:
        """Give what people call the taxon that an object is."""
        return name_of(one.row.taxon, self.taxonomy)


def choose_objects(dataset: Dataset, choice: ObjectChoice) -> ChosenObjects:
    """Choose the objects of a dataset that are meant.

    Raises
    ------
    Refused
        A taxon is neither in the taxonomy nor among those that objects have.
    DamagedFile
        A table beside the dataset cannot be read.
    """
    if dataset.night() is None:
        return ChosenObjects([], Taxonomy(()))
    called = CalledNow.of(dataset, (*MEASURED, *NAMED))
    wanted = ("slide", "field", "number", *MEASURED, *NAMED)
    said = {(row["slide"], row["field"], row["number"]): row for row in called.table.select(wanted).to_pylist()}
    now = [_as_said(one, said) for one in choose(dataset, choice.selection)]
    found = ChosenObjects(now, called.taxonomy)
    if choice.taxa is not None:
        there = {one.row.taxon or UNNAMED for one in now}
        taxa = {taxon for text in sorted(choice.taxa) for taxon in _meant(text, there, found.taxonomy)}
        now = [one for one in now if (one.row.taxon or UNNAMED) in taxa]
    if choice.least_um is not None or choice.most_um is not None:
        least, most = choice.least_um or 0.0, math.inf if choice.most_um is None else choice.most_um
        now = [one for one in now if one.row.length_um is not None and least <= one.row.length_um <= most]
    return replace(found, objects=sorted(now, key=_KEYS[choice.order](found)))


def _as_said(one: Chosen, said: Mapping[tuple[int, int, int], Mapping[str, Any]]) -> Chosen:
    """Give an object what was measured last and what it is called now; one that the table lacks stays as recorded."""
    last = said.get((one.slide, one.field, one.row.number))
    if last is None:
        return one
    return replace(one, row=msgspec.structs.replace(one.row, **{name: last[name] for name in (*MEASURED, *NAMED)}))


def _meant(text: str, there: set[str], taxonomy: Taxonomy) -> set[str]:
    """Find which of the taxa that objects have are meant by a name: itself, and those below it."""
    taxon = taxonomy.of(text)
    if taxon is None:
        if text in (*there, UNSURE, UNNAMED, DISCARDED):
            return {text}
        known = sorted({*there, *(one.name for one in taxonomy.taxa), *taxonomy.identifiers})
        names = ", ".join(sorted(taxonomy.name_of(one) for one in there)) or "none"
        raise Refused(f"--taxon {text!r} is unknown{close_to(text, known)}; objects here are named: {names}")
    return {
        one
        for one in there
        if (mine := taxonomy.of(one)) is not None
        and taxon.identifier in (upper.identifier for upper in taxonomy.lineage(mine.identifier))
    }


def _by_taxon(found: ChosenObjects, one: Chosen) -> tuple[bool, str, float]:
    """Order by name, those that are of no taxon behind the others, the surest first."""
    return one.row.taxon in (None, UNSURE, DISCARDED), found.name_of(one), -one.row.score


_KEYS: Mapping[ObjectOrder, Callable[[ChosenObjects], Callable[[Chosen], Any]]] = {
    ObjectOrder.PLACE: lambda _: lambda one: (one.slide, one.field, one.row.number),
    ObjectOrder.SCORE: lambda _: lambda one: -one.row.score,
    ObjectOrder.SIZE: lambda _: lambda one: -(one.row.length_um or 0.0),
    ObjectOrder.TAXON: lambda found: lambda one: _by_taxon(found, one),
}


def pages(objects: Sequence[Chosen], size: int) -> list[Sequence[Chosen]]:
    """Cut objects into pages of so many; there is at least one."""
    return [objects[first : first + size] for first in range(0, max(len(objects), 1), size)]
