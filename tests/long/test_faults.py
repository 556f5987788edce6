"""Every fault of the list, for 1 s, for 30 s, for good and over the bridge; docs/faults.md says what became of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT


def test_every_fault_is_met_as_promised_and_as_the_page_says(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    command = [sys.executable, "-m", "benchmarks.faults", "--write", str(page)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    assert done.returncode == 0
    assert page.read_text(encoding="utf-8") == (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
