"""The objects of one night as columns, with the newest measurements and names, and with what persons said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from daemon.counts.taxa import taxonomy_of
from daemon.dataset.labels import LabelStatus, label_store
from daemon.dataset.later_tables import objects_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import standing, with_labels
from daemon.records.names import attempt_of
from daemon.report.objects import WORDS

DISCARDED = "discarded"
"""Stands for the taxon of objects that a person does not want named."""
FLAGS = tuple(WORDS)
NUMBERS = ("score", "taxon_probability", "length_um", "mass_pg")
CODED = ("class_name", "taxon", "sample", "who")
"""Columns of texts, each of which is kept once."""
_COLUMNS = (*NUMBERS, "class_name", "taxon", "sample", "counted", "below_threshold", "in_exclusive_tile", *FLAGS)


@dataclass(frozen=True, eq=False)
class NightObjects:
    """The objects of a night, those too that do not count, by mini-slide, field and number.

    Attributes
    ----------
    columns
        numbers, NaN where there is none; of the coded ones the place in `texts`.
    texts
        of each coded column.
    called
        what people call the taxa.
    """

    columns: Mapping[str, NDArray[Any]]
    texts: Mapping[str, tuple[str, ...]]
    called: Mapping[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> NightObjects:
        """Read them, with the newest measurements, names, and what persons said.

        Raises
        ------
        DamagedFile
            A table cannot be read.
        """
        table, origins = objects_table(dataset, columns=_COLUMNS)
        taxonomy = taxonomy_of(dataset, origins.named)
        stands = standing(label_store(dataset).read().table, taxonomy)
        table = _as_persons_say(with_labels(table, dataset, stands)) if stands.labels.num_rows else table
        table = (
            table.append_column("who", pa.nulls(len(table), pa.string())) if "who" not in table.column_names else table
        )
        columns: dict[str, NDArray[Any]] = {
            "slide": _numbers(table["slide"], np.int32),
            "field": _numbers(table["field"], np.int32),
            "number": _numbers(table["number"], np.int32),
            "attempt": np.array([attempt_of(name or "") for name in table["field_file"].to_pylist()], np.int32),
            "counted": _truths(table["counted"]),
            "below_threshold": _truths(table["below_threshold"]),
            "own_tile": _truths(table["in_exclusive_tile"]),
            "flags": _flags(table),
            **{name: _numbers(table[name], np.float32) for name in NUMBERS},
        }
        texts = {}
        for name in CODED:
            coded = pc.fill_null(table[name], "").combine_chunks().dictionary_encode()
            columns[name], texts[name] = coded.indices.to_numpy().astype(np.int32), tuple(coded.dictionary.to_pylist())
        called = {taxon: taxonomy.name_of(taxon) for taxon in texts["taxon"] if taxon}
        return cls(columns, texts, called | {DISCARDED: DISCARDED})


def _as_persons_say(table: pa.Table) -> pa.Table:
    """Give objects the taxon that a person said, where one did, and who it was."""
    human = pc.fill_null(pc.not_equal(table["label_status"], LabelStatus.PREDICTED.value), False)
    discarded = pc.fill_null(pc.equal(table["label_status"], LabelStatus.DISCARDED.value), False)
    said = pc.if_else(discarded, pa.scalar(DISCARDED), table["label_taxon"])
    nothing = pa.scalar(None, pa.float64())
    for name, value in (
        ("taxon", pc.if_else(human, said, table["taxon"])),
        ("taxon_probability", pc.if_else(human, nothing, table["taxon_probability"])),
    ):
        table = table.set_column(table.schema.get_field_index(name), name, value)
    who = pc.if_else(human, pc.fill_null(table["label_who"], "?"), pa.scalar(None, pa.string()))
    return table.append_column("who", who)


def _numbers(column: pa.ChunkedArray, kind: type[np.generic]) -> NDArray[Any]:
    return np.asarray(column.to_numpy().astype(kind))


def _truths(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(), np.bool_)


def _flags(table: pa.Table) -> NDArray[np.int32]:
    """Give each object a bit for each flag that it has; a fault is one."""
    bits = np.zeros(len(table), np.int32)
    for at, name in enumerate(FLAGS):
        column = table[name]
        there = pc.is_valid(column).to_numpy() if pa.types.is_string(column.type) else _truths(column)
        bits |= np.asarray(there, np.int32) << at
    return bits
