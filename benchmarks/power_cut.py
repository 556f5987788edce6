"""Cut the power of a whole emulated night at its sync points, resume, compare: the long test_power_cut.py.

    python -m benchmarks.power_cut [--cuts 40] [--kind pessimistic] [--first 0]

All processes of one night run with a shim that logs what they do to the run folder. The disk is then laid out as a
power cut just before a sync point would leave it: `pessimistic` holds what was synced and nothing else, `adversarial`
any part of the rest, sector by sector. Each such folder is resumed as a person would and compared with an undisturbed
night. A line a cut; exit status 1 if any night differs. Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.names import field_of
from daemon.records.records import FieldSecured
from tests.support.deadlines import NIGHT_S
from tests.support.emulated_night import Digest, digest, lamelle, living, write_configuration
from tests.support.powercut.disk import Disk, View, materialise, read_log
from tests.support.powercut.shim import build, watching

IDLE = ("log/", "heartbeat.json")
"""Nothing is resumed from these, so moments that differ in them alone are the same."""


@dataclass(frozen=True)
class Cut:
    """What a cut leaves, and the field's files that had been deleted from the spool by then."""

    number: int
    view: View
    delivered: frozenset[str]


def cuts(log: Path, root: str, kind: str, seed: int) -> Iterator[Cut]:
    """Moments just before a sync, and the very end; those that leave the same are given once."""
    disk, delivered, seen = Disk(root), set[str](), set[bytes]()
    for number, operation in enumerate([*read_log(log), None]):
        if operation is None or operation.op in "SD":
            chance = random.Random(seed + number)  # noqa: S311 - a choice of sectors, no secret
            view = disk.pessimistic() if kind == "pessimistic" else disk.adversarial(chance)
            view = {name: content for name, content in view.items() if not name.startswith(IDLE)}
            known = fingerprint(view)
            if known not in seen:
                seen.add(known)
                yield Cut(number, view, frozenset(delivered))
        if operation is None:
            return
        if operation.op == "U":
            name = operation.a.decode().removeprefix(f"{root}/spool/")
            if field_of(name) is not None:
                delivered.add(name)
        disk.apply(operation)


def fingerprint(view: View) -> bytes:
    """Hash of all names and contents."""
    known = hashlib.sha256()
    for name, content in sorted(view.items()):
        known.update(f"{name} {None if content is None else len(content)}\n".encode())
        known.update(content or b"")
    return known.digest()


def lost(cut: Cut, folder: Path) -> set[str]:
    """Files that the spool no longer held and the dataset does not hold either."""
    if not cut.delivered:
        return set()
    with Dataset.open(folder / "dataset") as dataset:
        fields = [field for field in dataset.fields() if isinstance(field, FieldSecured)]
        held = {file.name for field in fields for file in field.files} - set(dataset.verify())
    return set(cut.delivered) - held


def same(config: Path, cut: Cut, folder: Path, wanted: Digest) -> str:
    """Resume what a cut left; returns what is wrong with it, or nothing."""
    materialise(cut.view, folder)
    if missing := lost(cut, folder):
        return f"LOST {', '.join(sorted(missing))}"
    resume = ["--resume"] if (folder / "journal.sqlite").exists() else []
    done = lamelle("scan", config, "--run", folder, *resume)
    if done.returncode != 0:
        told = [line for line in done.stdout.splitlines() if "stopped:" in line or "delivered:" in line]
        return f"ENDED WITH {done.returncode}: {done.stderr.strip() or told}"
    summary = summarise(folder)
    if not summary.complete or summary.gaps or summary.duplicates or living(folder):
        return f"INCOMPLETE {summary}"
    if any(path.is_file() for path in (folder / "spool").rglob("*")):
        return "LEFT something in the spool"
    return "" if digest(folder) == wanted else "DIFFERS"


def watched_night(base: Path) -> tuple[Path, Path, Path]:
    """Run a night under the shim; returns its configuration, run folder and log."""
    shim = build(base)
    if shim is None:
        sys.exit("the shim needs Linux and a C compiler (cc)")
    config, run, log = write_configuration(base), base / "run", base / "log"
    command = [sys.executable, "-m", "daemon", "scan", str(config), "--run", str(run)]
    environment = watching(shim, run, log)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=NIGHT_S, check=False)
    if done.returncode != 0:
        sys.exit(f"the watched night ended with {done.returncode}: {done.stderr}")
    return config, run, log


def main() -> None:
    """Cut, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=40, help="moments tried, evenly spread over the night")
    parser.add_argument("--kind", choices=("pessimistic", "adversarial"), default="pessimistic")
    parser.add_argument("--seed", type=int, default=1, help="of what an adversarial disk keeps")
    parser.add_argument("--first", type=int, default=0, help="shifts which moments are tried")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        config, run, log = watched_night(base)
        wanted = digest(run)
        every = [cut.number for cut in cuts(log, str(run), arguments.kind, arguments.seed)]
        step = max(1, len(every) // arguments.cuts)
        chosen = set(every[arguments.first % step :: step])
        print(f"{len(every)} different moments at sync points of {len(wanted)} fields; {len(chosen)} are tried")
        failures, begun, done = 0, time.monotonic(), 0
        for cut in cuts(log, str(run), arguments.kind, arguments.seed):
            if cut.number not in chosen:
                continue
            done += 1
            wrong = same(config, cut, base / "cut", wanted)
            failures += bool(wrong)
            shutil.rmtree(base / "cut")
            left_min = (time.monotonic() - begun) / done * (len(chosen) - done) / 60
            delivered = f"{len(cut.delivered)} fields delivered"
            print(f"operation {cut.number:6}, {delivered}: {wrong or 'same'}, {left_min:.0f} min left", flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} nights the same as the undisturbed one")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
