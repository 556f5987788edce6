"""How fast the virtual slide renders on one core: `python -m benchmarks.render [--fields N] [--density D]`.

Rendering must hide inside the exposure of 20 ms; the first frame of a field also gathers its objects.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import psutil

from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide.slide import POLARIZATIONS, VirtualSlide
from drivers.virtual_slide.truth import View

CENTRE_UM = (15000.0, 20000.0)
PIXEL_UM = 0.059


def main() -> None:
    """Render fields of 2 x 9 planes, print ms a frame, cost of the first field, memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--planes", type=int, default=9)
    parser.add_argument("--side-px", type=int, default=1024)
    parser.add_argument("--density", type=float, default=1.0)
    asked = parser.parse_args()
    window = Range(low=-60, high=60)
    mini = MiniSlide(position=1, centre_um=CENTRE_UM, size_um=(10000, 10000), z_um=0, z_window_um=window)
    process = psutil.Process()
    before = process.memory_full_info().uss
    slide = VirtualSlide(Emulation(density=asked.density), [mini], (asked.side_px, asked.side_px), PIXEL_UM)
    stack = np.ones((2, asked.planes, asked.side_px, asked.side_px), np.uint16)
    started = time.perf_counter()
    slide.prepare()
    prepared = time.perf_counter() - started
    first: list[float] = []
    later: dict[str, list[float]] = {polarization: [] for polarization in POLARIZATIONS}
    stacks: list[float] = []
    objects = 0
    for field in range(asked.fields):
        x, y = CENTRE_UM[0] + field * asked.side_px * PIXEL_UM * 0.95, CENTRE_UM[1]
        z = slide.surface_z_um(1, x, y)
        frames: list[float] = []
        for c, polarization in enumerate(POLARIZATIONS):
            for k in range(asked.planes):
                view = View(1, field, k, polarization, x, y, z + (k - asked.planes // 2) * 0.5)
                started = time.perf_counter()
                slide.render(view, 20.0, stack[c, k])
                frames.append(1000 * (time.perf_counter() - started))
                if c or k:
                    later[polarization].append(frames[-1])
        first.append(frames[0])
        stacks.append(sum(frames))
        objects += len(slide.truth(1, x, y))
    print(f"{asked.fields} fields of 2 x {asked.planes} x {asked.side_px}^2, {objects / asked.fields:.1f} objects each")
    print(f"light of all kinds, once: {prepared:.2f} s")
    for name, times in {"first of a field": first, **later, "whole stack": stacks}.items():
        print(f"{name}: p50 {np.quantile(times, 0.5):.1f} ms, p95 {np.quantile(times, 0.95):.1f} ms")
    grown = process.memory_full_info().uss - before - stack.nbytes
    print(f"unique memory beside the stack: {grown / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
