"""A head: fitted by whole groups, honest in its probabilities, refused where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from inference.classification.head import Head, check_taxa, load_head
from inference.classifier_training.fitting import Fitted, fit
from inference.errors import SpecimenRefused, WeightsRefused

ENCODER = "e" * 64


def drawn(count: int, seed: int, spread: float = 1.0) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Give vectors of three taxa that overlap, and the days on which they were drawn."""
    random = np.random.default_rng(seed)
    taxon = random.choice(3, count, p=[0.6, 0.3, 0.1])
    centres = np.array([[0, 0], [2, 0], [0, 2]]) @ np.eye(2, 8)
    vectors = centres[taxon] + random.normal(0, spread, (count, 8))
    return vectors.astype(np.float32), ["abc"[k] for k in taxon], [f"day {k % 7}" for k in range(count)]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    features, taxa, days = drawn(600, 1)
    rare = np.full((9, 8), 9, np.float32)
    return fit(
        np.concatenate([features, rare]), taxa + ["d"] * 9, days + ["day 0"] * 9, {"a": "group", "b": "group"}, ENCODER
    )


@pytest.fixture
def head(fitted: Fitted) -> Head:
    return fitted.head


def test_what_is_rare_is_kept_as_not_known_and_never_said(fitted: Fitted) -> None:
    assert fitted.head.taxa == ("a", "b", "c")
    assert fitted.head.not_known == {"d": 9}
    assert np.isfinite(fitted.held_out[-9:]).all()


def test_probabilities_of_new_objects_come_true_and_are_about_as_good_as_can_be(head: Head) -> None:
    features, taxa, _ = drawn(20_000, 2)
    said = head.probabilities(features)
    centres = np.array([[0, 0], [2, 0], [0, 2]]) @ np.eye(2, 8)
    best = np.log([0.6, 0.3, 0.1]) - np.square(features[:, None] - centres).sum(axis=2) / 2
    true = np.array(["abc".index(taxon) for taxon in taxa])
    right, ceiling = said.argmax(axis=1) == true, best.argmax(axis=1) == true
    assert right.mean() > ceiling.mean() - 0.01
    assert abs(said.max(axis=1).mean() - right.mean()) < 0.02


def test_the_even_rule_finds_more_of_what_is_rare(head: Head) -> None:
    features, taxa, _ = drawn(5000, 3)
    rare = np.array(taxa) == "c"
    plain, even = (head.probabilities(features[rare], rule).argmax(axis=1) == 2 for rule in ("plain", "even"))
    assert even.mean() > plain.mean() + 0.1


def test_what_only_tells_days_apart_is_not_trusted() -> None:
    # Each day has its own mark, and mostly one taxon: by random folds the mark looks like knowledge.
    random = np.random.default_rng(0)
    day = random.integers(12, size=600)
    taxa = ["ab"[int(k)] for k in (day % 2 == 0) ^ (random.uniform(size=600) < 0.1)]
    marks = np.eye(12, dtype=np.float32)[day] * 3
    by_day = fit(marks, taxa, [str(k) for k in day], {}, ENCODER)
    at_random = fit(marks, taxa, [str(k) for k in range(600)], {}, ENCODER)
    true = np.array(["ab".index(taxon) for taxon in taxa])
    assert (at_random.held_out.argmax(axis=1) == true).mean() > 0.85
    assert (by_day.held_out.argmax(axis=1) == true).mean() < 0.6
    assert by_day.held_out.max(axis=1).mean() < 0.75


def test_one_taxon_is_too_few() -> None:
    with pytest.raises(SpecimenRefused, match="1 of 2 taxa have 10 objects or more"):
        fit(np.zeros((12, 3), np.float32), ["a"] * 10 + ["b"] * 2, ["d"] * 12, {}, ENCODER)


def test_a_head_is_read_as_it_was_written(head: Head, tmp_path: Path) -> None:
    path = tmp_path / "names.safetensors"
    path.write_bytes(head.to_bytes())
    read = load_head(path)
    features, _, _ = drawn(50, 4)
    np.testing.assert_array_equal(read.probabilities(features), head.probabilities(features))
    assert (read.taxa, read.parents, read.not_known) == (head.taxa, head.parents, head.not_known)
    assert read.sha256 == head.sha256
    assert replace(head, threshold=0.7).sha256 != head.sha256


def test_damaged_and_foreign_files_are_refused(head: Head, tmp_path: Path) -> None:
    whole = head.to_bytes()
    damaged = bytearray(whole)
    damaged[-3] ^= 0x40
    foreign = safetensors.numpy.save({"x": np.zeros(3, np.float32)})
    empty = replace(head, bias=np.full(3, np.nan, np.float32)).to_bytes()
    odd = safetensors.numpy.save(head.tensors(), head.described() | {"parents": "[1]"})
    for content, said in (
        (bytes(damaged), "damaged"),
        (odd, "cannot be read"),
        (foreign, "holds no head"),
        (whole[: len(whole) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (b"PK\x03\x04 a zip", "cannot be read"),
        (empty, "not numbers"),
    ):
        path = tmp_path / "some.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsRefused, match=said):
            load_head(path)
    with pytest.raises(WeightsRefused, match="cannot be read"):
        load_head(tmp_path / "not there.safetensors")


def test_features_of_another_encoder_and_taxa_of_another_taxonomy_are_refused(head: Head) -> None:
    head.check(ENCODER)
    with pytest.raises(WeightsRefused, match="for encoder eeeeeeeeeeee, but the features are of ffffffffffff"):
        head.check("f" * 64)
    with pytest.raises(WeightsRefused, match="8 numbers"):
        head.probabilities(np.zeros((3, 9), np.float32))
    check_taxa(head, ["a", "b", "c", "group", "z"])
    with pytest.raises(WeightsRefused, match="taxon 'b' and 1 more, which the taxonomy does not have"):
        check_taxa(head, ["a", "group"])
    with pytest.raises(WeightsRefused, match="taxon 'group', which the taxonomy does not have"):
        check_taxa(head, ["a", "b", "c"])
