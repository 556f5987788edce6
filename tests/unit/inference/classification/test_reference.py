"""What is unlike a library is told, what is like it is not, and what cannot be known is not said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
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
    for wrong in (replace(known, floor=0.0), replace(known, far=np.inf), replace(known, spread=known.spread * 0)):
        with pytest.raises(WeightsRefused, match="not numbers"):
            LibraryReference.from_text(wrong.to_text())


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
