"""Run folders of lamelle 0.1.0, as it left them: one complete, one that the system ended while a person paused it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.places import ROOT

FIXTURES = ROOT / "tests" / "fixtures" / "0.1.0"
HOME = "/srv/lamelle"
"""Where they lay."""
ANNA = "lab 2: anna"
"""Who gave the orders; 0.1.0 knew her as `lab 2` after a crash."""


def copy_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Copy a run folder; give it, and a configuration to go on with it here, as fast as the computer allows."""
    run = folder / "run"
    shutil.copytree(FIXTURES / name, run)
    for file in ("emulated.cfg", "samples.csv"):
        shutil.copy(FIXTURES / file, folder / file)
    frozen = run / "run.yaml"
    settings = frozen.read_text("utf-8").replace(HOME, str(folder))
    # An engine for frames of this size would have to be made first.
    settings = settings.replace("xy_ms: 700", "xy_ms: 0").replace("runtime: auto", "runtime: torch")
    frozen.write_text(settings, "utf-8")
    config = folder / "night.yaml"
    config.write_text(settings, "utf-8")
    return run, config
