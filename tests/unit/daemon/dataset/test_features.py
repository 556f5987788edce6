"""Features of objects come back as they were kept, from the night and from later, each encoder's apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace

from daemon.dataset.features import (
    Features,
    KeptFeatures,
    encoder_of_the_night,
    encoders_of,
    features_bytes,
    read_features,
    write_later_features,
)
from daemon.dataset.reader import Dataset
from daemon.records.records import FieldSecured, FileEntry
from daemon.system.errors import DamagedFile
from tests.support.labelled_night import make_night
from tests.support.small_dataset import make_dataset

FIRST, SECOND = "1" * 64, "2" * 64


@given(
    arrays(np.float16, st.tuples(st.integers(1, 9), st.integers(1, 20)), elements=st.floats(-60000, 60000, width=16))
)
def test_vectors_come_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("features") / "field-0001-features.parquet"
    numbers = tuple(range(7, 7 + len(vectors)))
    path.write_bytes(features_bytes(Features(FIRST, numbers, vectors)))
    read = read_features(path)
    assert (read.encoder, read.numbers, read.vectors.dtype) == (FIRST, numbers, np.dtype(np.float16))
    assert read.vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("what", [b"", b"PAR1", b"no table"])
def test_what_is_no_table_of_features_is_named(tmp_path: Path, what: bytes) -> None:
    path = tmp_path / "field-0001-features.parquet"
    path.write_bytes(what)
    with pytest.raises(DamagedFile, match=r"field-0001-features\.parquet cannot be read as features"):
        read_features(path)


def test_later_features_fill_what_the_night_did_not_make(tmp_path: Path) -> None:
    field = make_dataset(tmp_path, slides=1, fields=1, objects=3)[0]
    of_the_night = np.arange(6, dtype=np.float16).reshape(2, 3)
    field = keep(tmp_path, field, Features(FIRST, (1, 3), of_the_night))
    later = {("slide-1/field-0001.ome.tif", 2): np.full(3, 9, np.float16)}
    write_later_features(tmp_path, 1, 4, FIRST, later)
    write_later_features(tmp_path, 1, 5, SECOND, {place: vector + 1 for place, vector in later.items()})
    first, second = KeptFeatures(tmp_path, FIRST).of(field), KeptFeatures(tmp_path, SECOND).of(field)
    assert {number: vector.tolist() for number, vector in first.items()} == {1: [0, 1, 2], 3: [3, 4, 5], 2: [9, 9, 9]}
    assert {number: vector.tolist() for number, vector in second.items()} == {2: [10, 10, 10]}
    assert KeptFeatures(tmp_path, FIRST).of(replace(field, attempt=2)) == {}


def keep(folder: Path, field: FieldSecured, features: Features) -> FieldSecured:
    """Put features beside a field, and give its record that lists them."""
    name = f"slide-{field.slide}/field-{field.field:04d}-features.parquet"
    (folder / name).write_bytes(features_bytes(features))
    return replace(field, files=(*field.files, FileEntry(name=name, size=0, sha256="")))


def test_the_encoders_of_a_dataset_are_named_the_newest_first(tmp_path: Path) -> None:
    field = make_dataset(tmp_path, slides=1, fields=1, objects=2)[0]
    with Dataset.open(tmp_path) as dataset:
        assert encoders_of(dataset) == ()
        keep(tmp_path, field, Features(FIRST, (1,), np.ones((1, 3), np.float16)))
        assert encoders_of(dataset) == (FIRST,)
        place = {("slide-1/field-0001.ome.tif", 2): np.full(3, 9, np.float16)}
        for number, encoder in ((1, SECOND), (10, FIRST), (2, "3" * 64)):
            write_later_features(tmp_path, 1, number, encoder, place)
        assert encoders_of(dataset) == (FIRST, "3" * 64, SECOND)


def own_encoder(folder: Path) -> str:
    with Dataset.open(folder) as dataset:
        return encoder_of_the_night(dataset)


def test_damaged_features_of_a_field_do_not_hide_what_made_the_others(tmp_path: Path) -> None:
    newer, older = make_night(tmp_path / "newer", encoder=FIRST), make_night(tmp_path / "older")
    assert (own_encoder(newer), own_encoder(older)) == ("", "")
    for folder in (newer, older):
        (folder / "slide-1" / "field-0001-features.parquet").write_bytes(b"PAR1")
    assert own_encoder(newer) == FIRST
    with pytest.raises(DamagedFile, match=r"field-0001-features\.parquet cannot be read as features"):
        own_encoder(older)
    whole = features_bytes(Features(SECOND, (1,), np.ones((1, 3), np.float16)))
    (older / "slide-1" / "field-0002-features.parquet").write_bytes(whole)
    assert own_encoder(older) == SECOND
