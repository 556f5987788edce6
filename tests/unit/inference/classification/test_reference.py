"""What is unlike a library is told, what is like it is not, and what cannot be known is not said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from inference.classification.head import Head, load_head
from inference.classification.reference import GROUPS, LibraryReference, reference_of
from inference.errors import WeightsRefused

WIDTH, GROUPS_LEARNT, EACH = 24, 12, 60
SPREADS = np.linspace(4, 0.2, WIDTH)


def group(random: np.random.Generator, objects: int = EACH, moved: float = 0.0) -> NDArray[np.float16]:
    """Draw objects of a mini-slide: its own little shift, as all have, and one that is not usual."""
    own = random.normal(0, 0.15, WIDTH)
    return np.asarray((random.normal(own + moved, 1, (objects, WIDTH))) * SPREADS, np.float16)


def library(groups: int = GROUPS_LEARNT, seed: int = 0) -> LibraryReference:
    random = np.random.default_rng(seed)
    vectors = np.concatenate([group(random) for _ in range(groups)])
    names = np.repeat(np.arange(groups), EACH)
    taxa = np.zeros(len(vectors), np.intp)
    return reference_of(vectors, taxa, [str(name) for name in names], [names % 4 == fold for fold in range(4)])


def head(reference: LibraryReference | None) -> Head:
    return Head(
        taxa=("a", "b"),
        parents={},
        not_known={},
        encoder_sha256="e" * 64,
        weights=np.ones((WIDTH, 2), np.float32),
        bias=np.zeros(2, np.float32),
        temperature=1.0,
        share=np.full(2, 0.5, np.float32),
        threshold=0.5,
        reference=reference,
    )


def test_ordinary_mini_slides_are_not_told_and_shifted_ones_are() -> None:
    known, random = library(), np.random.default_rng(1)
    ordinary = [known.judge(group(random)) for _ in range(300)]
    shifted = [known.judge(group(random, moved=0.6)) for _ in range(50)]
    told = sum(one is not None and one.odd for one in ordinary)
    assert told <= 3  # one in a thousand is to be
    assert all(one is not None and one.odd and one.times > 3 for one in shifted)
    assert 0.3 < np.median([one.times for one in ordinary if one is not None]) < 3


def test_one_object_in_a_hundred_of_those_that_taught_nothing_is_far() -> None:
    known, random = library(), np.random.default_rng(2)
    near = known.distances(np.concatenate([group(random) for _ in range(100)]))
    assert 0.003 < (near > known.far).mean() < 0.03
    assert (known.distances(group(random, moved=3.0)) > known.far).all()


def test_taxa_that_are_common_on_one_mini_slide_and_rare_on_another_do_not_make_it_odd() -> None:
    """A bloom: nearly all objects are of one taxon, of which every group that was learnt had a fifth."""
    random = np.random.default_rng(7)
    places = random.normal(0, 6, (5, WIDTH)) * SPREADS
    taxa = np.tile(np.arange(5), EACH // 5)
    learnt = np.concatenate([(group(random) + places[taxa]).astype(np.float16) for _ in range(GROUPS_LEARNT)])
    names = np.repeat(np.arange(GROUPS_LEARNT), EACH)
    folds = [names % 4 == fold for fold in range(4)]
    known = reference_of(learnt, np.tile(taxa, GROUPS_LEARNT), [str(name) for name in names], folds)
    blooms = [known.judge((group(random) + places[k % 5]).astype(np.float16)) for k in range(100)]
    shifted = [known.judge((group(random, moved=1.0) + places[k % 5]).astype(np.float16)) for k in range(20)]
    assert sum(one is not None and one.odd for one in blooms) <= 1
    assert all(one is not None and one.odd for one in shifted)


def test_a_few_wild_objects_do_not_make_a_mini_slide_odd() -> None:
    known, random = library(), np.random.default_rng(3)
    vectors = group(random)
    before = known.judge(vectors)
    vectors[known.distances(vectors).argsort()[:2]] = 200
    judged = known.judge(vectors)
    assert before is not None
    assert judged is not None
    assert (judged.far, judged.odd) == (before.far + 2, False)


def test_nothing_is_said_of_few_objects_or_by_few_groups() -> None:
    random = np.random.default_rng(4)
    assert library().judge(group(random, objects=29)) is None
    few = library(groups=GROUPS - 1)
    assert few.groups == GROUPS - 1
    assert few.judge(group(random, moved=2.0)) is None
    assert len(few.distances(group(random))) == EACH


def test_what_taught_nothing_at_all_may_set_the_measure() -> None:
    """Objects that an encoder learnt from lie nearer than any others; it must not make the others odd."""
    known, random = library(), np.random.default_rng(5)
    own = [group(random, moved=0.6) for _ in range(8)]
    names = [str(k) for k in range(8) for _ in range(EACH)]
    again = known.judged_by(np.concatenate(own), names)
    assert again.groups == 8
    judged = again.judge(group(random, moved=0.6))
    assert judged is not None
    assert not judged.odd


def test_it_travels_as_a_text_and_with_a_head(tmp_path: Path) -> None:
    known, vectors = library(), group(np.random.default_rng(6))
    again = LibraryReference.from_text(known.to_text())
    assert again is not None
    np.testing.assert_array_equal(again.distances(vectors), known.distances(vectors))
    assert again.judge(vectors) == known.judge(vectors)
    path = tmp_path / "head.safetensors"
    path.write_bytes(head(known).to_bytes())
    read = load_head(path)
    assert read.reference is not None
    assert read.sha256 == head(known).sha256 != head(None).sha256
    assert read.reference.judge(vectors) == known.judge(vectors)


def test_a_head_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    path.write_bytes(head(None).to_bytes())
    assert load_head(path).reference is None
    assert LibraryReference.from_text("") is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"means": 3}', '{"means": "x", "spread": "y"}'])
def test_a_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(WeightsRefused, match="train again"):
        LibraryReference.from_text(text)


def test_impossible_numbers_are_refused() -> None:
    known = library()
    wrong = (
        replace(known, floor=0.0),
        replace(known, far=np.inf),
        replace(known, far=0.0),
        replace(known, far=-1.0),
        replace(known, spread=known.spread * 0),
    )
    for one in wrong:
        with pytest.raises(WeightsRefused, match="not numbers"):
            LibraryReference.from_text(one.to_text())
    endless = known.to_text().replace(f'"groups": {known.groups}', '"groups": Infinity')
    with pytest.raises(WeightsRefused, match="train again"):
        LibraryReference.from_text(endless)


def test_a_changed_letter_of_what_a_library_looked_like_is_found(tmp_path: Path) -> None:
    path, whole = tmp_path / "head.safetensors", head(library()).to_bytes()
    at = whole.index(b"means") + 20
    path.write_bytes(whole[:at] + (b"B" if whole[at : at + 1] == b"A" else b"A") + whole[at + 1 :])
    with pytest.raises(WeightsRefused, match="is damaged: its head is not the one"):
        load_head(path)


def test_a_head_that_was_written_before_its_file_told_its_hash_is_read(tmp_path: Path) -> None:
    path, made = tmp_path / "head.safetensors", head(library())
    path.write_bytes(safetensors.numpy.save(made.tensors(), made.described()))
    assert load_head(path).sha256 == made.sha256


def test_twice_the_distance_is_twice_as_far() -> None:
    known, random = library(), np.random.default_rng(8)
    away = random.normal(0, 1, WIDTH) * SPREADS
    one, two, three = known.times_as_far(known.means[0].astype(np.float32) + np.outer((20, 40, 60), away))
    assert (two / one, three / one) == (pytest.approx(2, rel=1e-3), pytest.approx(3, rel=1e-3))
    vectors = group(random, objects=200)
    np.testing.assert_array_equal(known.times_as_far(vectors) > 1, known.distances(vectors) > known.far)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_no_number_costs_the_others_no_judgement(value: float) -> None:
    known, vectors = library(), group(np.random.default_rng(9), moved=0.6)
    judged = known.judge(vectors)
    wild = np.concatenate([vectors[:1], vectors])
    wild[0, 3] = value
    assert known.judge(wild) == judged
    assert known.judge(wild[:30]) is None
    assert np.isnan(known.times_as_far(wild)).tolist() == [True] + [False] * len(vectors)
    names = [str(k % 6) for k in range(len(vectors) * 6)]
    many = np.concatenate([group(np.random.default_rng(k)) for k in range(6)])
    with_one = known.judged_by(np.concatenate([wild[:1], many]), ["wild", *names])
    assert with_one.to_text() == known.judged_by(many, names).to_text()


def test_how_many_times_as_much_is_the_ratio_of_what_they_have_in_common() -> None:
    """Objects that share a part p of their direction, of which the squared is what two of them have in common."""
    random = np.random.default_rng(10)

    def sharing(part: float, objects: int = 4000) -> NDArray[np.float32]:
        noise = random.normal(0, 1, (objects, 400))
        noise[:, 0] = 0
        noise *= np.sqrt(1 - part**2) / np.linalg.norm(noise, axis=1, keepdims=True)
        noise[:, 0] = part
        return noise.astype(np.float32)

    flat = replace(
        known_of(400), centre=math.log(0.01 + 0.005), floor=0.005, chance=0.05, scatter=0.25, far=1e9, groups=50
    )
    judged = [flat.judge(sharing(part)) for part in (0.1, 0.2, 0.3)]
    assert [one.times for one in judged if one is not None] == pytest.approx([1, 4, 9], rel=0.05)


def known_of(width: int) -> LibraryReference:
    known = library()
    return replace(known, means=np.zeros((1, width), np.float16), spread=np.ones(width, np.float16))


def test_what_is_of_no_taxon_that_is_learnt_has_no_mean() -> None:
    random = np.random.default_rng(11)
    vectors = np.concatenate([group(random) for _ in range(GROUPS_LEARNT)])
    names = np.repeat(np.arange(GROUPS_LEARNT), EACH)
    taxa = np.tile(np.arange(EACH) % 3, GROUPS_LEARNT)
    strange = taxa == 2
    folds = [names % 4 == fold for fold in range(4)]
    labels = [str(name) for name in names]
    vectors[strange] += np.float16(50)
    known = reference_of(vectors, np.where(strange, -1, taxa), labels, folds)
    alone = reference_of(
        vectors[~strange],
        taxa[~strange],
        [one for one, no in zip(labels, strange, strict=True) if not no],
        [fold[~strange] for fold in folds],
    )
    np.testing.assert_array_equal(known.means, alone.means)
    np.testing.assert_array_equal(known.spread, alone.spread)
    assert known.far > 100 * alone.far
    only_here = np.where(names == 0, taxa, -1)
    assert len(reference_of(vectors, only_here, labels, folds).means) == 3


def test_vectors_of_another_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match=f"have {WIDTH} numbers"):
        library().distances(np.zeros((40, WIDTH + 1), np.float16))
    path = tmp_path / "head.safetensors"
    path.write_bytes(replace(head(library()), weights=np.ones((WIDTH + 1, 2), np.float32)).to_bytes())
    with pytest.raises(WeightsRefused, match="of another length"):
        load_head(path)


def test_objects_that_are_all_the_same_break_nothing() -> None:
    vectors = np.ones((200, WIDTH), np.float16)
    names = [str(k // 40) for k in range(200)]
    folds = [np.arange(200) // 40 == fold for fold in range(5)]
    known = reference_of(vectors, np.zeros(200, np.intp), names, folds)
    judged = known.judge(vectors[:40])
    assert judged is None or not judged.odd
    assert LibraryReference.from_text(known.to_text()) is not None
    assert known.times_as_far(vectors).tolist() == [0] * 200
