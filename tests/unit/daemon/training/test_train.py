from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import tifffile

from daemon.emulation import export
from daemon.system.durable_files import sha256_of
from daemon.system.errors import Refused
from daemon.training import train as learn
from drivers.virtual_slide.specimens.collection import KINDS
from inference.annotations.coco_reading import read
from inference.annotations.splits import read_split
from inference.annotations.stacks import find_stacks, read_stack
from inference.errors import AnnotationError, WeightsRefused
from inference.network.weights_file import find_weights
from inference.settings import FocusSettings
from inference.training.checkpoint import History
from inference.training.settings import TrainingSettings
from inference.training.train import AVERAGED_SHARE, Progress, train
from tests.support import emulated_stacks

CLASSES = TrainingSettings().classes


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("emulated")
    export.export(emulated_stacks.night(frame_px=384, planes=3, seed=77), into, slides=[2, 5], fields=2)
    return into


def test_exported_fields_hold_the_pixels_and_the_truth_without_junk(exported: Path) -> None:
    dataset = read((exported / export.COCO_FILE).read_bytes(), "coco.json").dataset
    assert [(p.stack.slide, p.stack.field) for p in dataset.images if p.stack] == [(2, 1), (2, 2), (5, 1), (5, 2)]
    fossils = {kind.class_name for kind in KINDS.values() if not kind.junk}
    assert {c.name for c in dataset.categories} <= fossils
    assert len(dataset.annotations) >= 4
    assert {a.category_id for a in dataset.annotations} <= {c.id for c in dataset.categories}
    for a in dataset.annotations:
        x, y, width, height = a.bbox
        assert 0 <= x < x + width <= 384
        assert 0 <= y < y + height <= 384
        assert isinstance(a.attributes["touching"], bool)
    stack = dataset.images[0].stack
    assert stack is not None
    with tifffile.TiffFile(exported / stack.file_name) as file:
        assert file.is_ome
        assert file.series[0].axes == "CZYX"
        assert file.series[0].shape == (2, 3, 384, 384)


def test_an_export_of_the_same_seed_is_the_same(exported: Path, tmp_path: Path) -> None:
    config = emulated_stacks.night(frame_px=384, planes=3)
    for name, seed in (("again", 77), ("other", 78)):
        export.export(export.override(config, seed=seed), tmp_path / name, slides=[2, 5], fields=2)
    classes = config.detector.classes
    here, again, other = (find_stacks([f], classes).stacks for f in (exported, tmp_path / "again", tmp_path / "other"))
    assert [s.annotations for s in here] == [s.annotations for s in again]
    for one, two, three in zip(here, again, other, strict=True):
        np.testing.assert_array_equal(read_stack(one), read_stack(two))
        assert (read_stack(one) != read_stack(three)).any()


def test_an_instrument_that_is_not_emulated_and_an_unknown_slide_are_refused(tmp_path: Path) -> None:
    config = emulated_stacks.night(frame_px=384, planes=3)
    real = config.model_copy(update={"instrument": config.instrument.model_copy(update={"emulation": None})})
    with pytest.raises(Refused, match=r"instrument\.emulation is missing"):
        export.export(real, tmp_path, [1], 1)
    with pytest.raises(Refused, match="no position 9"):
        export.export(config, tmp_path, [1, 9], 1)


@pytest.mark.slow
def test_training_ends_with_weights_that_load_and_a_card_that_tells_how(exported: Path, tmp_path: Path) -> None:
    into, told = tmp_path / "weights" / "tiny.safetensors", list[Progress]()
    settings = TrainingSettings(steps=3, batch=2, crop_px=128, held_out=0.5, seed=5, threads=1)
    card = learn.train(find_stacks([exported], CLASSES), into, settings, FocusSettings(), "lamelle train", told.append)
    assert card.sha256 == find_weights(into).sha256
    assert {*card.trained_on, *card.held_out} == {"seed 77 slide 2", "seed 77 slide 5"}
    assert not set(card.trained_on) & set(card.held_out)
    assert [f.mode for f in card.figures] == ["fused", "planes"]
    assert card.figures[0].fields == 2
    assert msgspec.json.decode(into.with_suffix(".json").read_bytes(), type=learn.TrainingCard).sha256 == card.sha256
    assert card.sha256 in into.with_suffix(".md").read_text(encoding="utf-8")
    training = [p for p in told if p.stage == "training"]
    assert [p.done for p in training] == [1, 2, 3]
    assert training[-1].seconds_left == 0
    assert all(p.loss is not None and np.isfinite(p.loss) for p in training)


