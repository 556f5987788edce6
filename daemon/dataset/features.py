"""The features of objects: a vector each, in a table a field, named by the encoder that made it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daemon.dataset.objects_table import read_parquet
from daemon.dataset.reader import Dataset
from daemon.records.names import features_file, field_file, inside, slide_folder
from daemon.records.records import FieldSecured
from daemon.system.durable_files import make_folder, refusing, replacing
from daemon.system.errors import DamagedFile

Vector = NDArray[np.float16]
Vectors = NDArray[np.float16]
Place = tuple[str, int]
"""Name of the file of an object's field, and its number."""
METADATA = b"lamelle.features"
_LATER = "features-"


class MadeWith(msgspec.Struct, frozen=True, kw_only=True):
    """Sha256 of the encoder of a table."""

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
    columns = {"number": pa.array(features.numbers, pa.int64())}
    return _parquet(columns, features.vectors, MadeWith(encoder=features.encoder))


def read_features(path: Path) -> Features:
    """Read the features of a field's objects.

    Raises
    ------
    DamagedFile
        The table cannot be read, or is none of features.
    """
    made, table, vectors = _read(path)
    return Features(made.encoder, tuple(table["number"].to_pylist()), vectors)


def write_later_features(folder: Path, slide: int, number: int, encoder: str, made: Mapping[Place, Vector]) -> None:
    """Keep features that were made after the night: `slide-N/features-001.parquet`, whole or not at all.

    Parameters
    ----------
    number
        of the naming that they were made for.
    made
        by the name of the file that the object's field has in the dataset, and the object's number.

    Raises
    ------
    Refused
        They cannot be written there.
    """
    path = folder / slide_folder(slide) / f"{_LATER}{number:03d}.parquet"
    vectors = np.stack(list(made.values()))
    columns = {"field_file": pa.array([file for file, _ in made]), "number": pa.array([n for _, n in made], pa.int64())}
    with refusing(path):
        make_folder(path.parent)
        with replacing(path) as stream:
            stream.write(_parquet(columns, vectors, MadeWith(encoder=encoder)))


def later_features(folder: Path) -> set[int]:
    """Give the numbers of the tables of features in a folder that were made after the night."""
    names = (re.fullmatch(rf"{_LATER}(\d{{3,}})\.parquet", path.name, re.ASCII) for path in _later_tables(folder))
    return {int(name[1]) for name in names if name}


def encoders_of(dataset: Dataset) -> tuple[str, ...]:
    """Name the encoders (sha256) of which a dataset keeps features, that of the newest first.

    Raises
    ------
    DamagedFile
        A table of features cannot be read.
    """
    later = sorted(_later_tables(dataset.folder), key=lambda path: path.name, reverse=True)
    own = encoder_of_the_night(dataset)
    return tuple(dict.fromkeys([*map(_encoder, later), *([own] if own else [])]))


def encoder_of_the_night(dataset: Dataset) -> str:
    """Name the encoder (sha256) of the features that a night made itself; empty where it made none.

    Raises
    ------
    DamagedFile
        The night's first record does not tell, as of an earlier version, and no table of features can be read.
    """
    kept = dataset.folder.glob("slide-*/field-*-features.parquet")
    first = next(kept, None)
    if first is None:
        return ""
    started = dataset.night()
    if started is not None and started.encoder:
        return started.encoder
    # All that a night makes is of one encoder, so that any table tells.
    for path in chain([first], kept):
        with suppress(DamagedFile):
            return _encoder(path)
    return _encoder(first)


class KeptFeatures:
    """What an encoder made of the objects of a dataset: in the night, or later.

    Parameters
    ----------
    folder
        of the dataset.
    encoder
        sha256.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        self._folder = folder
        self._encoder = encoder
        self._later: tuple[int, dict[Place, Vector]] = (0, {})

    def of(self, field: FieldSecured) -> dict[int, Vector]:
        """Give those of a field's objects, by their numbers, as far as they are kept.

        Raises
        ------
        DamagedFile
            A table of features cannot be read.
        """
        kept = self._of_the_night(field)
        missing = [row.number for row in field.objects if row.number not in kept]
        if missing:
            later, file = self._made_later(field.slide), field_file(field.slide, field.field, attempt=field.attempt)
            kept |= {number: later[file, number] for number in missing if (file, number) in later}
        return kept

    def _of_the_night(self, field: FieldSecured) -> dict[int, Vector]:
        name = features_file(field.slide, field.field, field.attempt)
        path = inside(self._folder, name)
        if not any(entry.name == name for entry in field.files) or not path.exists():
            return {}
        features = read_features(path)
        return dict(zip(features.numbers, features.vectors, strict=True)) if features.encoder == self._encoder else {}

    def _made_later(self, slide: int) -> dict[Place, Vector]:
        if self._later[0] != slide:
            found: dict[Place, Vector] = {}
            for path in sorted((self._folder / slide_folder(slide)).glob(f"{_LATER}*.parquet")):
                made, table, vectors = _read(path)
                if made.encoder == self._encoder:
                    places = zip(table["field_file"].to_pylist(), table["number"].to_pylist(), strict=True)
                    found |= dict(zip(places, vectors, strict=True))
            self._later = slide, found
        return self._later[1]


def _later_tables(folder: Path) -> Iterator[Path]:
    return folder.glob(f"slide-*/{_LATER}*.parquet")


def _parquet(columns: dict[str, pa.Array], vectors: Vectors, made: MadeWith) -> bytes:
    length = vectors.shape[1]
    flat = pa.array(vectors.reshape(-1), pa.float16())
    column = pa.FixedSizeListArray.from_arrays(flat, length)
    metadata = {METADATA: msgspec.json.encode(made)}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns | {"features": column}, metadata=metadata), stream, compression="zstd")
    return stream.getvalue()


def _encoder(path: Path) -> str:
    with _explaining(path):
        made = msgspec.json.decode((pq.read_schema(path).metadata or {})[METADATA], type=MadeWith)
    return made.encoder


def _read(path: Path) -> tuple[MadeWith, pa.Table, Vectors]:
    with _explaining(path):
        table = read_parquet(path)
        made = msgspec.json.decode((table.schema.metadata or {})[METADATA], type=MadeWith)
        column = table["features"].combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        vectors = np.asarray(flat, np.float16).reshape(len(table), column.type.list_size)
    return made, table, vectors


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, AttributeError, ValueError, msgspec.MsgspecError) as error:
        raise DamagedFile(f"{path} cannot be read as features ({error}); restore it from a copy") from error
