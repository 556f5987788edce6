"""The examples, and the first lines of docs/python.md, on the undisturbed night."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from daemon.dataset.reader import Dataset
from daemon.report.gather import gather
from daemon.report.numbers import NightNumbers
from tests.support.emulated_night import Digest
from tests.support.places import ROOT


@pytest.fixture(scope="module")
def run(undisturbed: tuple[Path, Digest]) -> Path:
    return undisturbed[0]


@pytest.fixture(scope="module")
def numbers(run: Path) -> NightNumbers:
    with Dataset.open(run) as dataset:
        return gather(dataset)[0]


Example = Callable[..., str]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Example:
    """Run an example as `python examples/NAME.py WORDS...` does, and give what it said."""

    def run_it(name: str, *words: str | Path) -> str:
        path = str(ROOT / "examples" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, words)])
        runpy.run_path(path, run_name="__main__")
        sys.stdout.flush()
        return capfdbinary.readouterr().out.decode()

    return run_it


def test_counts_per_sample(run: Path, numbers: NightNumbers, example: Example) -> None:
    lines = example("counts_per_sample", run).splitlines()
    assert [line.partition(" objects")[0] for line in lines] == [
        f"{slide.sample}: {slide.total.number}" for slide in numbers.slides
    ]


def test_lengths_of_a_class(run: Path, numbers: NightNumbers, example: Example) -> None:
    rows = list(csv.DictReader(io.StringIO(example("lengths_of_a_class", run))))
    (coccoliths,) = (kind.count.number for kind in numbers.kinds if kind.name == "coccolith")
    assert 0 < sum(int(row["objects"]) for row in rows) <= coccoliths


def test_through_focus(run: Path, tmp_path: Path, example: Example) -> None:
    assert "crossed | parallel" in example("through_focus", run, tmp_path / "best.gif")
    with Image.open(tmp_path / "best.gif") as picture:
        assert picture.n_frames == 9


def test_detector_on_an_array(run: Path, example: Example) -> None:
    first, *found = example("detector_on_an_array", run).splitlines()
    assert "uint16, recorded as" in first
    assert all(re.fullmatch(r"\w+ [01]\.\d\d at \[\d+, \d+, \d+, \d+\]", line) for line in found)
    assert found


def test_nights_side_by_side(run: Path, numbers: NightNumbers, example: Example) -> None:
    rows = list(csv.DictReader(io.StringIO(example("nights_side_by_side", run))))
    assert [(row["night"], int(row["objects"])) for row in rows] == [
        (numbers.started.night, slide.total.number) for slide in numbers.slides
    ]


def test_the_first_lines_of_the_document_count_what_the_report_counts(run: Path, numbers: NightNumbers) -> None:
    text = (ROOT / "docs" / "python.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.strip().splitlines()) <= 5
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code.replace("runs/2026-03-14", str(run)), {})
    assert [line.split()[1] for line in said.getvalue().splitlines()] == [
        str(slide.total.number) for slide in numbers.slides
    ]
