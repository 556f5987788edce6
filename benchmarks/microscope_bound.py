"""Does the microscope ever wait for the computer? A night with analysis beside the same moves and exposures without.

    python -m benchmarks.microscope_bound [--fields 200] [--mode fused|planes]

Both take the same fields one after the other: first the bare microscope in a process of its own, then the night. Prints
wall times, their ratio, the sum of configured moves and exposures, and from the journal the p50/p95 from the last frame
to secured and seconds of each stage.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from daemon.dataset import Dataset
from daemon.loading import load
from daemon.outlook import field_seconds, shape_of
from daemon.plan import PlannedField, make_plan
from daemon.records import FieldSecured
from daemon.samples import read_samples
from drivers.microscope import Exposure, Sweep
from drivers.open import open_microscope
from tests.emulated_night import lamelle, write_configuration


def main() -> None:
    """Run both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--mode", choices=("fused", "planes"), default="fused")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        config_file = write_configuration(
            base,
            slides=1,
            fields=options.fields,
            frame_px=1024,
            emulation={"timing": {"xy_ms": 150, "z_ms": 15, "polarizer_ms": 120}},
            detector={"mode": options.mode},
        )
        config = load(config_file)
        configured_s = field_seconds(config) * options.fields
        print(
            platform.platform(), f"{os.cpu_count()} cores", f"{options.fields} fields", shape_of(config), options.mode
        )
        lamelle("scan", config_file, "--run", base / "run", within_s=60 + 5 * configured_s)
        with Dataset.open(base / "run") as dataset:
            fields = [one for one in dataset.fields() if isinstance(one, FieldSecured)]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            bare_s = pool.apply(bare, (config_file, [(f.field, f.first_z_um) for f in fields]))
    first, last = fields[0], fields[-1]
    exposed_s = [f.seconds["move"] + f.seconds["expose"] for f in fields]
    night_s = last.exposed_monotonic_s + last.seconds["expose"] - first.exposed_monotonic_s + first.seconds["move"]
    latency_s = [f.utc - (f.exposed_utc + f.seconds["expose"]) for f in fields]
    print(f"configured moves and exposures  {configured_s:8.1f} s")
    print(f"microscope alone                {bare_s:8.1f} s   {bare_s / configured_s:.3f} of configured")
    print(f"night                           {night_s:8.1f} s   {night_s / bare_s:.3f} of the microscope alone")
    print(f"moves and exposures in the night {sum(exposed_s):7.1f} s")
    p50, p95 = np.percentile(latency_s, [50, 95])
    print(f"last frame to secured: p50 {p50:.2f} s, p95 {p95:.2f} s")
    print(f"objects a field: {statistics.mean(len(f.objects) for f in fields):.1f}")
    for stage in sorted(fields[0].seconds):
        print(f"  {stage:10} {statistics.mean(f.seconds[stage] for f in fields):6.3f} s a field")


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
