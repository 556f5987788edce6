"""How fast the virtual slide renders on one core: `python -m benchmarks.render [--fields N] [--profile P] [--fresh]`.

Rendering should hide inside exposure and z move, 35 ms; the first frame of a field also gathers its objects. `--fresh`
makes the specimens anew, on all cores and into a folder of its own, and tells what that costs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.profiles import kinds_of
from drivers.virtual_slide.slide import POLARIZATIONS, VirtualSlide, cabinet_of
from drivers.virtual_slide.specimens.cabinet import Cabinet
from drivers.virtual_slide.truth import View

CENTRE_UM = (15000.0, 20000.0)
PIXEL_UM = 0.059


def tell(done: int, total: int) -> None:
    """Show how many specimens are made."""
    print(f"\r{done}/{total} ", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Render fields of 2 x 9 planes, print ms a frame, cost of the first field, memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--planes", type=int, default=9)
    parser.add_argument("--side-px", type=int, default=1024)
    parser.add_argument("--density", type=float, default=1.0)
    parser.add_argument("--profile", default="easy")
    parser.add_argument("--fresh", action="store_true")
    asked = parser.parse_args()
    window = Range(low=-60, high=60)
    mini = MiniSlide(position=1, centre_um=CENTRE_UM, size_um=(10000, 10000), z_um=0, z_window_um=window)
    process = psutil.Process()
    before = process.memory_full_info().uss
    emulation = Emulation.model_validate({"density": asked.density, "profile": asked.profile})
    cabinet, kinds = cabinet_of(emulation), kinds_of(emulation.profile)
    if asked.fresh:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Cabinet(emulation.collection, Mount(), Path(folder))
            number, started = len(fresh.missing(kinds)), time.perf_counter()
            fresh.fill(kinds, tell)
            print(
                f"{number} specimens made in {time.perf_counter() - started:.0f} s on {os.cpu_count()} cores, ", end=""
            )
            print(f"{fresh.size_bytes() / 1e6:.0f} MB")
    cabinet.fill(kinds, tell)
    slide = VirtualSlide(emulation, [mini], (asked.side_px, asked.side_px), PIXEL_UM)
    stack = np.ones((2, asked.planes, asked.side_px, asked.side_px), np.uint16)
    started, computed = time.perf_counter(), time.process_time()
    slide.prepare()
    prepared, computed = time.perf_counter() - started, time.process_time() - computed
    first: list[float] = []
    later: dict[str, list[float]] = {polarization: [] for polarization in POLARIZATIONS}
    stacks: list[float] = []
    worked: list[float] = []
    objects = 0
    for field in range(asked.fields):
        x, y = CENTRE_UM[0] + field * asked.side_px * PIXEL_UM * 0.95, CENTRE_UM[1]
        z = slide.surface_z_um(1, x, y)
        frames: list[float] = []
        busy = time.process_time()
        for c, polarization in enumerate(POLARIZATIONS):
            for k in range(asked.planes):
                view = View(1, field, k, polarization, x, y, z + (k - asked.planes // 2) * 0.5)
                started = time.perf_counter()
                slide.render(view, 20.0, stack[c, k])
                frames.append(1000 * (time.perf_counter() - started))
                if c or k:
                    later[polarization].append(frames[-1])
        worked.append(1000 * (time.process_time() - busy))
        first.append(frames[0])
        stacks.append(sum(frames))
        objects += len(slide.truth(1, x, y))
    print(f"{asked.fields} fields of 2 x {asked.planes} x {asked.side_px}^2, {objects / asked.fields:.1f} objects each")
    print(f"light of all kinds opened: {prepared:.2f} s, {computed:.2f} s of CPU")
    for name, times in {"first of a field": first, **later, "whole stack": stacks, "CPU of a stack": worked}.items():
        print(f"{name}: p50 {np.quantile(times, 0.5):.1f} ms, p95 {np.quantile(times, 0.95):.1f} ms")
    grown = process.memory_full_info().uss - before - stack.nbytes
    print(f"unique memory beside the stack: {grown / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
