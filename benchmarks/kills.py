"""Kill every process at every named point, resume, compare: the long form of tests/nights/test_night.py.

    python -m benchmarks.kills [--times 3] [--point "mid chunk" ...]

Prints a line a kill and ends with exit status 1 if any resumed night differs from the undisturbed one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from daemon.dataset.summary import summarise
from daemon.system.crash_points import POINTS, STRUCK
from tests.support.emulated_night import digest, lamelle, living, write_configuration

VICTIMS = ("supervisor", "microscope", "analysis", "recorder", "all")
FRAME_POINTS = ("frame announced",)


def main() -> None:
    """Run all combinations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="occurrences at which each point is tried")
    parser.add_argument("--point", action="append", choices=POINTS, help="this point only; may be repeated")
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config = write_configuration(base)
        lamelle("scan", config, "--run", base / "undisturbed")
        wanted = digest(base / "undisturbed")
        kills = [
            (point, victim, n)
            for point in options.point or POINTS
            for victim in VICTIMS
            for n in range(1, options.times + 1)
        ]
        begun = time.monotonic()
        for done, (point, victim, n) in enumerate(kills, start=1):
            run = base / f"run-{done}"
            occurrence = 20 * n if point in FRAME_POINTS else n
            ended = status = lamelle("scan", config, "--run", run, crash=f"{point}|{occurrence}|{victim}").returncode
            if status != 0:
                status = lamelle("scan", config, "--run", run, "--resume").returncode
            summary = summarise(run)
            struck = (run / STRUCK).exists()
            whole = summary.complete and not summary.gaps and not summary.duplicates
            good = struck and status == 0 and whole and digest(run) == wanted and not living(run)
            failures += not good
            left_min = (time.monotonic() - begun) / done * (len(kills) - done) / 60
            verdict = "same" if good else "DIFFERS" if struck else "was never killed"
            what = f"{point:22} #{occurrence:<3} {victim:11} ended with {ended:4}"
            print(f"{what} {verdict}, {left_min:.0f} min left", flush=True)
            shutil.rmtree(run)
    print(f"{len(kills) - failures} of {len(kills)} nights the same as the undisturbed one")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
