"""Small emulated nights as processes of their own, and what they recorded, for comparison."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import psutil
import yaml

from daemon.dataset.field_file import read_field_file
from daemon.dataset.reader import Dataset
from daemon.records.names import field_file, picture_file
from daemon.records.records import FieldSecured
from daemon.system.crash_points import VARIABLE
from daemon.system.process_table import read_processes
from daemon.system.ring import ring_name
from tests.support.configuration_files import shipped
from tests.support.deadlines import END_S, NIGHT_S
from tests.support.places import CONFIGS

SAID = "said.txt"
"""Beside the run folder of the undisturbed night: what it printed."""
Digest = dict[tuple[int, int], tuple[float, int, str]]
"""Of every recorded field: commanded z of the first plane, number of objects, sha256 of all its pixels and picture."""


def write_configuration(
    folder: Path,
    *,
    slides: int = 2,
    fields: int = 3,
    frame_px: int = 512,
    emulation: Mapping[str, Any] | None = None,
    **parts: Mapping[str, Any],
) -> Path:
    """Write a configuration of a small emulated night, as fast as the computer allows, noise and backlash on."""
    config = shipped()
    config["instrument"]["hardware"] = str(CONFIGS / "emulated.cfg")
    config["instrument"]["frame_px"] = [frame_px, frame_px]
    config["instrument"]["name"] = f"emulated {folder}"
    timing = {"xy_ms": 0, "z_ms": 0, "polarizer_ms": 0}
    config["instrument"]["emulation"] = {"seed": 11, "profile": "coccolith", "timing": timing, **(emulation or {})}
    config["scan"]["samples"] = str(CONFIGS / "samples.csv")
    config["scan"]["fields"] = fields
    config["scan"]["slides"] = config["scan"]["slides"][:slides]
    config["report"] = {"make": "never"}  # it takes longer than such a night
    for part, values in parts.items():
        config[part] = {**config.get(part, {}), **values}
    path = folder / "night.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def lamelle(
    *words: str | Path, crash: str | None = None, within_s: float = NIGHT_S
) -> subprocess.CompletedProcess[str]:
    """Run a command of lamelle in a process of its own."""
    environment = {**os.environ, VARIABLE: crash} if crash else dict(os.environ)
    return subprocess.run(
        [sys.executable, "-m", "daemon", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=within_s,
        check=False,
    )


@contextmanager
def running(*words: str | Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command of lamelle that goes on meanwhile, its output in a file; it is killed if it has not ended."""
    with output.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "daemon", *map(str, words)], stdout=stream, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield process
        finally:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.wait()
            psutil.wait_procs(children, timeout=END_S)


def living(run: Path) -> list[str]:
    """Roles of the run whose process still lives, and the ring if its memory is still there."""
    left = [role for role, running in read_processes(run).items() if running.find() is not None]
    with suppress(FileNotFoundError):
        SharedMemory(ring_name(run)).close()
        left.append("ring")
    return left


def digest(run: Path) -> Digest:
    """What a night recorded, without its times."""
    found: Digest = {}
    with Dataset.open(run) as dataset:
        secured: Sequence[FieldSecured] = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
    for field in secured:
        pixels = hashlib.sha256()
        with read_field_file(run / "dataset" / field_file(field.slide, field.field)) as file:
            for row in file.objects:
                pixels.update(file.crop(row).tobytes())
                pixels.update(file.fused(row).tobytes())
            pixels.update((run / "dataset" / picture_file(field.slide, field.field)).read_bytes())
            found[field.slide, field.field] = (field.first_z_um, len(file.objects), pixels.hexdigest())
    return found
