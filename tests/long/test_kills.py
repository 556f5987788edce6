"""Every process of a night killed at every named point, once each; tests/nights/test_night.py tries a few of them."""

from __future__ import annotations

import subprocess
import sys

from tests.support.places import ROOT


def test_every_kill_is_resumed_to_the_same_night() -> None:
    command = [sys.executable, "-m", "benchmarks.kills", "--times", "1"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    assert done.returncode == 0
