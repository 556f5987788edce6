"""Checkpoints of trainings: whatever a file says, it is taken for what it is or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from inference.errors import WeightsRefused
from inference.training.checkpoint import History, TrainingIdentity, read_checkpoint

IDENTITY = TrainingIdentity("abc", {"seed": "1"})
HISTORY: dict[str, Any] = {"step": 40, "loss": 0.5, "losses": [[20, 0.7], [40, 0.5]], "judged": [[40, 0.25]]}
WHOLE = {"identity": "abc", "told": '{"seed": "1"}', "history": json.dumps(HISTORY)}


def without(said: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != name}


def written(path: Path, metadata: dict[str, str] | None) -> Path:
    path.write_bytes(safetensors.torch.save({"model.weight": torch.zeros(2)}, metadata))
    return path


def test_what_became_of_a_training_is_read(tmp_path: Path) -> None:
    found = read_checkpoint(written(tmp_path / "w.checkpoint", WHOLE), IDENTITY)
    assert found is not None
    assert found.history == History(40, 0.5, [(20, 0.7), (40, 0.5)], [(40, 0.25)])
    assert list(found.tensors) == ["model.weight"]


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param(None, id="nothing is said"),
        *(pytest.param(without(WHOLE, name), id=f"no {name}") for name in ("identity", "history")),
        *(pytest.param(WHOLE | {"history": json.dumps(without(HISTORY, name))}, id=f"no {name}") for name in HISTORY),
        pytest.param(WHOLE | {"history": "[1, 2]"}, id="a history that is a list"),
        pytest.param(WHOLE | {"history": json.dumps(HISTORY | {"losses": 3})}, id="losses that are none"),
        pytest.param(WHOLE | {"history": json.dumps(HISTORY | {"step": None})}, id="no number of steps"),
        pytest.param(WHOLE | {"identity": "another", "told": "[1, 2]"}, id="what is told is a list"),
        pytest.param(WHOLE | {"told": "{"}, id="what is told is cut off"),
    ],
)
def test_a_checkpoint_that_does_not_say_all_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = written(tmp_path / "w.checkpoint", metadata)
    with pytest.raises(WeightsRefused, match=r"w\.checkpoint' cannot be read \(.+\); delete it to start over"):
        read_checkpoint(path, IDENTITY)
