"""The suite holds on a computer that has as much else to do as it has cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.busy import busy
from tests.support.places import ROOT


@pytest.mark.parametrize("part", ["not night and not browser and not long", "night", "browser"])
def test_the_suite_holds_beside_busy_loops(part: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-m", part, f"--basetemp={tmp_path / 'tests'}"]
    with busy(os.cpu_count() or 2):
        done = subprocess.run(command, cwd=ROOT, check=False)
    assert done.returncode == 0
