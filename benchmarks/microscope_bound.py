"""Does the microscope ever wait for the computer? A night with analysis beside the same moves and exposures without.

    python -m benchmarks.microscope_bound [--fields 200] [--mode fused|planes] [--named] [--density 1] [--keep-fused]

The night comes first, then in a process of its own the bare microscope with the same fields at the same heights.
Prints the ratio of their wall times, that of the bare microscope to the sum of its configured moves and exposures,
p50/p95 from the last frame of a field to secured, seconds of each stage, bytes of each kind of file, and of every
process its processor time and its unique memory (USS) early and late in the night.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from subprocess import CompletedProcess

import numpy as np
import psutil

from daemon.config.loading import load
from daemon.config.samples import read_samples
from daemon.dataset.reader import Dataset
from daemon.planning.estimate import field_seconds, shape_of
from daemon.planning.plan import make_plan
from daemon.records.fields import PlannedField
from daemon.records.records import FieldSecured
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.system.process_table import read_processes
from drivers.microscope import Exposure, Sweep
from drivers.open import open_microscope
from tests.support.emulated_night import lamelle, write_configuration

EARLY_FIELD = 20
SPAN = 20
SAMPLE_S = 1.0


@dataclass(frozen=True)
class Sample:
    """A process at one moment of the night: unique memory in bytes, processor seconds so far."""

    uss: int
    cpu_s: float


def main() -> None:
    """Run both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--mode", choices=("fused", "planes"), default="fused")
    parser.add_argument("--named", action="store_true", help="name objects, by the classifier that is shipped")
    parser.add_argument("--density", type=float, default=1.0, help="factor on the number of objects")
    parser.add_argument("--keep-fused", action="store_true", help="keep every fused field in full size")
    options = parser.parse_args()
    names = {"classifier": {"weights": "species"}} if options.named else {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config_file = write_configuration(
            base,
            slides=1,
            fields=options.fields,
            frame_px=1024,
            emulation={"timing": {"xy_ms": 150, "z_ms": 15, "polarizer_ms": 120}, "density": options.density},
            detector={"mode": options.mode},
            retention={"fused": "all" if options.keep_fused else "none"},
            **names,
        )
        config = load(config_file)
        configured_s = field_seconds(config) * options.fields
        system = f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores"
        what = "named" if options.named else "without names"
        print(system, f"{options.fields} fields of {shape_of(config)}, {options.mode}, {what}", sep="\n")
        with ThreadPoolExecutor(1) as executor:
            limit_s = 60 + 10 * configured_s
            night = executor.submit(lamelle, "scan", config_file, "--run", base / "run", within_s=limit_s)
            samples = dict(sampled(base / "run", night))
        if night.result().returncode != 0:
            raise SystemExit(night.result().stderr)
        with Dataset.open(base / "run") as dataset:
            fields = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            bare_s = pool.apply(bare, (config_file, [(f.field, f.first_z_um) for f in fields]))
    print_times(fields, configured_s, bare_s)
    print_stages(fields)
    print_bytes(fields)
    print_processes(samples, options.fields)


def sampled(run: Path, night: Future[CompletedProcess[str]]) -> Iterator[tuple[int, dict[str, Sample]]]:
    """Yield the number of fields done and a sample of every process, about once a second while the night runs."""
    while not night.done():
        time.sleep(SAMPLE_S)
        try:
            done = read_heartbeat(run).secured
            processes = {role: running.find() for role, running in read_processes(run).items()}
            found = {role: sample(process) for role, process in processes.items() if process is not None}
            if found.keys() == processes.keys():
                yield done, found
        except (FileNotFoundError, psutil.NoSuchProcess):
            continue  # not begun yet, or ending


def sample(process: psutil.Process) -> Sample:
    """Measure a process now."""
    times = process.cpu_times()
    return Sample(uss=process.memory_full_info().uss, cpu_s=times.user + times.system)


def print_times(fields: list[FieldSecured], configured_s: float, bare_s: float) -> None:
    """Print wall times and their ratios."""
    first, last = fields[0], fields[-1]
    night_s = last.exposed_monotonic_s + last.seconds["expose"] - first.exposed_monotonic_s + first.seconds["move"]
    latency_s = [f.utc - (f.exposed_utc + f.seconds["expose"]) for f in fields]
    print(f"configured moves and exposures {configured_s:8.1f} s")
    print(f"microscope alone               {bare_s:8.1f} s   {bare_s / configured_s:.3f} of configured")
    print(f"night                          {night_s:8.1f} s   {night_s / bare_s:.3f} of the microscope alone")
    print("last frame to secured          p50 {:.2f} s, p95 {:.2f} s".format(*np.percentile(latency_s, [50, 95])))
    print(f"objects per field              {fmean(len(f.objects) for f in fields):8.1f}")


def print_stages(fields: list[FieldSecured]) -> None:
    """Print wall and processor seconds of every stage of a field."""
    print("stage        wall p50 (s)    p95    CPU mean (s)")
    for stage in (name for name in fields[0].seconds if not name.endswith("_cpu")):
        wall_s = np.array([f.seconds[stage] for f in fields])
        cpu_s = fmean(f.seconds[f"{stage}_cpu"] for f in fields)
        print("{:12} {:12.3f} {:6.3f} {:12.3f}".format(stage, *np.percentile(wall_s, [50, 95]), cpu_s))


def print_bytes(fields: list[FieldSecured]) -> None:
    """Print how large the files of a field are, by their kind."""
    kinds: dict[str, list[int]] = {}
    for field in fields:
        for file in field.files:
            _, _, kind = Path(file.name).name.partition("-")[2].partition("-")
            kinds.setdefault(kind or "objects", []).append(file.size)
    for kind, sizes in kinds.items():
        print(f"{kind:24} {fmean(sizes) / 1e6:8.3f} MB a field, {max(sizes) / 1e6:.3f} at most")


def print_processes(samples: dict[int, dict[str, Sample]], fields: int) -> None:
    """Print what every process took of memory and processor, early and late, before the mini-slide is closed.

    Messages on their way come and go by megabytes, hence medians over a span of fields.
    """
    early = [samples[n] for n in samples if EARLY_FIELD <= n < EARLY_FIELD + SPAN]
    late = [samples[n] for n in samples if fields - SPAN <= n < fields]
    if not early or not late:
        return
    between = max(n for n in samples if n < fields) - min(n for n in samples if n >= EARLY_FIELD)
    print(f"process      USS (MB) from field {EARLY_FIELD}   from field {fields - SPAN}   ratio   CPU (s a field)")
    for role in early[0]:
        before, after = (median(one[role].uss for one in span) / 1e6 for span in (early, late))
        cpu_s = (late[-1][role].cpu_s - early[0][role].cpu_s) / between
        print(f"{role:12} {before:22.1f} {after:16.1f} {after / before:7.3f} {cpu_s:16.3f}")


def bare(config_file: Path, places: list[tuple[int, float]]) -> float:
    """Take the same fields at the same heights with nobody looking; wall seconds."""
    config = load(config_file)
    plan: dict[int, PlannedField] = {
        one.field: one for one in make_plan(config, read_samples(config.scan.samples, [1]))
    }
    stack = np.zeros(shape_of(config), np.uint16)
    states = config.scan.polarizations
    microscope = open_microscope(config.instrument, config.scan.slides)
    microscope.prepare()
    microscope.open_slide(1)
    microscope.light(True)
    microscope.move(plan[1].x_um, plan[1].y_um)
    begun = time.monotonic()
    for number, first_z_um in places:
        channels = tuple(range(len(states)))[:: 1 if number % 2 else -1]
        sweep = Sweep(first_z_um, config.scan.step_um, config.scan.planes, tuple(states[c] for c in channels), channels)
        microscope.move(plan[number].x_um, plan[number].y_um)
        microscope.expose_stack(Exposure(1, number), sweep, stack, lambda _frame: None)
    seconds = time.monotonic() - begun
    microscope.close()
    return seconds


if __name__ == "__main__":
    main()
