"""What a light installation can do, and how it says what it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.system.extras import EXTRAS, ExtraMissing, explained, require
from tests.support.deadlines import NIGHT_S
from tests.support.places import CONFIGS
from tests.support.small_dataset import make_dataset

ABSENT = sorted({name for extra, names in EXTRAS.items() for name in names if extra != "pandas"})
"""pyarrow looks for pandas by itself, and does not take None for an answer."""
LIGHT_INSTALLATION = f"""
import json, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
from daemon.cli.app import main
ends = []
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        ends.append(end.code)
    print(file=sys.stderr)
print(json.dumps(ends))
"""


def run_light(commands: list[list[str]]) -> tuple[list[int], list[str]]:
    """Run commands one after the other where no extra is installed: exit statuses, and what each said as its error."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT_INSTALLATION, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=NIGHT_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr.split("\n\n")


@pytest.mark.slow
def test_a_light_installation_reads_measures_and_reports(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    make_dataset(dataset, slides=1, fields=1)
    commands = [
        ["--help"],
        ["inspect", str(dataset)],
        ["measure", str(dataset)],
        ["report", str(dataset)],
        ["extract", str(dataset), "--into", str(tmp_path / "objects")],
        ["check", str(CONFIGS / "emulated.yaml")],
    ]
    ends, _ = run_light(commands)
    assert dict(zip((words[0] for words in commands), ends, strict=True)) == {words[0]: 0 for words in commands}
    made = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()}
    assert made >= {"slide-1/measured-001.parquet", "report.html", "report.pdf"}
    assert len(list((tmp_path / "objects").rglob("*.ome.tif"))) == 2


@pytest.mark.slow
def test_a_light_installation_says_in_one_sentence_what_to_install(tmp_path: Path) -> None:
    emulated, run, weights = str(CONFIGS / "emulated.yaml"), str(tmp_path / "run"), str(tmp_path / "w.safetensors")
    dataset = tmp_path / "dataset"
    make_dataset(dataset, slides=1, fields=1)
    needs = {
        "scan": (["scan", emulated, "--run", run], "microscope,detector"),
        "demo": (["demo", "--run", run], "microscope,detector"),
        "calibrate": (["calibrate", "dark", emulated], "microscope"),
        "detect": (["detect", str(tmp_path / "made"), "--into", run, "--pixel-um", "0.1"], "detector"),
        "train": (["train", str(tmp_path), "--into", weights], "detector"),
        "evaluate": (["evaluate", str(tmp_path)], "detector"),
        "export": (["export", "--into", str(tmp_path / "x.onnx")], "detector"),
        "engine": (["engine", "list"], "detector"),
    }
    picture = tmp_path / "made" / "picture.png"
    picture.parent.mkdir()
    picture.write_bytes((CONFIGS.parent / "docs" / "images" / "sheet.png").read_bytes())
    ends, errors = run_light([words for words, _ in needs.values()])
    assert ends == [2] * len(needs)
    for (command, (_, extras)), error in zip(needs.items(), errors, strict=False):
        (sentence,) = error.strip().splitlines()
        assert sentence.endswith(f'pip install "lamelle[{extras}]"'), command
        assert sentence.startswith("lamelle: "), command
    assert not Path(run).exists()


def test_what_is_installed_is_not_asked_for() -> None:
    require("microscope", "detector")


def test_a_package_of_no_extra_is_a_fault_of_the_program() -> None:
    assert explained(ModuleNotFoundError("No module named 'nonesuch'", name="nonesuch")) is None
    told = explained(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert isinstance(told, ExtraMissing)
    with pytest.raises(ExtraMissing, match=r"torch is not installed.*lamelle\[detector\]"):
        raise told
