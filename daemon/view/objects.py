"""The objects of the nights that are looked at, as columns: which are chosen, in which order, and how many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config.taxonomy import UNSURE
from daemon.report.objects import WORDS
from daemon.view.night_objects import CODED, FLAGS, NUMBERS, NightObjects

NO_TAXON = "-"
"""Stands for the taxon of objects that nobody named."""
ORDERS_KEPT = 12

Kept = Literal["counted", "seen again", "below threshold", "field not counted", "all"]
SortedBy = Literal["place", "taxon", "class", "score", "doubt", "length", "mass"]
_SORTS: dict[str, str] = {"score": "score", "doubt": "taxon_probability", "length": "length_um", "mass": "mass_pg"}


class AskedObjects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which objects a person wants to see, and in which order; empty texts and None want all.

    `night` is the key of a night, `sure` the greatest probability of the name, lengths are in um. Objects without a
    value come last, whichever way they are sorted. The least sure come first of those sorted by doubt.
    """

    night: str = ""
    slide: int | None = None
    sample: str = ""
    taxon: str = ""
    of_class: str = ""
    flag: str = ""
    kept: Kept = "counted"
    score: float | None = None
    sure: float | None = None
    longer: float | None = None
    shorter: float | None = None
    sort: SortedBy = "place"
    down: bool = False


class ShownPlace(NamedTuple):
    """An object in the index: key of its night, mini-slide, field, attempt, number."""

    key: str
    slide: int
    field: int
    attempt: int
    number: int


class ShownTile(NamedTuple):
    """What a tile of a gallery shows; `called` is what people call its taxon, `who` the person who said so, if any."""

    key: str
    slide: int
    field: int
    attempt: int
    number: int
    class_name: str
    taxon: str
    called: str
    probability: float | None
    score: float | None
    length_um: float | None
    mass_pg: float | None
    flags: list[str]
    standing: str
    sample: str
    who: str


def standing_of_object(counted: bool, below_threshold: bool, own_tile: bool) -> str:
    """Say whether an object counts, and if not why."""
    if counted:
        return "counted"
    return "below threshold" if below_threshold else "field not counted" if own_tile else "seen again"


