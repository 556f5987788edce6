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
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from rich.console import Console

from daemon.analysis.naming import Words, specimen_of
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.features import KeptFeatures, Vector, write_later_features
from daemon.dataset.later_tables import OF_AN_OBJECT, Given, NamedWith, later_tables, write_later_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, file_of, load
from daemon.records.names import field_file
from daemon.records.records import NAMED, FieldSecured, ObjectRow
from daemon.reprocessing.worker import versions_now
from daemon.system.durable_files import make_folder, refusing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.classification.answers import TaxonAnswer
from inference.classification.encoder_file import holds_encoder, require_for_stacks
from inference.classification.head import Head, Rule, check_taxa, load_head
from inference.errors import WeightsRefused
from inference.settings import ClassifierSettings

if TYPE_CHECKING:
    from inference.classification.classifier import Classifier

Place = tuple[int, int]
"""Field and number of an object of a mini-slide."""


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
        objects without features, whose crops could not be looked at.
    """

    folder: Path
    number: int
    rows: int
    taxa: Counter[str | None]
    looked_at: int
    unseen: int


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
    path = settings.weights
    head = load_head(path)
    require_for_stacks(path)
    with Dataset.open(folder) as dataset:
        fields = [one for one in dataset.fields() if isinstance(one, FieldSecured) and one.objects]
        if not fields:
            raise Refused(f"{dataset.folder} holds no objects; name those of a night that has found some")
        taxonomy = taxonomy or night_taxonomy(dataset)
        if taxonomy is not None:
            check_taxa(head, taxonomy.identifiers)
        words = Words(taxonomy, head.sha256)
        target = into or dataset.folder
        with refusing(target):
            make_folder(target)
            TemporaryFile(dir=target).close()  # before anything is named
        there = (later_tables(place, Given.NAMED) for place in (dataset.folder, target))
        number = 1 + max(chain.from_iterable(there), default=0)
        kept = KeptFeatures(dataset.folder, head.encoder_sha256)
        eyes = _Eyes(path, dataset) if holds_encoder(path) else None
        if eyes is None and not any(kept.of(one) for one in fields):
            raise WeightsRefused(
                f"{str(path)!r} is a head alone, of encoder {head.encoder_sha256[:12]}, of which {dataset.folder} "
                "keeps no features; name a classifier with its encoder, which looks at the crops"
            )
        made = NamedWith(
            number=number,
            utc=time.time(),
            versions=versions_now(),
            named_by=head.sha256,
            encoder=head.encoder_sha256,
            taxonomy="" if taxonomy is None else taxonomy.to_json(),
        )
        rows, looked_at, unseen, taxa = 0, 0, 0, Counter[str | None]()
        everything = follow(fields, len(fields), "fields", console)
        for slide, of_slide in groupby(everything, key=lambda one: one.slide):
            answers: dict[Place, TaxonAnswer] = {}
            seen_now: dict[tuple[str, int], Vector] = {}
            for one in of_slide:
                vectors = kept.of(one)
                wanting = [row for row in one.objects if row.number not in vectors]
                if wanting and eyes is not None:
                    seen = eyes.look(one, wanting)
                    looked_at += len(seen)
                    file = field_file(one.slide, one.field, attempt=one.attempt)
                    seen_now |= {(file, number): vector for number, vector in seen.items()}
                    vectors |= seen
                unseen += len(one.objects) - len(vectors)
                answers |= _answers(head, settings.rule, one.field, vectors)
            table = _named(dataset.objects(slide), answers, words)
            if seen_now:
                write_later_features(target, slide, number, head.encoder_sha256, seen_now)
            write_later_table(target, Given.NAMED, slide, table.select([*OF_AN_OBJECT, *NAMED]), made)
            rows += len(table)
            taxa.update(table.filter(table["counted"])["taxon"].to_pylist())
    return NamedAgain(target, number, rows, taxa, looked_at, unseen)


class _Eyes:
    """Makes features of crops where none are kept.

    Parameters
    ----------
    path
        of a classifier with its encoder.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path = path
        self._dataset = dataset
        self._classifier: Classifier | None = None

    def look(self, field: FieldSecured, rows: Sequence[ObjectRow]) -> dict[int, Vector]:
        """Give the features of some objects of a field, by their numbers; of one that cannot be looked at, none."""
        if self._classifier is None:
            # Only now is torch or onnxruntime needed.
            from inference.classification.classifier import Classifier

            self._classifier = Classifier.open(self._path, threads=os.cpu_count() or 1)
        file = file_of(self._dataset, field)
        loaded = load([Chosen(field.slide, field.field, field.sample, row, file) for row in rows])
        specimens = [specimen_of(one.chosen.row, one.crop, one.provenance) for one in loaded]
        answered = self._classifier.name(specimens)
        return {row.number: one.features for row, one in zip(rows, answered, strict=True) if one.features is not None}


def night_taxonomy(dataset: Dataset) -> Taxonomy | None:
    """Give the taxonomy that a night began with."""
    started = dataset.night()
    return Taxonomy.from_json(started.taxonomy) if started is not None and started.taxonomy else None


def _answers(head: Head, rule: Rule, field: int, vectors: Mapping[int, Vector]) -> dict[Place, TaxonAnswer]:
    if not vectors:
        return {}
    said = head.answers(np.stack(list(vectors.values())), rule)
    return {(field, number): answer for number, answer in zip(vectors, said, strict=True)}


def _named(table: pa.Table, answers: Mapping[Place, TaxonAnswer], words: Words) -> pa.Table:
    """Give a slide's table of objects other names."""
    places = zip(table["field"].to_pylist(), table["number"].to_pylist(), strict=True)
    nobody = dict.fromkeys(NAMED)
    said = [words.of(answers[place]) if place in answers else nobody for place in places]
    for name in NAMED:
        index = table.schema.get_field_index(name)
        column = table.schema.field(name)
        table = table.set_column(index, column, pa.array([one[name] for one in said], column.type))
    return table
