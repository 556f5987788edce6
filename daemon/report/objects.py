"""The finest and the most doubtful objects of a night: by what rule they are chosen, and their pictures.

Finest, a row for each taxon that was found, in the order of the taxonomy, then of each class where nobody named
anything: whole objects at a score of `SURE` or more whose size may be used and that are in focus inside the stack, the
sharpest first (without measurements, those of the highest score). Where there are none, whole objects as they are, then
cut ones, so that no taxon stands without a picture. A taxon is what a person said, else what the newest naming says.

Most doubtful: those with the greatest doubt, which is the sum of 1 for each flag, of what the score lacks to 1, and of
the relative standard deviation of the mass, at most 1. Below `DOUBTFUL` none is shown.

So that no sample hides the others, both are taken in turn: first the first of each mini-slide, then the second, until
there are `OF_A_TAXON` (more where that makes fewer than `SHOWN` in all, fewer where it makes more than `FINEST`), or
`SHOWN` of the doubtful.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from daemon.config.taxonomy import UNSURE, Taxonomy
from daemon.counts.called import DISCARDED, CalledNow, name_of
from daemon.counts.objects import Objects
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, file_of
from daemon.figures.strips import paint_strips
from daemon.records.records import FieldSecured
from daemon.system.errors import DamagedFile

SHOWN = 12
OF_A_TAXON, FINEST = 4, 96
SURE = 0.9
DOUBTFUL = 0.2
WORDS = {
    "touches_edge": "cut by the frame",
    "best_plane_at_edge": "sharpest at the end of the stack",
    "overlapping": "another lies over it",
    "outline_clipped": "outline clipped",
    "outline_doubtful": "outline doubtful",
    "background_disturbed": "others around it",
    "defocused": "out of focus",
    "saturated": "camera was saturated",
    "folded": "may be thicker than stated",
    "fault": "could not be measured",
}
"""What flags mean, and a fault."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectShown:
    """An object as pages show it; `picture` is a JPEG of its fused crop and its best plane in each polarization.

    Where there is no picture, `without` says why; `said_by` is the person who says what it is. Lengths in um, masses in
    pg; None where not measured.
    """

    slide: int
    field: int
    number: int
    sample: str
    class_name: str
    score: float
    taxon: str | None
    taxon_probability: float | None
    said_by: str
    length_um: float | None
    mass_pg: float | None
    deviation_pg: float | None
    flags: tuple[str, ...]
    picture: bytes
    without: str


