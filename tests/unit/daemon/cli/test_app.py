"""The command line as a whole: its version, and consoles that cannot show every letter."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.app import app, main
from daemon.system.errors import Refused
from tests.support.configuration_files import write
from tests.support.deadlines import END_S
from tests.support.kept_night import make_kept_night
from tests.support.places import ROOT
from tests.support.small_disk import fill, small_disk


def test_the_version_is_told_without_a_command() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"lamelle {version('lamelle')}\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_what_a_console_cannot_show_is_replaced(encoding: str, tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    sheet.write_text("position,sample\n1,δ18O β 有孔虫\n", encoding="utf-8")
    slide = {"position": 1, "centre_um": [15000, 20000], "size_um": [10000, 10000], "z_um": 0,
             "z_window_um": {"low": -60, "high": 60}}  # fmt: skip
    config = write(tmp_path, {"scan.samples": str(sheet), "scan.slides": [slide]})
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "check", str(config)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
        timeout=END_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding)
    assert "18O" in shown
    assert "???" in shown


@pytest.mark.parametrize("command", [["inspect", "--sheet", "sheet.png"], ["propose", "--into", "task.zip"]])
def test_a_command_for_which_the_disk_has_no_room_says_so_in_one_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_kept_night(tmp_path / "night")
    name, option, place = command
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill(disk)
        monkeypatch.setattr(sys, "argv", ["lamelle", name, str(tmp_path / "night"), option, str(disk / place)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert [path.name for path in disk.iterdir()] == ["filler"]
    assert ended.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"lamelle: {disk / place} cannot be used (No space left on device); ")


@pytest.mark.parametrize(
    "command",
    [
        ["train", "data", "--into", "weights.safetensors"],
        ["evaluate", "data"],
        ["detect", "images", "--into", "found"],
        ["analyse", "night", "--into", "found"],
        ["export", "--into", "detector.onnx"],
        ["engine", "build"],
    ],
)
@pytest.mark.parametrize(
    ("second", "how"), [("spore", "twice"), ("Spore", "beside 'spore', which differs in case alone")]
)
def test_classes_that_cannot_be_told_apart_are_refused(command: list[str], second: str, how: str) -> None:
    with pytest.raises(Refused) as refused:
        CliRunner().invoke(app, [*command, "--class", "spore", "--class", second], catch_exceptions=False)
    assert str(refused.value) == f"--class: class {second!r} is named {how}; name each class once"