def trained(exported: Path, into: Path, stop_at: int = 0, **changes: object) -> learn.TrainingCard:
    """Train four steps, judged after each; interrupted while a step is told, if asked for."""

    def report(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == stop_at:
            raise KeyboardInterrupt

    usual = TrainingSettings(steps=4, batch=1, crop_px=128, held_out=0.5, seed=5, threads=1, judgements=4)
    settings = replace(usual, **changes)  # type: ignore[arg-type]
    return learn.train(find_stacks([exported], CLASSES), into, settings, FocusSettings(), "", report)


def assert_same_tensors(one: Path, two: Path) -> None:
    left, right = (safetensors.numpy.load_file(path) for path in (one, two))
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.long
@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_weights(exported: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    straight = trained(exported, whole)
    with pytest.raises(KeyboardInterrupt):
        trained(exported, parts, stop_at=3)
    assert parts.with_suffix(".checkpoint").is_file()
    page = parts.with_suffix(".training.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page
    assert "step 2 of 4," in page
    with pytest.raises(
        WeightsRefused, match=r"parts\.checkpoint' belongs to another training \(.*; seed 5, now 6\); repeat"
    ):
        trained(exported, parts, seed=6)
    resumed = trained(exported, parts)
    assert_same_tensors(whole, parts)
    assert resumed.judged == straight.judged
    assert [step for step, _ in resumed.judged] == [1, 2, 3, 4]
    page = parts.with_suffix(".training.html").read_text(encoding="utf-8")
    assert "step 4 of 4, ended" in page
    assert "refresh" not in page
    assert page.count("<tr><td>") == 4
    assert not parts.with_suffix(".checkpoint").exists()


def test_a_damaged_checkpoint_is_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "w.checkpoint").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsRefused, match=r"w\.checkpoint' cannot be read .* delete it"):
        trained(exported, tmp_path / "w.safetensors")


@pytest.mark.slow
def test_the_split_lies_beside_the_weights_and_keeps_evaluation_honest(exported: Path, tmp_path: Path) -> None:
    into, data = tmp_path / "w.safetensors", find_stacks([exported], CLASSES)
    card = trained(exported, into, steps=1, judgements=1)
    split = read_split(into)
    assert split is not None
    assert card.split_sha256 == sha256_of(into.with_suffix(".split.json"))
    assert ({m.source for m in split.trained}, {m.source for m in split.held_out}) == (
        set(card.trained_on),
        set(card.held_out),
    )
    with pytest.raises(AnnotationError, match=r"were trained on 2 of these 4 pictures; .* --unseen"):
        learn.unseen(data, into, lambda _: None, only=False)
    left = learn.unseen(data, into, lambda _: None, only=True).stacks
    assert [one.picture.source for one in left] == list(card.held_out) * 2
    only_trained = data._replace(stacks=[one for one in data.stacks if one.picture.source in card.trained_on])
    with pytest.raises(AnnotationError, match="2 of these 2 pictures; judge by others"):
        learn.unseen(only_trained, into, lambda _: None, only=True)
    into.with_suffix(".split.json").unlink()
    assert learn.unseen(data, into, lambda _: None, only=False) == (data.stacks, [])


@pytest.mark.slow
def test_what_a_person_gives_to_judge_by_is_what_judges(exported: Path, tmp_path: Path) -> None:
    data, into = find_stacks([exported], CLASSES), tmp_path / "w.safetensors"
    slides = [data._replace(stacks=data.stacks[:2]), data._replace(stacks=data.stacks[2:])]
    settings = TrainingSettings(steps=1, batch=1, crop_px=128, threads=1, judgements=1)
    card = learn.train(slides[0], into, settings, FocusSettings(), "", lambda _: None, slides[1])
    assert (card.trained_on, card.held_out) == (("seed 77 slide 2",), ("seed 77 slide 5",))
    with pytest.raises(AnnotationError, match="2 pictures that train also judge"):
        learn.train(data, tmp_path / "no.safetensors", settings, FocusSettings(), "", lambda _: None, slides[0])
    assert not list(tmp_path.glob("no*"))


@pytest.mark.slow
def test_training_from_weights_shows_their_mistakes_and_keeps_their_normalisation(
    exported: Path, tmp_path: Path
) -> None:
    start, into, told = find_weights("slim").path, tmp_path / "w.safetensors", set[str]()
    settings = TrainingSettings(steps=2, batch=1, crop_px=128, held_out=0.5, threads=1, judgements=1, start=start)
    data = find_stacks([exported], CLASSES)
    learn.train(data, into, settings, FocusSettings(), "", lambda progress: told.add(progress.stage))
    assert "mistakes" in told
    before, after = safetensors.numpy.load_file(start), safetensors.numpy.load_file(into)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert not [name for name in changed if "running" in name]
    assert [name for name in changed if name.endswith("weight")]


@pytest.mark.slow
def test_subsets_say_what_trains_and_weights_for_other_classes_begin_it_and_both_is_told(
    exported: Path, tmp_path: Path
) -> None:
    start, into, told = find_weights("slim").path, tmp_path / "w.safetensors", list[str]()
    settings = TrainingSettings(
        classes=("fossil",), steps=1, batch=1, crop_px=128, threads=1, judgements=1, rate=1e-6, start=start
    )
    data = find_stacks([exported], ("fossil",), one_class=True)
    stacks = [
        replace(stack, picture=msgspec.structs.replace(stack.picture, subset=subset))
        for stack, subset in zip(data.stacks, ("train", "Test", "Validation", "Validation"), strict=True)
    ]
    annotated = data._replace(stacks=stacks)
    card = learn.train(annotated, into, settings, FocusSettings(), "", lambda _: None, print_line=told.append)
    others = ", ".join(CLASSES)
    sentences = (
        "of the pictures 1 train and 2 judge, as their subsets are named; 1 of a test do neither",
        f"the weights to start from are for {others}: all but their last layer is kept, that begins anew",
    )
    assert tuple(told[:2]) == card.problems == sentences
    assert all(sentence in into.with_suffix(".md").read_text("utf-8") for sentence in sentences)
    assert (card.trained_on, card.held_out) == (("seed 77 slide 2",), ("seed 77 slide 5",))
    split = read_split(into)
    assert split is not None
    assert [one.file_name for one in split.trained] == [stacks[0].picture.place]
    before, after = safetensors.numpy.load_file(start), safetensors.numpy.load_file(into)
    for name, tensor in before.items():
        if name.startswith("roi_heads.box_predictor."):
            assert after[name].shape[0] == tensor.shape[0] // 6 * 2
        else:
            np.testing.assert_allclose(after[name], tensor, atol=1e-2, err_msg=name)


class Kept:
    """Remembers what a training kept."""

    def __init__(self) -> None:
        self.checkpoints: list[bytes] = []
        self.best: list[bytes] = []

    def checkpoint(self, content: bytes) -> None:
        self.checkpoints.append(content)

    def weights(self, content: bytes) -> None:
        self.best.append(content)

    def judged(self, history: History) -> None:
        assert len(history.judged) == len(self.checkpoints) + 1


@pytest.mark.slow
def test_training_stops_when_nothing_gets_better_and_keeps_the_best(exported: Path) -> None:
    verdicts = iter([0.2, 0.5, 0.4, 0.3, 0.9])
    settings = TrainingSettings(steps=5, batch=1, crop_px=128, threads=1, judgements=5, patience=2)
    stacks, kept, asked = find_stacks([exported], CLASSES).stacks, Kept(), list[bytes]()

    def judge(weights: bytes) -> float:
        asked.append(weights)
        return next(verdicts)

    history = train(stacks, settings, FocusSettings(), lambda _: None, judge, kept)
    assert history.judged == [(1, 0.2), (2, 0.5), (3, 0.4), (4, 0.3)]
    assert kept.best == asked[:2]
    assert len(kept.checkpoints) == 4
    name, decay = "rpn.head.cls_logits.weight", 1 - 1 / (AVERAGED_SHARE * 5 + 1)
    steps = [safetensors.numpy.load(content)[f"model.{name}"] for content in kept.checkpoints]
    mean = steps[0]
    for step, weights in zip(steps, asked, strict=True):
        mean = decay * mean + (1 - decay) * step
        np.testing.assert_allclose(safetensors.numpy.load(weights)[name], mean, rtol=1e-3, atol=1e-6)
    assert np.abs(mean - steps[-1]).max() > 1e-5


def test_no_card_replaces_another_file(exported: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "boxes.json"
    annotations.write_bytes(b"{}")
    with pytest.raises(Refused, match=r"would replace '.*boxes\.json'"):
        trained(exported, annotations.with_suffix(".safetensors"))
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.json"]


def test_nothing_to_hold_out_is_refused(tmp_path: Path) -> None:
    export.export(emulated_stacks.night(frame_px=128, planes=3, seed=3), tmp_path, slides=[1], fields=1)
    with pytest.raises(AnnotationError, match="1 slide or source picture is annotated"):
        learn.train(
            find_stacks([tmp_path], CLASSES),
            tmp_path / "w.safetensors",
            TrainingSettings(),
            FocusSettings(),
            "",
            lambda _: None,
        )
