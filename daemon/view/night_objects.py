"""The objects of one night as columns, with the newest measurements and names, and with what persons said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from daemon.counts.called import CalledNow, name_of
from daemon.dataset.reader import Dataset
from daemon.records.names import attempt_of
from daemon.report.objects import WORDS

FLAGS = tuple(WORDS)
NUMBERS = ("score", "taxon_probability", "length_um", "mass_pg")
CODED = ("class_name", "taxon", "sample", "said_by")
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
        now = CalledNow.of(dataset, _COLUMNS)
        table = now.table
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
        return cls(columns, texts, {taxon: name_of(taxon, now.taxonomy) for taxon in texts["taxon"] if taxon})


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