def finest(objects: Objects, taxonomy: Taxonomy) -> list[tuple[str, Objects]]:
    """Choose the finest of each taxon, or of each class where nobody named anything; with what people call it."""
    named = any(taxon is not None for taxon in objects["taxon"])
    values = objects["taxon" if named else "class_name"]
    found = Counter(values.tolist())
    found.pop(DISCARDED, None)
    place = {taxon.identifier: at for at, taxon in enumerate(taxonomy.taxa)}

    def order(value: str | None) -> tuple[int, bool, int, str]:
        taxon = None if value is None else taxonomy.of(value)
        at = len(place) if taxon is None else place[taxon.identifier]
        return at, value in (UNSURE, None), -found[value], value or ""

    ordered = sorted(found, key=order)
    rows_shown = max(len(ordered), 1)
    of_each = max(1, min(max(OF_A_TAXON, SHOWN // rows_shown), FINEST // rows_shown))
    tier, sharpness = _tier(objects), _sharpness(objects)
    rows = []
    for value in ordered[:FINEST]:
        alike = np.array([one == value for one in values], np.bool_)
        best = np.flatnonzero(alike & (tier == tier[alike].max()))
        own = objects.of(best)
        chosen = own.of(_in_turn(sharpness[best], _groups(own, ("slide",)), of_each))
        rows.append((name_of(value, taxonomy) if named or value is None else value, chosen))
    return rows


def together(several: Sequence[Objects]) -> Objects:
    """Give all objects of several choices of the same night, one after the other."""
    columns = {name: np.concatenate([one[name] for one in several]) for name in several[0].columns}
    return Objects(columns, np.concatenate([one.weights for one in several]), several[0].origins)


def _tier(objects: Objects) -> NDArray[np.int64]:
    """Say how many of the conditions each object meets, one after the other: whole, undisturbed, sure."""
    whole = objects.weights > 0
    good = objects.usable("size") & ~_true(objects["defocused"]) & ~_true(objects["best_plane_at_edge"])
    return np.asarray(whole + 1 * good + (good & (objects["score"] >= SURE)), np.int64)


def _sharpness(objects: Objects) -> Floats:
    """Give how sharp each object is, or its score where nobody measured that."""
    sharpness = objects["sharpness"].astype(np.float64)
    return np.where(np.isfinite(sharpness), sharpness, objects["score"].astype(np.float64))


def doubtful(objects: Objects) -> Objects:
    """Choose the most doubtful."""
    doubt = 1 - objects["score"].astype(np.float64)
    for name in WORDS:
        doubt = doubt + _true(objects[name])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = objects["calcite_equivalent_deviation_pg"] / np.abs(objects["mass_pg"].astype(np.float64))
    doubt += np.nan_to_num(relative.astype(np.float64), nan=0.0, posinf=1.0).clip(0, 1)
    chosen = doubt >= DOUBTFUL
    return objects.of(chosen).of(_in_turn(doubt[chosen], _groups(objects.of(chosen), ("slide",)), SHOWN))


def _true(flags: NDArray[np.generic]) -> Mask:
    """Read flags; what was not measured counts as no."""
    return np.array([bool(flag) for flag in flags], np.bool_)


def _groups(objects: Objects, columns: Sequence[str]) -> NDArray[np.int64]:
    group = np.zeros(len(objects), np.int64)
    for name in columns:
        _, number = np.unique(objects[name], return_inverse=True)
        group = group * (int(number.max(initial=0)) + 1) + number
    return group


def _in_turn(rank: Floats, group: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Give the indices of the highest ranks, one of each group at a time."""
    order = np.lexsort((-rank, group))
    begins = np.searchsorted(group[order], group[order])
    turn = np.arange(len(order)) - begins
    return np.asarray(order[np.lexsort((-rank[order], turn))][:most])


def as_called_now(dataset: Dataset, objects: Objects) -> Objects:
    """Give objects the taxon that a person said, where one did, and in the column `said_by` who it was."""
    table = CalledNow.of(dataset, ("taxon", "taxon_probability")).table
    spoken = table.filter(pc.is_valid(table["said_by"]))
    places = zip(*(spoken[name].to_pylist() for name in ("slide", "field", "number")), strict=True)
    said = dict(zip(places, zip(spoken["taxon"].to_pylist(), spoken["said_by"].to_pylist(), strict=True), strict=True))
    columns = {name: objects[name].astype(object) for name in ("taxon", "taxon_probability")}
    columns["said_by"] = np.full(len(objects), None, object)
    mine = zip(*(objects[name].tolist() for name in ("slide", "field", "number")), strict=True) if said else ()
    for at, place in enumerate(mine):
        if (word := said.get(place)) is not None:
            columns["taxon"][at], columns["taxon_probability"][at], columns["said_by"][at] = word[0], math.nan, word[1]
    return Objects({**objects.columns, **columns}, objects.weights, objects.origins)


def show(dataset: Dataset, chosen: Objects, taxonomy: Taxonomy) -> tuple[ObjectShown, ...]:
    """Cut the pictures of some objects out of the dataset; taxa are called what the taxonomy calls them."""
    drawn = paint_strips(list(_found(dataset, chosen)))
    return tuple(_shown(chosen, at, strip, taxonomy) for at, strip in enumerate(drawn))


def _shown(chosen: Objects, at: int, strip: bytes | str, taxonomy: Taxonomy) -> ObjectShown:
    def number(name: str) -> float | None:
        value = chosen[name][at]
        return None if value is None or not np.isfinite(value) else float(value)

    return ObjectShown(
        slide=int(chosen["slide"][at]),
        field=int(chosen["field"][at]),
        number=int(chosen["number"][at]),
        sample=str(chosen["sample"][at]),
        class_name=str(chosen["class_name"][at]),
        score=float(chosen["score"][at]),
        taxon=name_of(taxon, taxonomy) if (taxon := chosen["taxon"][at]) is not None else None,
        taxon_probability=number("taxon_probability"),
        said_by=str(chosen["said_by"][at] or ""),
        length_um=number("length_um"),
        mass_pg=number("mass_pg"),
        deviation_pg=number("calcite_equivalent_deviation_pg"),
        flags=tuple(words for name, words in WORDS.items() if chosen[name][at]),
        picture=strip if isinstance(strip, bytes) else b"",
        without=strip if isinstance(strip, str) else "",
    )


def _found(dataset: Dataset, chosen: Objects) -> Iterator[Chosen | str]:
    """Find each in the records, or say why it is not there."""
    slides = {int(slide) for slide in chosen["slide"]}
    places = set(zip(chosen["slide"].tolist(), chosen["field"].tolist(), strict=True))
    fields = {
        (field.slide, field.field): field
        for slide in slides
        for field in dataset.fields(slide)
        if isinstance(field, FieldSecured) and (field.slide, field.field) in places
    }
    for slide, at, number in zip(chosen["slide"], chosen["field"], chosen["number"], strict=True):
        field = fields.get((int(slide), int(at)))
        row = None if field is None else next((row for row in field.objects if row.number == number), None)
        if field is None or row is None:
            yield f"the record of mini-slide {slide} field {at} holds no object {number}"
            continue
        try:
            yield Chosen(field.slide, field.field, field.sample, row, file_of(dataset, field))
        except DamagedFile as error:
            yield str(error)
