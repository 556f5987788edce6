"""A network that learns from nothing: it learns, goes on as if never interrupted, and sees what only a stack shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.classification.classifier import Classifier
from inference.classification.encoder import from_file
from inference.classification.encoder_file import load_encoder, to_bytes
from inference.classification.head import load_head
from inference.classification.sight import ClassifierSight, look
from inference.classification.specimens import Example, SpecimenStack
from inference.classifier_training.learning import Learnt, learn
from inference.classifier_training.settings import LearningSettings
from inference.classifier_training.training import identity_of, train_network
from inference.errors import WeightsRefused
from tests.support.drawn_specimens import SHAPES, Silent, drawn_picture, examples, stack

SIGHT = ClassifierSight("stack", 24, (-0.8, 0.0, 0.8), 0.16)
SETTINGS = LearningSettings("small", SIGHT, epochs=5, batch=12, judgements=3, threads=1)


def days(taught: list[Example]) -> list[str]:
    return [one.day for one in taught]


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    taught = examples(stack, 30)
    return learn(taught, days(taught), SETTINGS, {"ring": "round", "disc": "round"}, lambda _: None, Silent())[0]


@pytest.fixture(scope="module")
def classifier(learnt: Learnt, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("classifier")
    path = folder / "names.safetensors"
    path.write_bytes(to_bytes(learnt.encoder, learnt.fitted.head))
    return Classifier(load_encoder(path), load_head(path), kept_in=folder)


@pytest.mark.slow
def test_new_specimens_are_named_by_onnxruntime_as_torch_learnt_them(classifier: Classifier) -> None:
    new = examples(stack, 8, first=100)
    named = classifier.name([one.read() for one in new])
    assert classifier.runtime == "onnxruntime"
    assert classifier.not_fastest is None
    right = [one.answer is not None and one.answer.best == new[k].taxon for k, one in enumerate(named)]
    assert np.mean(right) >= 0.9
    assert all(one.features is not None and one.features.nbytes <= 1024 for one in named)


@pytest.mark.slow
def test_kept_vectors_are_named_later_as_they_were_at_once(classifier: Classifier) -> None:
    named = classifier.name([one.read() for one in examples(stack, 4, first=200)])
    kept = np.stack([one.features for one in named if one.features is not None])
    assert classifier.head.answers(kept) == [one.answer for one in named]


@pytest.mark.slow
def test_the_number_of_specimens_at_once_changes_no_vector(classifier: Classifier) -> None:
    looks = [look(one.read(), SIGHT) for one in examples(stack, 7, first=300)]
    alone = np.concatenate([classifier.features_of([one]) for one in looks])
    np.testing.assert_allclose(classifier.features_of(looks), alone, atol=2e-3)


@pytest.mark.slow
def test_what_cannot_be_looked_at_keeps_no_other_from_its_name(classifier: Classifier) -> None:
    good = stack("ring", 400)
    one, other, last = classifier.name([good, drawn_picture("ring", 1), good])
    assert other.answer is None
    assert other.fault is not None
    assert "a picture, but the classifier looks at stacks" in other.fault
    assert one.answer == last.answer
    assert one.answer is not None
    assert classifier.name([]) == []


@pytest.mark.slow
@pytest.mark.parametrize(("tensor", "factor", "named"), [("projection", 1e6, True), ("beside_spread", 0, False)])
def test_features_too_large_for_16_bits_are_the_largest_and_those_that_are_no_numbers_are_told(
    learnt: Learnt, tmp_path: Path, tensor: str, factor: float, named: bool
) -> None:
    tensors = {
        **learnt.encoder.tensors,
        tensor: np.asarray(learnt.encoder.tensors[tensor], np.float32) * np.float32(factor),
    }
    wild = replace(learnt.encoder, tensors=tensors)
    head = replace(learnt.fitted.head, encoder_sha256=wild.sha256, weights=learnt.fitted.head.weights / np.float32(1e6))
    (one,) = Classifier(wild, head, kept_in=tmp_path).name([stack("ring", 401)])
    if named:
        assert one.answer is not None
        assert np.isfinite(one.answer.probability)
        assert one.features is not None
        assert np.isfinite(one.features).all()
        assert np.abs(one.features).max() == np.finfo(np.float16).max
    else:
        assert (one.answer, one.features) == (None, None)
        assert one.fault == "what the encoder says of it is no number"


@pytest.mark.slow
def test_a_damaged_or_foreign_encoder_is_refused(learnt: Learnt, tmp_path: Path) -> None:
    path = tmp_path / "names.safetensors"
    whole = bytearray(to_bytes(learnt.encoder, learnt.fitted.head))
    start = 8 + int.from_bytes(whole[:8], "little")
    whole[start + 500] ^= 0x10
    path.write_bytes(whole)
    with pytest.raises(WeightsRefused, match="damaged"):
        load_encoder(path)
    path.write_bytes(learnt.fitted.head.to_bytes())
    with pytest.raises(WeightsRefused, match="a head alone"):
        load_encoder(path)
    assert load_head(path).sha256 == learnt.fitted.head.sha256


class Stopped(Exception):
    """What a test stops a training with."""


class Stops(Silent):
    """Keeps checkpoints, and stops after so many."""

    def __init__(self, after: int) -> None:
        self.kept: list[bytes] = []
        self._after = after

    def checkpoint(self, content: bytes) -> None:
        self.kept.append(content)
        if len(self.kept) == self._after:
            raise Stopped


@pytest.mark.slow
def test_a_network_goes_on_from_what_another_has_learnt(learnt: Learnt) -> None:
    new = examples(stack, 12, first=500)
    settings = replace(SETTINGS, epochs=1, rate=1e-7, start=learnt.encoder)
    network, _ = train_network(new, days(new), settings, lambda _: None, Silent())
    begun = from_file(learnt.encoder).network.state_dict()
    weights = [name for name in begun if name.endswith("weight")]
    for name in weights:
        np.testing.assert_allclose(network.state_dict()[name].numpy(), begun[name].numpy(), atol=2e-3, err_msg=name)
    other = replace(settings, sight=replace(SIGHT, offsets_um=(-0.4, 0.0, 0.4)))
    with pytest.raises(WeightsRefused, match=r"looks in another way \(offsets_um\).*start from one"):
        train_network(new, days(new), other, lambda _: None, Silent())
    assert identity_of(new, days(new), settings, "a") != identity_of(new, days(new), replace(settings, start=None), "a")


@pytest.mark.slow
def test_a_training_that_was_interrupted_ends_where_it_would_have(tmp_path: Path) -> None:
    taught = examples(stack, 12)
    settings = LearningSettings("small", SIGHT, epochs=2, batch=12, judgements=2, threads=1)
    whole, history = train_network(taught, days(taught), settings, lambda _: None, Silent())
    stops = Stops(1)
    with pytest.raises(Stopped):
        train_network(taught, days(taught), settings, lambda _: None, stops, source="library A")
    kept = tmp_path / "names.checkpoint"
    kept.write_bytes(stops.kept[0])
    again, went_on = train_network(taught, days(taught), settings, lambda _: None, Silent(), kept)
    assert went_on == history
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), name)
    other = examples(stack, 13)
    of_what = (
        r"names\.checkpoint' belongs to another training \(source library A, now library B; specimens 36, now 39\)"
    )
    with pytest.raises(WeightsRefused, match=of_what):
        train_network(other, days(other), settings, lambda _: None, Silent(), kept, "library B")
    with pytest.raises(
        WeightsRefused, match=r"\(network small, now lite0; epochs 2, now 30; .*repeat its command, delete"
    ):
        learn(taught, days(taught), LearningSettings(sight=SIGHT), {}, lambda _: None, Silent(), kept, "library A")


@pytest.mark.slow
def test_a_training_that_gets_no_better_stops_early() -> None:
    # Names at random: the better it learns them, the worse it judges what is held out.
    names = np.random.default_rng(0).permutation(SHAPES * 8)
    taught = [replace(one, taxon=str(name)) for one, name in zip(examples(stack, 8), names, strict=True)]
    settings = LearningSettings(
        "small", SIGHT, fewest=4, epochs=60, batch=12, judgements=20, patience=3, held_out=0.3, rate=5e-3, threads=1
    )
    _, history = train_network(taught, days(taught), settings, lambda _: None, Silent())
    assert history.judgements_since_best() == 3
    assert len(history.judged) < 20


def heights(shape: str, seed: int) -> SpecimenStack:
    """Draw four marks around a centre, two above and two below: opposite ones alike, or ones beside each other.

    In the own plane both are the same picture.
    """
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    side, planes = 28, 9
    above = (0, 2) if shape == "bar" else (0, 1)
    angle = random.uniform(0, 2 * np.pi)
    drawn = np.full((1, planes, side, side), 20000.0, np.float32)
    for z in range(planes):
        for k in range(4):
            centre = side / 2 + 8 * np.array([np.cos(angle + k * np.pi / 2), np.sin(angle + k * np.pi / 2)])
            mark = np.zeros((side, side), np.float32)
            cv2.circle(mark, (round(float(centre[0])), round(float(centre[1]))), 2, 1.0, -1)
            away = abs(z - (6.0 if k in above else 2.0))
            drawn[0, z] -= 9000 * cv2.GaussianBlur(mark, (0, 0), 0.6 + 0.7 * away)
    noisy = drawn + random.normal(size=drawn.shape) * 100
    return SpecimenStack(noisy.clip(0, 65535).astype(np.uint16), ("parallel",), 0.16, 0.4, 4.0, 3.0, 3.0)


def recall_of(sight: ClassifierSight, read: Callable[[str, int], SpecimenStack]) -> float:
    taught = [one for one in examples(read, 70) if one.taxon != "ring"]
    settings = LearningSettings("small", sight, epochs=14, batch=16, judgements=4, threads=1)
    made = learn(taught, days(taught), settings, {}, lambda _: None, Silent())[0]
    true = np.array([made.fitted.head.taxa.index(one.taxon) for one in taught])
    return float((made.fitted.held_out.argmax(axis=1) == true).mean())


@pytest.mark.long
def test_what_only_heights_tell_apart_is_told_by_a_stack_and_not_by_its_own_plane() -> None:
    assert recall_of(ClassifierSight("stack", 28, (-0.8, 0.0, 0.8), 0.16), heights) >= 0.9
    assert recall_of(ClassifierSight("stack", 28, (0.0,), 0.16), heights) <= 0.7
