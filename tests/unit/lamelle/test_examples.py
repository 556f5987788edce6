"""Examples that are given nothing, or a night that has found nothing, say so in a sentence."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.small_dataset import make_dataset

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ASKS = {"densities": "TABLES"}
"""What an example asks for, where that is no dataset."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_without_an_argument_an_example_says_how_it_is_called(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(example)])
    with pytest.raises(SystemExit, match=f"python examples/{example.name} {ASKS.get(example.stem, 'DATASET')}"):
        runpy.run_path(str(example), run_name="__main__")


@pytest.mark.parametrize("name", ["detector_on_an_array", "lengths_of_a_class", "through_focus"])
def test_of_a_night_without_objects_an_example_says_so(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path, slides=1, fields=0)
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no objects; name a night that has found some"):
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_counts_of_a_mini_slide_that_was_never_searched_are_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path, slides=1, fields=0)
    monkeypatch.setattr(sys, "argv", ["counts_per_sample", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples" / "counts_per_sample.py"), run_name="__main__")
    sys.stdout.flush()
    assert "0 objects (nothing searched)" in capfd.readouterr().out
