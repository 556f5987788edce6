"""The features of objects: a vector each, in a table a field, named by the encoder that made it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daemon.dataset.objects_table import read_parquet
from daemon.system.errors import DamagedFile

Vectors = NDArray[np.float16]
METADATA = b"lamelle.features"


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    encoder: str


@dataclass(frozen=True, eq=False)
class Features:
    """Features of some objects of a field.

    Attributes
    ----------
    encoder
        sha256 of what made them: vectors of two encoders have nothing in common.
    numbers
        of the objects.
    vectors
        (N, D) float16, a row for each number.
    """

    encoder: str
    numbers: tuple[int, ...]
    vectors: Vectors


def features_bytes(features: Features) -> bytes:
    """Encode as a Parquet table of `number` and `features`."""
    count, length = features.vectors.shape
    flat = pa.array(features.vectors.reshape(-1), pa.float16())
    table = pa.table(
        {
            "number": pa.array(features.numbers, pa.int64()),
            "features": pa.FixedSizeListArray.from_arrays(flat, length) if count else pa.array([], _kind(length)),
        },
        metadata={METADATA: msgspec.json.encode(_Made(encoder=features.encoder))},
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def read_features(path: Path) -> Features:
    """Read the features of a field's objects.

    Raises
    ------
    DamagedFile
        The table cannot be read, or is none of features.
    """
    try:
        table = read_parquet(path)
        made = msgspec.json.decode((table.schema.metadata or {})[METADATA], type=_Made)
        column = table["features"].combine_chunks()
        length = column.type.list_size
        vectors = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float16).reshape(-1, length)
        return Features(made.encoder, tuple(table["number"].to_pylist()), vectors)
    except (pa.ArrowException, OSError, KeyError, AttributeError, ValueError, msgspec.MsgspecError) as error:
        raise DamagedFile(f"{path} cannot be read as features ({error}); fetch it again from the recorder") from error


def _kind(length: int) -> pa.DataType:
    return pa.list_(pa.float16(), length)


def of_objects(features: Sequence[Features], encoder: str) -> dict[int, NDArray[np.float16]]:
    """Join what an encoder made: vectors by the numbers of their objects."""
    return {
        number: vector
        for one in features
        if one.encoder == encoder
        for number, vector in zip(one.numbers, one.vectors, strict=True)
    }
