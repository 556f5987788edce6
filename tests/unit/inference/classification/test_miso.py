"""A classifier in the laboratory's format, run as its own programs run it: by nothing but its folder."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from inference.classification.classifier import Classifier
from inference.classification.miso import INFO, MODEL, information, write_model
from inference.classification.sight import ClassifierSight
from inference.classification.specimens import picture
from inference.classifier_training.learning import Learnt, learn
from inference.classifier_training.settings import LearningSettings
from inference.errors import RuntimeRefused
from tests.support.drawn_specimens import SHAPES, Silent, drawn_picture, examples, grey

SIGHT = ClassifierSight("picture", 32, sized=False)


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    taught = examples(drawn_picture, 20)
    settings = LearningSettings("small", SIGHT, epochs=3, batch=12, judgements=2, threads=1)
    return learn(taught, [one.day for one in taught], settings, {}, lambda _: None, Silent())[0]


@pytest.fixture(scope="module")
def folder(learnt: Learnt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("miso")
    write_model(made / MODEL, learnt.encoder, learnt.fitted.head)
    day = datetime.date(2026, 5, 1)
    counts = dict.fromkeys(SHAPES, 20)
    (made / INFO).write_bytes(information(learnt.encoder, learnt.fitted.head, "shapes", counts, {}, "drawings", day))
    return made


class TheirRunner:
    """What the laboratory's runner does with a folder, written from the rules of its format."""

    def __init__(self, folder: Path) -> None:
        network = ET.parse(folder / "network_info.xml").getroot()
        assert network.attrib["version"] == "2.1"
        seen = network.find("inputs/input")
        assert seen is not None
        self.side, self.channels = int(seen.findtext("height", "")), int(seen.findtext("channels", ""))
        self.labels = [label.findtext("code", "") for label in network.findall("labels/label")]
        protobuf = network.findtext("protobuf", "")
        self.session = onnxruntime.InferenceSession(folder / protobuf, providers=["CPUExecutionProvider"])

    def classify(self, image: NDArray[np.uint8]) -> tuple[str, NDArray[np.float32]]:
        height, width = image.shape
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        side = max(height, width)
        square = np.full((side, side), np.median(border), np.float32)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = image
        resized = cv2.resize(square / 255, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        (given,) = self.session.get_inputs()
        assert given.shape[1] == self.channels
        (said,) = self.session.run(None, {given.name: resized[None, None]})
        return self.labels[int(np.argmax(said[0]))], said[0]


@pytest.mark.long
def test_their_runner_names_as_lamelle_does(learnt: Learnt, folder: Path, tmp_path: Path) -> None:
    runner = TheirRunner(folder)
    random = np.random.default_rng(0)
    images = [
        grey(SHAPES[k % 3], 1000 + k, (int(random.integers(9, 64)), int(random.integers(9, 64)))) for k in range(300)
    ]
    classifier = Classifier(learnt.encoder, learnt.fitted.head, kept_in=tmp_path)
    named = classifier.name([picture(image) for image in images])
    kept = np.stack([one.features for one in named if one.features is not None])
    probabilities = classifier.head.probabilities(kept)
    theirs = [runner.classify(image) for image in images]
    same = [one.answer is not None and one.answer.best == label for one, (label, _) in zip(named, theirs, strict=True)]
    assert np.mean(same) >= 0.995
    assert np.abs(probabilities - np.stack([said for _, said in theirs])).max() <= 0.02


@pytest.mark.long
def test_what_the_format_cannot_hold_is_refused(learnt: Learnt, tmp_path: Path) -> None:
    sized = replace(learnt.encoder, sight=replace(SIGHT, sized=True))
    with pytest.raises(RuntimeRefused, match="was told the sizes of objects"):
        write_model(tmp_path / MODEL, sized, replace(learnt.fitted.head, encoder_sha256=sized.sha256))
    stacks = replace(learnt.encoder, sight=ClassifierSight("stack", 32))
    with pytest.raises(RuntimeRefused, match="looks at stacks"):
        write_model(tmp_path / MODEL, stacks, replace(learnt.fitted.head, encoder_sha256=stacks.sha256))
    assert not list(tmp_path.iterdir())
