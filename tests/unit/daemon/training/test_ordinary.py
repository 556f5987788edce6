"""Nights that a person found ordinary tell how far mini-slides may lie from a library, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.dataset.features import write_later_features
from daemon.dataset.reader import Dataset
from daemon.records.records import FieldSecured
from daemon.system.errors import Refused
from daemon.training.ordinary import Ordinary, learn_ordinary
from inference.classification.head import Head, load_head
from inference.classification.reference import FEWEST, LibraryReference, reference_of
from tests.support.labelled_night import make_night

ENCODER, WIDTH, EACH = "e" * 64, 12, 40
LEAN = 1.5
"""How far all objects of a natural mini-slide lie to one side of what the library knows."""


def library() -> LibraryReference:
    """Of groups whose objects lie around their mean in all directions."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), EACH)
    vectors = random.normal(0, 1, (len(groups), WIDTH)).astype(np.float16)
    folds = [groups % 4 == fold for fold in range(4)]
    return reference_of(vectors, np.zeros(len(vectors), np.intp), [str(group) for group in groups], folds)


def classifier(folder: Path, reference: LibraryReference | None) -> Path:
    head = Head(
        taxa=("first", "second"), parents={}, not_known={}, encoder_sha256=ENCODER,
        weights=np.eye(WIDTH, 2, dtype=np.float32), bias=np.zeros(2, np.float32), temperature=1.0,
        share=np.full(2, 0.5, np.float32), threshold=0.0, reference=reference,
    )  # fmt: skip
    path = folder / "names.safetensors"
    path.write_bytes(head.to_bytes())
    return path


def night(folder: Path, number: int, lean: float, objects: int = EACH) -> Path:
    """Make a night of one mini-slide, all of whose objects lean to a side of their own."""
    made = make_night(folder / f"night-{number}", fields=1, objects=objects, night=f"night {number}")
    random = np.random.default_rng(100 + number)
    side = random.normal(0, 1, WIDTH)
    vectors = random.normal(0, 1, (objects, WIDTH)) + lean * side / np.linalg.norm(side)
    with Dataset.open(made) as dataset:
        (field,) = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
    places = [("slide-1/field-0001.ome.tif", row.number) for row in field.objects]
    write_later_features(made, 1, 1, ENCODER, dict(zip(places, vectors.astype(np.float16), strict=True)))
    return made


def vectors_like(lean: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    side = random.normal(0, 1, WIDTH)
    return (random.normal(0, 1, (EACH, WIDTH)) + lean * side / np.linalg.norm(side)).astype(np.float16)


def learn(tmp_path: Path, *nights: Path) -> tuple[Ordinary, LibraryReference]:
    into = tmp_path / "ordinary.safetensors"
    told = learn_ordinary(tmp_path / "names.safetensors", nights, into, "lamelle ordinary")
    head = load_head(into)
    assert head.reference is not None
    return told, head.reference


def test_what_is_natural_is_no_longer_told_and_what_is_stranger_still_is(tmp_path: Path) -> None:
    known = library()
    classifier(tmp_path, known)
    natural, strange = vectors_like(LEAN, 7), vectors_like(8 * LEAN, 8)
    before = known.judge(natural)
    assert before is not None
    assert before.odd
    told, reference = learn(tmp_path, *(night(tmp_path, number, LEAN) for number in range(16)))
    assert set(told.slides) == {f"night {number}/slide-1" for number in range(16)}
    assert not any(said is None or said.odd for said in told.slides.values())
    now, still = reference.judge(natural), reference.judge(strange)
    assert now is not None
    assert not now.odd
    assert still is not None
    assert still.odd
    # Names are said as before.
    old, new = (load_head(tmp_path / f"{name}.safetensors") for name in ("names", "ordinary"))
    assert old.answers(natural) == new.answers(natural)
    assert old.sha256 != new.sha256


def test_a_mini_slide_that_is_none_of_them_is_named(tmp_path: Path) -> None:
    classifier(tmp_path, library())
    nights = [night(tmp_path, number, 40.0 if number == 3 else LEAN) for number in range(16)]
    told, _ = learn(tmp_path, *nights)
    assert [name for name, said in told.slides.items() if said is not None and said.odd] == ["night 3/slide-1"]
    words = ["ordinary", *map(str, nights), "--weights", str(tmp_path / "names.safetensors"), "--into"]
    said = CliRunner().invoke(app, [*words, str(tmp_path / "again.safetensors")])
    assert said.exit_code == 0, said.output
    assert "night 3/slide-1 is unlike the others" in said.output
    assert "16 mini-slides tell what is ordinary" in said.output


def test_what_tells_too_little_is_refused(tmp_path: Path) -> None:
    weights, into = classifier(tmp_path, library()), tmp_path / "ordinary.safetensors"
    nights = [night(tmp_path, number, LEAN, FEWEST - 1 if number > 3 else EACH) for number in range(6)]
    with pytest.raises(Refused, match=r"4 mini-slides have 30 objects or more, and 5 are needed"):
        learn_ordinary(weights, nights, into, "")
    without = make_night(tmp_path / "bare", night="bare")
    with pytest.raises(Refused, match=r"bare keeps no features of encoder eeeeeeeeeeee; `lamelle classify`"):
        learn_ordinary(weights, [without], into, "")
    with pytest.raises(Refused, match="is the classifier itself"):
        learn_ordinary(weights, nights, weights, "")
    (tmp_path / "ordinary.json").write_text("{}")
    with pytest.raises(Refused, match=r"ordinary\.json"):
        learn_ordinary(weights, nights, into, "")
    (tmp_path / "ordinary.json").unlink()
    with pytest.raises(Refused, match="does not keep what its library looked like"):
        learn_ordinary(classifier(tmp_path, None), nights, into, "")
    assert not into.exists()
