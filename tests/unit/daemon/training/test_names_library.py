"""From a library to a classifier and its figures, by the commands that a person types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.library.split import read_split
from daemon.system.errors import Refused
from tests.support.class_folders import class_folders

RUN = CliRunner()


def run(*words: str | Path) -> str:
    result = RUN.invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.long
def test_a_library_is_learnt_and_judged_apart_by_day(tmp_path: Path) -> None:
    library, weights, page = tmp_path / "library", tmp_path / "names.safetensors", tmp_path / "names.html"
    source = class_folders(tmp_path / "set", {"a": 40, "b": 40})
    run("library", "build", library, source, "--names", "{class}/{day}-*")
    told = run(
        "train-names",
        library,
        "--into",
        weights,
        "--by",
        "day",
        "--network",
        "small",
        "--epochs",
        "1",
        "--threads",
        "1",
    )
    assert "each day new" in told
    (recorded,) = (library / "splits").glob("day-1-*.json")
    split = read_split(recorded)
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["split_sha256"] == split.sha256
    assert sum(card["learnt"].values()) == len(split.keys["learn"])
    evaluated = json.loads(run("evaluate-names", library, "--weights", weights, "--split", recorded, "--page", page))
    assert evaluated["judged"][0]["objects"] == len(split.keys["judge"])
    assert evaluated["notes"] == []
    assert evaluated["at_random"] is not None
    assert "Surest mistakes" in page.read_text(encoding="utf-8")
    with pytest.raises(
        Refused, match=rf"learnt from {len(split.keys['learn'])} of these 80 specimens; judge it by oth"
    ):
        run("evaluate-names", library, "--weights", weights)
    further, go_on = tmp_path / "further.safetensors", ("--network", "small", "--epochs", "1", "--start", weights)
    run("train-names", library, "--into", further, "--split", recorded, *go_on)
    went_on = json.loads(further.with_suffix(".json").read_text(encoding="utf-8"))
    assert went_on["started_from"] == card["encoder_sha256"]
    assert f"went on from that of encoder `{card['encoder_sha256'][:12]}`" in further.with_suffix(".md").read_text()
    with pytest.raises(Refused, match=r"names\.safetensors learnt from \d+ of these \d+ specimens"):
        run("train-names", library, "--into", further, "--by", "day", "--seed", "2", *go_on)
    with pytest.raises(Refused, match="--start goes with --network small"):
        run("train-names", library, "--into", further, "--split", recorded, "--start", weights)
    (source / "a" / "2016-04-01-0.png").unlink()
    run("library", "build", library, source, "--names", "{class}/{day}-*")
    with pytest.raises(Refused, match=r"leaks: .* is no longer in the library"):
        run("evaluate-names", library, "--weights", weights, "--split", recorded)
