"""The computer stays awake while a night runs: a stand-in for `systemd-inhibit`, which no container has a bus for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from daemon.system import awake
from daemon.system.awake import KeptAwake
from tests.support.deadlines import END_S
from tests.support.small_night import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows takes a power request instead")

GRANTS = 'echo "$@" > {held}\nshift 4\n"$@"\nrm {held}\n'
"""Holds while its command runs, as systemd-inhibit does."""


def inhibitor(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a systemd-inhibit first on the path; the file that is there while it holds."""
    held = folder / "held"
    program = folder / "systemd-inhibit"
    program.write_text(f"#!/bin/sh\n{script.format(held=held)}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return held


def test_sleep_is_held_off_until_it_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = inhibitor(tmp_path, GRANTS, monkeypatch)
    kept = KeptAwake(tmp_path / "monday run")
    assert kept.hold() is None
    words = held.read_text()
    assert "--what=sleep:idle:shutdown" in words
    assert f"the night in {tmp_path / 'monday run'} runs" in words
    kept.release()
    assert not held.exists()
    kept.release()


def test_whatever_ends_the_night_ends_the_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = inhibitor(tmp_path, GRANTS, monkeypatch)
    program = (
        "import sys; from pathlib import Path; from daemon.system.awake import KeptAwake; "
        "kept = KeptAwake(Path('run')); print(kept.hold(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as night:
        assert night.stdout is not None
        assert night.stdout.readline() == "None\n"
        inside = psutil.Process(night.pid).children(recursive=True)
        assert held.exists()
        night.kill()
        night.communicate()
    until(lambda: not held.exists(), "the hold ends")
    psutil.wait_procs(inside, timeout=END_S)
    assert not any(one.is_running() for one in inside)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'Failed to inhibit: Access denied' >&2\nexit 1\n", "Access denied"),
        ("exec sleep 60\n", "does not answer"),
    ],
    ids=["refused", "silent"],
)
def test_a_system_that_does_not_hold_is_told_in_words(
    script: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inhibitor(tmp_path, script, monkeypatch)
    monkeypatch.setattr(awake, "HOLD_S", 0.5)
    kept = KeptAwake(tmp_path)
    complaint = str(kept.hold())
    assert told in complaint
    assert "may go to sleep or restart" in complaint
    kept.release()


def test_a_system_without_it_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no systemd-inhibit here" in str(KeptAwake(tmp_path).hold())