class ObjectIndex:
    """The objects of all nights together.

    Parameters
    ----------
    nights
        by their keys.
    """

    def __init__(self, nights: Mapping[str, NightObjects]) -> None:
        self.keys = tuple(nights)
        self._texts: dict[str, tuple[str, ...]] = {}
        self._columns: dict[str, NDArray[Any]] = {}
        several = list(nights.values())
        for name in several[0].columns if several else ():
            parts = [one.columns[name] for one in several]
            if name in CODED:
                known: dict[str, int] = {}
                own = [
                    np.array([known.setdefault(text, len(known)) for text in one.texts[name]] or [0], np.int32)
                    for one in several
                ]
                parts = [codes[part] for codes, part in zip(own, parts, strict=True)]
                self._texts[name] = tuple(known)
            self._columns[name] = np.concatenate(parts)
        self._columns["night"] = np.repeat(
            np.arange(len(several), dtype=np.int32), [len(one.columns["number"]) for one in several]
        )
        self.called: dict[str, str] = {"": "not named", UNSURE: UNSURE}
        for one in several:
            self.called = {**one.called, **self.called}
        self._orders: OrderedDict[AskedObjects, NDArray[np.int32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._columns["night"])

    def choose(self, choice: AskedObjects) -> NDArray[np.int32]:
        """Give the rows of the objects that are meant, in order."""
        if choice in self._orders:
            self._orders.move_to_end(choice)
            return self._orders[choice]
        if not len(self):
            return np.empty(0, np.int32)
        rows = np.flatnonzero(self._chosen(choice)).astype(np.int32)
        rows = rows[self._sorted(rows, choice)]
        self._orders[choice] = rows
        if len(self._orders) > ORDERS_KEPT:
            self._orders.popitem(last=False)
        return rows

    def row_of(self, place: ShownPlace) -> int | None:
        """Find an object; None where there is none, as of an attempt that does not count."""
        if place.key not in self.keys or not len(self):
            return None
        c = self._columns
        at = (c["night"] == self.keys.index(place.key)) & (c["slide"] == place.slide) & (c["field"] == place.field)
        found = np.flatnonzero(at & (c["attempt"] == place.attempt) & (c["number"] == place.number))
        return int(found[0]) if len(found) else None

    def beside(self, rows: NDArray[np.int32], row: int | None) -> dict[str, object]:
        """Say which objects come before and after one among chosen ones, and the how manieth of how many it is."""
        found = np.flatnonzero(rows == (-1 if row is None else row))
        if not len(found):
            return {"before": None, "after": None, "at": None, "of": len(rows)}
        at = int(found[0])
        before = self.place(int(rows[at - 1])) if at > 0 else None
        after = self.place(int(rows[at + 1])) if at + 1 < len(rows) else None
        return {"before": before, "after": after, "at": at + 1, "of": len(rows)}

    def place(self, row: int) -> ShownPlace:
        """Say where an object is."""
        night, slide, field, attempt, number = (
            int(self._columns[name][row]) for name in ("night", "slide", "field", "attempt", "number")
        )
        return ShownPlace(self.keys[night], slide, field, attempt, number)

    def shown(self, rows: NDArray[np.int32]) -> list[ShownTile]:
        """Give what a tile of a gallery shows of each of these rows."""
        if not len(self):
            return []
        c = self._columns
        numbers = ("slide", "field", "attempt", "number", "flags", "counted", "below_threshold", "own_tile", *NUMBERS)
        values = {name: c[name][rows].tolist() for name in ("night", *numbers, *CODED)}
        return [self._shown({name: column[at] for name, column in values.items()}) for at in range(len(rows))]

    def _shown(self, one: Mapping[str, Any]) -> ShownTile:
        texts = {name: self._texts[name][one[name]] for name in CODED}
        taxon = texts["taxon"]
        return ShownTile(
            key=self.keys[one["night"]],
            slide=one["slide"],
            field=one["field"],
            attempt=one["attempt"],
            number=one["number"],
            class_name=texts["class_name"],
            taxon=taxon,
            called=self.called.get(taxon, taxon),
            probability=_rounded(one["taxon_probability"]),
            score=_rounded(one["score"]),
            length_um=_rounded(one["length_um"]),
            mass_pg=_rounded(one["mass_pg"]),
            flags=[words for at, words in enumerate(WORDS.values()) if one["flags"] >> at & 1],
            standing=standing_of_object(one["counted"], one["below_threshold"], one["own_tile"]),
            sample=texts["sample"],
            who=texts["said_by"],
        )

    def facets(self, night: str = "") -> dict[str, list[tuple[str, str, int]]]:
        """Say what there is to choose from: of each kind its values, what people call them, and how many count."""
        if not len(self):
            return {}
        c = self._columns
        chosen = c["counted"] & (c["night"] == self.keys.index(night) if night in self.keys else True)
        found: dict[str, list[tuple[str, str, int]]] = {}
        for name in ("taxon", "class_name", "sample"):
            numbers = np.bincount(c[name][chosen], minlength=len(self._texts[name]))
            order = np.argsort(-numbers, kind="stable")
            texts = self._texts[name]
            found[name] = [
                (
                    texts[at] or NO_TAXON,
                    self.called.get(texts[at], texts[at]) if name == "taxon" else texts[at],
                    int(numbers[at]),
                )
                for at in order
                if numbers[at]
            ]
        bits = c["flags"][chosen]
        found["flag"] = [(name, WORDS[name], int(((bits >> at) & 1).sum())) for at, name in enumerate(FLAGS)]
        return found

    def _chosen(self, choice: AskedObjects) -> NDArray[np.bool_]:
        c = self._columns
        chosen = np.ones(len(self), np.bool_)
        match choice.kept:
            case "counted":
                chosen &= c["counted"]
            case "below threshold":
                chosen &= c["below_threshold"]
            case "seen again":
                chosen &= ~c["own_tile"] & ~c["below_threshold"]
            case "field not counted":
                chosen &= ~c["counted"] & c["own_tile"] & ~c["below_threshold"]
        if choice.night:
            chosen &= c["night"] == (self.keys.index(choice.night) if choice.night in self.keys else -1)
        if choice.slide is not None:
            chosen &= c["slide"] == choice.slide
        wanted = {"sample": choice.sample, "class_name": choice.of_class, "taxon": choice.taxon}
        for name, text in wanted.items():
            if text:
                text = "" if name == "taxon" and text == NO_TAXON else text
                texts = self._texts.get(name, ())
                chosen &= c[name] == (texts.index(text) if text in texts else -1)
        if choice.flag:
            chosen &= (c["flags"] >> FLAGS.index(choice.flag)) & 1 > 0 if choice.flag in FLAGS else False
        with np.errstate(invalid="ignore"):
            if choice.score is not None:
                chosen &= c["score"] >= choice.score
            if choice.sure is not None:
                chosen &= c["taxon_probability"] <= choice.sure
            if choice.longer is not None:
                chosen &= c["length_um"] >= choice.longer
            if choice.shorter is not None:
                chosen &= c["length_um"] <= choice.shorter
        return np.asarray(chosen, np.bool_)

    def _sorted(self, rows: NDArray[np.int32], choice: AskedObjects) -> NDArray[np.int64]:
        """Order rows; equal ones stay by their place."""
        if choice.sort == "place":
            order = np.arange(len(rows))
            return order[::-1] if choice.down else order
        if choice.sort in ("taxon", "class"):
            name = "taxon" if choice.sort == "taxon" else "class_name"
            texts = self._texts.get(name, ())
            words = [self.called.get(text, text).casefold() for text in texts]
            rank = np.argsort(np.argsort(np.array(words or [""]), kind="stable"))
            key = rank[self._columns[name][rows]].astype(np.float32)
        else:
            key = self._columns[_SORTS[choice.sort]][rows].astype(np.float32)
        key = -key if choice.down else key
        return np.argsort(key, kind="stable")  # of numpy, which puts NaN last


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
