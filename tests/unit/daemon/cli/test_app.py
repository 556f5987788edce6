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
    ("command", "endings"),
    [
        (["train", "DATA", "--into", "kept.json"], ".safetensors"),
        (["evaluate", "DATA", "--page", "kept.safetensors"], ".html"),
        (["export", "--into", "kept.html"], ".onnx"),
        (["inspect", "DATA", "--sheet", "kept.json"], ".png"),
        (["report", "DATA", "--into", "kept.png"], ".html or .pdf"),
        (["report", "DATA", "--into", "folder.pdf"], ".html or .pdf"),
        (["propose", "DATA", "--into", "kept.png"], ".zip or .xml or .json"),
    ],
)
def test_no_file_of_another_kind_is_written_over(command: list[str], endings: str, tmp_path: Path) -> None:
    *words, option, name = command
    for kept in ("kept.json", "kept.safetensors", "kept.html", "kept.png"):
        (tmp_path / kept).write_bytes(b"kept")
    (tmp_path / "folder.pdf").mkdir()
    before = sorted(tmp_path.iterdir())
    # Nothing lies at DATA: whoever looked there first would say so.
    with pytest.raises(Refused) as refused:
        CliRunner().invoke(app, [*words, option, str(tmp_path / name)], catch_exceptions=False)
    told = f"{option} {str(tmp_path / name)!r} is not a file that ends in {endings}; name one that does"
    assert str(refused.value) == told
    assert sorted(tmp_path.iterdir()) == before
    assert all(path.read_bytes() == b"kept" for path in before if path.is_file())


def test_a_file_where_a_folder_is_to_be_is_kept(tmp_path: Path) -> None:
    make_kept_night(tmp_path / "night")
    (tmp_path / "coco.json").write_bytes(b"kept")
    for command in ("plot", "measure"):
        words = [command, str(tmp_path / "night"), "--into", str(tmp_path / "coco.json")]
        with pytest.raises(Refused, match=r"coco\.json cannot be written \(Not a directory\); name another place"):
            CliRunner().invoke(app, words, catch_exceptions=False)
    assert (tmp_path / "coco.json").read_bytes() == b"kept"


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


@pytest.mark.parametrize(
    "option", [["--rule", "even"], ["--rule", "plain"], ["--taxonomy", "taxonomy.csv"]], ids=lambda option: option[-1]
)
def test_what_says_how_to_name_is_refused_where_nothing_names(option: list[str], tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"^{option[0]} is of no use without a classifier; name one with --classifier"):
        CliRunner().invoke(
            app, ["detect", "images", "--into", str(tmp_path / "found"), *option], catch_exceptions=False
        )
    assert not (tmp_path / "found").exists()
