"""What objects are called now: what a person said last, else what the newest naming says.

A label that is a prediction is no person's word, and changes nothing here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from daemon.config.taxonomy import Taxonomy
from daemon.counts.taxa import taxonomy_of
from daemon.dataset.labels import LabelStatus, label_store
from daemon.dataset.later_tables import TableOrigins, objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import StandingLabels, standing, with_labels

DISCARDED = "discarded"
"""Stands for the taxon of an object that a person does not want named."""
UNNAMED = "not named"
"""What people read where an object has no taxon."""


@dataclass(frozen=True, eq=False)
class CalledNow:
    """The objects of a night, those too that do not count, as they are called now.

    Attributes
    ----------
    table
        as `daemon.dataset.later_tables.objects_table` gives it, with the newest measurements and names. Where a person
        spoke, `taxon` is what was said, or `DISCARDED`, `taxon_probability` is empty, and `said_by` names who it was,
        or `?`.
    taxonomy
        what taxa are called by.
    origins
        where measurements and names come from.
    """

    table: pa.Table
    taxonomy: Taxonomy
    origins: TableOrigins

    @classmethod
    def of(cls, dataset: Dataset, columns: Collection[str] | None = None) -> CalledNow:
        """Read them.

        Parameters
        ----------
        dataset
            holds a night.
        columns
            only these, beside those that tell which object is meant; `taxon` and `taxon_probability` among them.

        Raises
        ------
        DamagedFile
            A table beside the dataset cannot be read.
        """
        table, origins = objects_table(dataset, columns=columns)
        taxonomy = taxonomy_of(dataset, origins.named)
        return cls(_as_persons_say(table, dataset, said_by_persons(dataset, taxonomy)), taxonomy, origins)


def said_by_persons(dataset: Dataset, taxonomy: Taxonomy) -> StandingLabels:
    """Find the labels that stand and are a person's."""
    stands = standing(label_store(dataset).read().table, taxonomy)
    human = pc.not_equal(stands.labels["status"], LabelStatus.PREDICTED.value)
    return replace(stands, labels=stands.labels.filter(human))


def name_of(taxon: str | None, taxonomy: Taxonomy) -> str:
    """Give what people call a taxon."""
    return UNNAMED if taxon is None else DISCARDED if taxon == DISCARDED else taxonomy.name_of(taxon)


def _as_persons_say(table: pa.Table, dataset: Dataset, stands: StandingLabels) -> pa.Table:
    if not stands.labels.num_rows:
        return table.append_column("said_by", pa.nulls(len(table), pa.string()))
    labelled = with_labels(table, dataset, stands)
    spoken = pc.is_valid(labelled["label_status"])
    discarded = pc.fill_null(pc.equal(labelled["label_status"], LabelStatus.DISCARDED.value), False)
    said = pc.if_else(discarded, pa.scalar(DISCARDED), labelled["label_taxon"])
    for name, value in (("taxon", said), ("taxon_probability", pa.scalar(None, pa.float64()))):
        now = pc.if_else(spoken, value, table[name])
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), now)
    who = pc.if_else(spoken, pc.fill_null(labelled["label_who"], "?"), pa.scalar(None, pa.string()))
    return table.append_column("said_by", who)
