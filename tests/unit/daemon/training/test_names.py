"""A classifier made for people: its file, its card, what is refused, and what an interruption costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from daemon.system.errors import Refused
from daemon.training.export_names import export_names, read_card
from daemon.training.lock import only_training
from daemon.training.names import train_names
from daemon.training.names_card import NamesCard
from inference.classification.encoder_file import load_encoder
from inference.classification.head import load_head
from inference.classification.sight import ClassifierSight
from inference.classification.specimens import Example
from inference.classifier_training.settings import LearningSettings
from tests.support.deadlines import NIGHT_S
from tests.support.drawn_specimens import SHAPES, drawn_picture, examples
from tests.support.places import ROOT
from tests.support.small_night import until

SETTINGS = LearningSettings(
    "small", ClassifierSight("picture", 32, sized=False), epochs=3, batch=12, judgements=3, threads=1
)


def sides(each: int = 24) -> tuple[list[Example], list[Example]]:
    """Give what teaches and what judges, on other days."""
    all_of_them = examples(drawn_picture, each)
    last = max(one.day for one in all_of_them)
    return [one for one in all_of_them if one.day != last], [one for one in all_of_them if one.day == last]


def train(into: Path, learning: list[Example], judging: list[Example]) -> NamesCard:
    return train_names(learning, judging, into, SETTINGS, {}, "day", "drawings", "train", lambda _: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("trained") / "shapes.safetensors"
    learning, judging = sides()
    few = [replace(one, key=f"{one.key} rare", sha256=f"{k}", taxon="rare") for k, one in enumerate(learning[:9])]
    train(into, learning + few, judging)
    return into


@pytest.mark.slow
def test_the_card_tells_what_was_learnt_and_how_good_it_is(trained: Path) -> None:
    card = read_card(trained)
    learning, judging = sides()
    assert card.learnt == dict.fromkeys(sorted(SHAPES), len(learning) // 3)
    assert card.not_known == {"rare": 9}
    assert {one.objects for one in card.held_out} == {len(judging)}
    assert card.held_out[0].accuracy >= 0.8
    assert [one.labels for one in card.few_labels] == [5, 10, 20, 50]
    assert card.sha256 != card.encoder_sha256
    assert card.encoder_sha256 == load_encoder(trained).sha256 == load_head(trained).encoder_sha256
    text = trained.with_suffix(".md").read_text("utf-8")
    assert "rare (9)" in text
    assert "A random split flatters by" in text
    assert not trained.with_suffix(".checkpoint").exists()
    assert "probability of what is right" in trained.with_suffix(".training.html").read_text("utf-8")


@pytest.mark.long
def test_the_head_tells_what_its_library_looked_like(trained: Path) -> None:
    head = load_head(trained)
    assert head.reference is not None
    # What is not known has no mean.
    assert head.reference.means.shape == (len(head.taxa), len(head.weights))


def test_the_laboratorys_folder_is_written_from_classifier_and_card(trained: Path, tmp_path: Path) -> None:
    export_names(trained, tmp_path / "miso")
    assert sorted(path.name for path in (tmp_path / "miso").iterdir()) == ["model.onnx", "network_info.xml"]
    xml = (tmp_path / "miso" / "network_info.xml").read_text("utf-8")
    assert all(f"<code>{shape}</code>" in xml for shape in SHAPES)
    other = tmp_path / "other.safetensors"
    other.write_bytes(trained.read_bytes())
    with pytest.raises(Refused, match=r"other\.json.*cannot be read"):
        export_names(other, tmp_path / "no")
    card = msgspec.structs.replace(read_card(trained), head_sha256="0" * 64)
    other.with_suffix(".json").write_bytes(msgspec.json.encode(card))
    with pytest.raises(Refused, match="is of another classifier"):
        export_names(other, tmp_path / "no")


def test_what_would_teach_and_judge_is_refused(tmp_path: Path) -> None:
    learning, judging = sides(4)
    for leak, said in (
        (replace(judging[0], day=learning[0].day), "day '2026-05-01' is both"),
        (replace(judging[0], sha256=learning[0].sha256), "sha256 '.*' is both"),
        (replace(judging[0], key=learning[0].key), "key 'ring 0' is both"),
    ):
        with pytest.raises(Refused, match=said):
            train(tmp_path / "names.safetensors", learning, [*judging, leak])
    assert not list(tmp_path.iterdir())


def test_a_card_is_not_written_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(Refused, match=r"labels\.json"):
        train(tmp_path / "labels.safetensors", *sides(4))


def test_a_second_training_beside_one_that_runs_is_refused(tmp_path: Path) -> None:
    into = tmp_path / "names.safetensors"
    with only_training(into), pytest.raises(Refused, match=r"another training writes '.*names\.safetensors'; wait"):
        train(into, *sides(4))
    assert [path.name for path in tmp_path.iterdir()] == ["names.lock"]


@pytest.mark.long
def test_a_training_that_was_killed_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    into = tmp_path / "killed.safetensors"
    command = [sys.executable, "-m", "tests.support.train_shapes", str(into)]
    killed = subprocess.Popen(command, cwd=ROOT)
    checkpoint = into.with_suffix(".checkpoint")
    until(lambda: checkpoint.exists() or killed.poll() is not None, "a checkpoint is written", NIGHT_S)
    killed.kill()
    killed.wait()
    assert checkpoint.exists()
    assert not into.exists()
    subprocess.run(command, cwd=ROOT, check=True)
    whole = tmp_path / "whole.safetensors"
    subprocess.run([*command[:-1], str(whole)], cwd=ROOT, check=True)
    for name, value in load_encoder(whole).tensors.items():
        np.testing.assert_array_equal(load_encoder(into).tensors[name], value, name)
