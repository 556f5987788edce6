"""`lamelle classify`: names the objects of a recorded night again, into tables beside the old names.

What a better head of the same encoder says needs no image: the features of each object were kept. Another encoder
looks at the crops, and its features are kept beside them. `slide-N/named-001.parquet` holds the names, the next time it
is `named-002`: nothing is overwritten.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console

from daemon.analysis.naming import Words, fitting_head, name_objects, recorded
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.exclusions import standing_exclusions, with_exclusions
from daemon.dataset.features import KeptFeatures, Place, Vector, later_features, write_later_features
from daemon.dataset.later_tables import OF_AN_OBJECT, Given, NamedWith, later_tables, write_later_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, file_of, load
from daemon.records.names import field_file
from daemon.records.objects import ObjectName
from daemon.records.records import NAMED, FieldSecured, ObjectRow
from daemon.reprocessing.worker import versions_now
from daemon.system.durable_files import make_folder, refusing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.classification.answers import TaxonAnswer
from inference.classification.encoder_file import holds_encoder
from inference.classification.head import Head, Rule
from inference.errors import WeightsRefused
from inference.settings import ClassifierSettings

if TYPE_CHECKING:
    from inference.classification.classifier import Classifier

_Place = tuple[int, int]
"""Field and number of an object of a mini-slide."""
_NAME_ENCODER = "name a classifier with its encoder, which looks at crops"


class NotLookedAt(NamedTuple):
    """Objects that could not be looked at for one reason: how many, and which is the first."""

    why: str
    objects: int
    first: ObjectName


@dataclass(frozen=True)
class NamedAgain:
    """What was named.

    Attributes
    ----------
    folder
        where the tables lie.
    number
        of the tables.
    rows
        that they have.
    taxa
        how many objects that count are of each; None: of those that stay unnamed.
    looked_at
        objects whose crops were looked at, as there were no features of this encoder.
    unseen
        objects without features, whose crops could not be looked at, the commonest reason first.
    """

    folder: Path
    number: int
    rows: int
    taxa: Counter[str | None]
    looked_at: int
    unseen: tuple[NotLookedAt, ...]


def classify_again(
    folder: Path,
    settings: ClassifierSettings,
    console: Console,
    taxonomy: Taxonomy | None = None,
    into: Path | None = None,
) -> NamedAgain:
    """Name every object of a dataset, or of the one in a run folder, into new tables.

    Parameters
    ----------
    settings
        whose weights are a classifier, or a head alone.
    console
        where to tell how far it is.
    taxonomy
        whose identifiers are said; the night's own if left out.
    into
        folder for the tables, each in that of its slide; beside the catalog if left out, where they are found.

    Raises
    ------
    Refused
        There is no dataset, or nothing in it, or the tables cannot be written.
    WeightsRefused
        The classifier cannot be read, looks at pictures, is of other taxa, or is a head alone and no features of its
        encoder are kept.
    DamagedFile
        A file of a field is missing or damaged; the slides before it are named.
    """
    with Dataset.open(folder) as dataset:
        fields = [one for one in dataset.fields() if isinstance(one, FieldSecured) and one.objects]
        if not fields:
            raise Refused(f"{dataset.folder} holds no objects; name those of a night that has found some")
        taxonomy = taxonomy or night_taxonomy(dataset)
        head = fitting_head(settings, taxonomy)
        target = into or dataset.folder
        with refusing(target):
            make_folder(target)
            TemporaryFile(dir=target).close()  # before anything is named
        there = ({*later_tables(place, Given.NAMED), *later_features(place)} for place in (dataset.folder, target))
        made = NamedWith(
            number=1 + max(chain.from_iterable(there), default=0),
            utc=time.time(),
            versions=versions_now(),
            taxonomy="" if taxonomy is None else taxonomy.to_json(),
            **recorded(head),
        )
        exclusions = standing_exclusions(dataset)
        eyes = _Eyes(settings.path, head, dataset)
        eyes.require_sight_of(fields)
        words = Words(taxonomy, head.sha256)
        rows, taxa = 0, Counter[str | None]()
        everything = follow(fields, len(fields), "fields", console)
        for slide, of_slide in groupby(everything, key=lambda one: one.slide):
            answers: dict[_Place, TaxonAnswer] = {}
            for one in of_slide:
                answers |= _answers(head, settings.rule, one.field, eyes.vectors(one))
            table = _named(dataset.objects(slide), answers, words)
            eyes.keep(target, slide, made.number)
            write_later_table(target, Given.NAMED, slide, table.select([*OF_AN_OBJECT, *NAMED]), made)
            rows += len(table)
            counted = with_exclusions(table, exclusions)["counted"]
            taxa.update(table.filter(counted)["taxon"].to_pylist())
    return NamedAgain(target, made.number, rows, taxa, eyes.looked_at, eyes.unseen())


class _Eyes:
    """Gives features of objects: those that are kept, and where there are none those of a look at their crops.

    Parameters
    ----------
    path
        of a classifier, whose encoder looks, or of a head alone.
    head
        of it.

    Attributes
    ----------
    looked_at
        how many objects were looked at.
    """

    def __init__(self, path: Path, head: Head, dataset: Dataset) -> None:
        self._path = path
        self._head = head
        self._dataset = dataset
        self._kept = KeptFeatures(dataset.folder, head.encoder_sha256)
        self._sees = holds_encoder(path)
        started = dataset.night()
        self._night = "" if started is None else started.night
        self._made: dict[Place, Vector] = {}
        self._unseen: dict[str, list[ObjectName]] = {}
        self.looked_at = 0

    def require_sight_of(self, fields: Sequence[FieldSecured]) -> None:
        """Refuse a head alone where no features of its encoder are kept of any field."""
        if not self._sees and not any(self._kept.of(one) for one in fields):
            raise WeightsRefused(
                f"{str(self._path)!r} is a head alone, of encoder {self._head.encoder_sha256[:12]}, of which "
                f"{self._dataset.folder} keeps no features; {_NAME_ENCODER}"
            )

    def vectors(self, field: FieldSecured) -> dict[int, Vector]:
        """Give the features of a field's objects, by their numbers; of one that cannot be looked at, none."""
        vectors = {number: vector for number, vector in self._kept.of(field).items() if np.isfinite(vector).all()}
        wanting = [row for row in field.objects if row.number not in vectors]
        file = field_file(field.slide, field.field, attempt=field.attempt)
        for row, seen in zip(wanting, self._look(field, wanting), strict=True):
            if isinstance(seen, str):
                which = ObjectName(self._night, field.slide, field.field, field.attempt, row.number)
                self._unseen.setdefault(seen, []).append(which)
            else:
                self._made[file, row.number] = vectors[row.number] = seen
                self.looked_at += 1
        return vectors

    def unseen(self) -> tuple[NotLookedAt, ...]:
        """Tell of the objects that have no features after all."""
        told = (NotLookedAt(why, len(which), which[0]) for why, which in self._unseen.items())
        return tuple(sorted(told, key=lambda one: -one.objects))

    def keep(self, target: Path, slide: int, number: int) -> None:
        """Write what was made of a mini-slide's objects."""
        if self._made:
            write_later_features(target, slide, number, self._head.encoder_sha256, self._made)
        self._made = {}

    def _look(self, field: FieldSecured, rows: Sequence[ObjectRow]) -> list[Vector | str]:
        """Give the features of objects, or why one has none."""
        if not self._sees:
            why = f"no features of encoder {self._head.encoder_sha256[:12]} are kept of it; {_NAME_ENCODER}"
            return [why for _ in rows]
        if not rows:
            return []
        file = file_of(self._dataset, field)
        loaded = list(load([Chosen(field.slide, field.field, field.sample, row, file) for row in rows]))
        answered = name_objects(self._classifier, rows, [one.crop for one in loaded], loaded[0].provenance)
        return [one.fault or "" if one.features is None else one.features for one in answered]

    @cached_property
    def _classifier(self) -> Classifier:
        # Only now is torch or onnxruntime needed.
        from inference.classification.classifier import Classifier

        return Classifier.open(self._path, threads=os.cpu_count() or 1)


def night_taxonomy(dataset: Dataset) -> Taxonomy | None:
    """Give the taxonomy that a night began with."""
    started = dataset.night()
    return None if started is None else Taxonomy.from_json(started.taxonomy)


def _answers(head: Head, rule: Rule, field: int, vectors: Mapping[int, Vector]) -> dict[_Place, TaxonAnswer]:
    if not vectors:
        return {}
    said = head.answers(np.stack(list(vectors.values())), rule)
    return {(field, number): answer for number, answer in zip(vectors, said, strict=True)}


def _named(table: pa.Table, answers: Mapping[_Place, TaxonAnswer], words: Words) -> pa.Table:
    """Give a slide's table of objects other names."""
    places = zip(table["field"].to_pylist(), table["number"].to_pylist(), strict=True)
    nobody = dict.fromkeys(NAMED)
    said = [words.of(answers[place]) if place in answers else nobody for place in places]
    for name in NAMED:
        index = table.schema.get_field_index(name)
        column = table.schema.field(name)
        table = table.set_column(index, column, pa.array([one[name] for one in said], column.type))
    return table
