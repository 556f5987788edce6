"""`lamelle export` and `lamelle engine`, as a person calls them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.system.durable_files import sha256_of
from daemon.system.errors import Refused
from inference.errors import WeightsRefused
from inference.network.weights_file import find_weights


def test_a_detector_is_written_as_one_file_that_says_what_it_is(tmp_path: Path) -> None:
    into = tmp_path / "new" / "slim.onnx"
    done = CliRunner().invoke(app, ["export", "slim", "--size", "160x192", "--into", str(into)])
    assert done.exit_code == 0, done.output
    assert sha256_of(into) in done.output
    said = {entry.key: entry.value for entry in onnx.load(into).metadata_props}
    assert (said["size"], said["batch"], said["precision"]) == ("160x192", "1", "fp32")
    assert said["weights_sha256"] == find_weights("slim").sha256
    assert list(into.parent.iterdir()) == [into]


@pytest.mark.parametrize("size", ["0", "512x", "8", "-512", "512x9000", "wide"])
def test_what_is_no_size_is_refused(size: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", f"--size={size}", "--into", str(tmp_path / "x.onnx")])
    assert isinstance(done.exception, Refused)
    assert f"--size {size!r} is not a size of views" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_weights_of_other_classes_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    words = ["export", "--class", "fossil", "--into", str(tmp_path / "x.onnx")]
    assert isinstance(CliRunner().invoke(app, words).exception, WeightsRefused)
    assert isinstance(CliRunner().invoke(app, ["engine", "build", "--class", "fossil"]).exception, WeightsRefused)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    into = tmp_path / "file" / "slim.onnx"
    done = CliRunner().invoke(app, ["export", "--size", "160x192", "--into", str(into)])
    assert isinstance(done.exception, Refused)
    assert "name another file" in str(done.exception)
