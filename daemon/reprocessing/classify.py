"""`lamelle classify`: names the objects of a recorded night again, into tables beside the old names.

What a better head of the same encoder says needs no image: the features of each object were kept. Another encoder
looks at the crops, and its features are kept beside them. `slide-N/named-001.parquet` holds the names, the next time it
is `named-002`: nothing is overwritten.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow as pa
from inference.classification.answers import Answer
from inference.classification.head import Head, check_taxa, load_head
from rich.console import Console

from daemon.analysis.naming import Words, specimen_of
from daemon.config.taxonomy import Taxonomy
from daemon.dataset.features import KeptFeatures, Vector, Vectors, write_later_features
from daemon.dataset.later_tables import OF_AN_OBJECT, Given, NamedWith, later_tables, write_later_table
from daemon.dataset.reader import Dataset
from daemon.dataset.selection import Chosen, file_of, load
from daemon.records.names import field_file
from daemon.records.records import NAMED, FieldSecured
from daemon.reprocessing.worker import versions_now
from daemon.system.durable_files import make_folder, refusing
from daemon.system.errors import Refused
from daemon.system.progress import follow
from inference.errors import WeightsRefused
from inference.wording import counted

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
        how many objects that count are of each.
    looked_at
        objects whose crops were looked at, as there were no features of this encoder.
    """

    folder: Path
    number: int
    rows: int
    taxa: Counter[str]
    looked_at: int


def classify_again(
    folder: Path, weights: Path, console: Console, taxonomy: Taxonomy | None = None, into: Path | None = None
) -> NamedAgain:
    """Name every object of a dataset, or of the one in a run folder, into new tables.

    Parameters
    ----------
    weights
        a classifier, or a head alone.
    console
        where to tell how far it is.
    taxonomy
        whose identifiers are said; the night's own if left out.
    into
        folder for the tables, each in that of its slide; beside the catalog if left out, where they are found.

    Raises
    ------
    Refused
        There is no dataset, or nothing in it, or the tables cannot be written, or the taxonomy lacks a taxon.
    WeightsRefused
        The classifier cannot be read, or has no encoder where crops must be looked at.
    DamagedFile
        A file of a field is missing or damaged; the slides before it are named.
    """
    head = load_head(weights)
    with Dataset.open(folder) as dataset:
        fields = [one for one in dataset.fields() if isinstance(one, FieldSecured) and one.objects]
        if not fields:
            raise Refused(f"{dataset.folder} holds no objects; name those of a night that has found some")
        started = dataset.night()
        if taxonomy is None and started is not None and started.taxonomy:
            taxonomy = Taxonomy.from_json(started.taxonomy)
        if taxonomy is not None:
            check_taxa(head, [taxon.identifier for taxon in taxonomy.taxa])
        words = Words(taxonomy, head.sha256)
        target = into or dataset.folder
        with refusing(target):
            make_folder(target)
            TemporaryFile(dir=target).close()  # before anything is named
        there = (later_tables(place, Given.NAMED) for place in (dataset.folder, target))
        number = 1 + max(chain.from_iterable(there), default=0)
        kept = KeptFeatures(dataset.folder, head.encoder_sha256)
        with_features = [(one, kept.of(one)) for one in fields]
        wanting = sum(len(one.objects) for one, vectors in with_features if vectors is None)
        encoder = _Encoder(weights, head, wanting) if wanting else None
        rows, taxa = 0, Counter[str]()
        everything = follow(with_features, len(with_features), "fields", console)
        for slide, of_slide in groupby(everything, key=lambda pair: pair[0].slide):
            answers: dict[Place, Answer] = {}
            made_now: dict[tuple[str, int], Vector] = {}
            for one, vectors in of_slide:
                if vectors is None:
                    assert encoder is not None
                    vectors = encoder.look(dataset, one)
                    file = field_file(one.slide, one.field, attempt=one.attempt)
                    made_now |= {(file, row.number): v for row, v in zip(one.objects, vectors, strict=True)}
                said = head.answers(vectors)
                answers |= {(one.field, row.number): a for row, a in zip(one.objects, said, strict=True)}
            table = _named(dataset.objects(slide), answers, words)
            made = NamedWith(
                number=number,
                utc=time.time(),
                versions=versions_now(),
                named_by=head.sha256,
                encoder=head.encoder_sha256,
                taxonomy="" if taxonomy is None else taxonomy.to_json(),
            )
            if made_now:
                write_later_features(target, slide, number, head.encoder_sha256, made_now)
            write_later_table(target, Given.NAMED, slide, table.select([*OF_AN_OBJECT, *NAMED]), made)
            rows += len(table)
            taxa.update(table.filter(table["counted"])["taxon"].to_pylist())
    return NamedAgain(target, number, rows, taxa, wanting)


class _Encoder:
    """Makes features of crops where none are kept.

    Parameters
    ----------
    wanting
        objects without features.

    Raises
    ------
    WeightsRefused
        The file holds no encoder.
    """

    def __init__(self, weights: Path, head: Head, wanting: int) -> None:
        # Only now is torch needed.
        from inference.classification.classifier import holds_encoder, load_classifier

        if not holds_encoder(weights):
            raise WeightsRefused(
                f"{counted(wanting, 'object')} have no features of encoder {head.encoder_sha256[:12]}, and "
                f"{str(weights)!r} is a head alone; name a classifier with its encoder, which looks at the crops"
            )
        self._classifier = load_classifier(weights)

    def look(self, dataset: Dataset, field: FieldSecured) -> Vectors:
        """Give the features (N, F) of the objects of a field, in their order."""
        path = file_of(dataset, field)
        chosen = [Chosen(field.slide, field.field, field.sample, row, path) for row in field.objects]
        specimens = [specimen_of(one.chosen.row, one.crop, one.provenance) for one in load(chosen)]
        return self._classifier.features(specimens)


def _named(table: pa.Table, answers: Mapping[Place, Answer], words: Words) -> pa.Table:
    """Give a slide's table of objects other names."""
    places = zip(table["field"].to_pylist(), table["number"].to_pylist(), strict=True)
    said = [words.of(answers[place]) for place in places]
    for name in NAMED:
        index = table.schema.get_field_index(name)
        column = table.schema.field(name)
        table = table.set_column(index, column, pa.array([one[name] for one in said], column.type))
    return table
