"""Which objects are shown, and in which order: by where they are, and by what was said of them last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from daemon.config.taxonomy import UNSURE, Taxonomy, close_to
from daemon.counts.taxa import taxonomy_of
from daemon.dataset.labels import LabelStatus, label_store
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, Selection, choose
from daemon.dataset.standing import standing, with_labels
from daemon.records.records import MEASURED, NAMED
from daemon.system.errors import Refused

NOT_NAMED = "not named"
DISCARDED = "discarded"


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
    """Objects as they were measured and named last, in their order.

    Attributes
    ----------
    taxonomy
        what their taxa are called by.
    labelled
        what the label that stands says of an object, by slide, field and number: a taxon, or `DISCARDED`.
    """

    objects: list[Chosen]
    taxonomy: Taxonomy
    labelled: Mapping[tuple[int, int, int], str]

    def taxon_of(self, one: Chosen) -> str | None:
        """Give the taxon that an object is: what its label says, else its name; None where it has neither."""
        return self.labelled.get((one.slide, one.field, one.row.number), one.row.taxon)

    def name_of(self, one: Chosen) -> str:
        """Give what people call that."""
        taxon = self.taxon_of(one)
        return NOT_NAMED if taxon is None else self.taxonomy.name_of(taxon)


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
        return ChosenObjects([], Taxonomy(()), {})
    table, origins = objects_table(dataset)
    table = with_labels(table, dataset, standing(label_store(dataset).read().table))
    wanted = ("slide", "field", "number", *MEASURED, *NAMED, "label_taxon", "label_status")
    said = {(row["slide"], row["field"], row["number"]): row for row in table.select(wanted).to_pylist()}
    labelled = {place: label for place, row in said.items() if (label := _label(row)) is not None}
    now = [_as_said(one, said) for one in choose(dataset, choice.selection)]
    found = ChosenObjects(now, taxonomy_of(dataset, origins.named), labelled)
    if choice.taxa is not None:
        there = {found.taxon_of(one) or NOT_NAMED for one in now}
        taxa = {taxon for text in sorted(choice.taxa) for taxon in _meant(text, there, found.taxonomy)}
        now = [one for one in now if (found.taxon_of(one) or NOT_NAMED) in taxa]
    if choice.least_um is not None or choice.most_um is not None:
        least, most = choice.least_um or 0.0, math.inf if choice.most_um is None else choice.most_um
        now = [one for one in now if one.row.length_um is not None and least <= one.row.length_um <= most]
    return replace(found, objects=sorted(now, key=_KEYS[choice.order](found)))


def _label(said: Mapping[str, Any]) -> str | None:
    """Say what the label that stands makes of an object."""
    return DISCARDED if said["label_status"] == LabelStatus.DISCARDED else said["label_taxon"]


def _as_said(one: Chosen, said: Mapping[tuple[int, int, int], Mapping[str, Any]]) -> Chosen:
    """Give an object what was measured and named last; one that the table of objects lacks stays as recorded."""
    last = said.get((one.slide, one.field, one.row.number))
    if last is None:
        return one
    return replace(one, row=msgspec.structs.replace(one.row, **{name: last[name] for name in (*MEASURED, *NAMED)}))


def _meant(text: str, there: set[str], taxonomy: Taxonomy) -> set[str]:
    """Find which of the taxa that objects have are meant by a name: itself, and those below it."""
    taxon = taxonomy.of(text)
    if taxon is None:
        if text in (*there, UNSURE, NOT_NAMED, DISCARDED):
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
    return found.taxon_of(one) in (None, UNSURE, DISCARDED), found.name_of(one), -one.row.score


_KEYS: Mapping[ObjectOrder, Callable[[ChosenObjects], Callable[[Chosen], Any]]] = {
    ObjectOrder.PLACE: lambda _: lambda one: (one.slide, one.field, one.row.number),
    ObjectOrder.SCORE: lambda _: lambda one: -one.row.score,
    ObjectOrder.SIZE: lambda _: lambda one: -(one.row.length_um or 0.0),
    ObjectOrder.TAXON: lambda found: lambda one: _by_taxon(found, one),
}


def pages(objects: Sequence[Chosen], size: int) -> list[Sequence[Chosen]]:
    """Cut objects into pages of so many; there is at least one."""
    return [objects[first : first + size] for first in range(0, max(len(objects), 1), size)]
