"""What a classifier's library looked like is kept once a night, and not with the features of each field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from daemon.analysis.naming import Naming, recorded
from daemon.dataset.features import features_bytes
from daemon.dataset.field_file import read_field_file
from inference.classification import encoder_file
from inference.classification.head import load_head
from inference.classification.reference import reference_of
from inference.settings import ClassifierSettings
from tests.support.small_classifier import write_classifier
from tests.support.small_dataset import make_dataset


def test_the_reference_of_a_head_is_recorded_once_and_makes_no_field_larger(tmp_path: Path) -> None:
    weights = tmp_path / "names.safetensors"
    head = write_classifier(weights)
    groups = np.repeat(np.arange(6), 30)
    vectors = np.random.default_rng(0).normal(size=(len(groups), len(head.weights))).astype(np.float16)
    names, folds = [str(group) for group in groups], [groups % 3 == fold for fold in range(3)]
    known = reference_of(vectors, np.zeros(len(vectors), np.intp), names, folds)
    weights.write_bytes(encoder_file.to_bytes(encoder_file.load_encoder(weights), head.with_reference(known)))
    (field,) = make_dataset(tmp_path / "night", slides=1, fields=1, objects=2)
    with read_field_file(tmp_path / "night" / field.files[0].name) as file:
        crops = [file.crop(row) for row in file.objects]
        named = Naming.open(ClassifierSettings(weights=weights), None, 1).name(file.objects, crops, file.provenance)
    assert named.features is not None
    text = known.to_text()
    assert json.loads(text)["spread"].encode() not in features_bytes(named.features)
    kept = recorded(load_head(weights))
    assert (kept["named_by"], kept["encoder"]) == (load_head(weights).sha256, named.features.encoder)
    assert kept["reference"] == text
    assert recorded(head)["reference"] == recorded(None)["named_by"] == ""
