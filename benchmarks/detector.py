"""Seconds an image of the detector, for each network, size of views and runtime that is here, side by side.

python -m benchmarks.detector [--architecture slim ...] [--size 1024 ...] [--rounds N] [--threads N] [--json FILE]

Runtimes take turns on the same views, made of the shipped sample; the first turn of each is not counted. `slim` has the
shipped weights, `resnet50` fresh ones: its graph is timed as it is, without asking torch where suppression did not
converge. Peak memory is that of a process of its own that runs one runtime.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from benchmarks.parity import trained_of, views_of
from inference.network.trained import Trained
from inference.network.weights_file import find_weights
from inference.runtimes.onnx_model import Form, onnx_model
from inference.runtimes.onnx_runtime import OnnxRuntime
from inference.runtimes.runtimes import Runtime
from inference.runtimes.torch_runtime import TorchRuntime
from inference.settings import Architecture

SIZES = (512, 1024, 2048)
ROUNDS = 12
NAMES = ("torch", "onnxruntime")


class Timing(NamedTuple):
    """Of one network at one size on one runtime."""

    architecture: str
    size: int
    runtime: str
    p50_s: float
    p95_s: float
    ratio: float
    peak_mb: float


class Graph:
    """The static graph alone, whatever it says of its own convergence."""

    def __init__(self, runtime: OnnxRuntime) -> None:
        self.name = runtime.name
        self._runtime = runtime

    def detect(self, views: NDArray[np.float32]) -> Any:
        """Run it."""
        return self._runtime.run(views)


def runtime(name: str, one: Trained, size: int, threads: int) -> Runtime | Graph:
    """Open a runtime on the CPU."""
    exact = partial(TorchRuntime, one, "cpu")
    if name == "torch":
        return exact()
    return Graph(OnnxRuntime(onnx_model(one, Form((size, size), winograd=True)), exact, threads, "cpu"))


def most_mb() -> float:
    """Greatest memory that this process ever had, in RAM."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    # Not by getrusage, which also knows of the greater process that started this one.
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmHWM"))


def alone(architecture: Architecture, image: Path, name: str, threads: int, answer: Any) -> None:
    """Run one runtime in this process, and tell the memory it took at most beyond that of its imports."""
    torch.set_num_threads(threads)
    view = np.load(image)
    before = most_mb()
    one = runtime(name, trained_of(architecture), view.shape[2], threads)
    for _ in range(3):
        one.detect(view)
    answer.send(most_mb() - before)


def peak_mb(architecture: Architecture, image: NDArray[np.float32], name: str, threads: int, folder: Path) -> float:
    """Memory of a process that does nothing else."""
    path = folder / "view.npy"
    np.save(path, image)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=alone, args=(architecture, path, name, threads, theirs))
    process.start()
    theirs.close()
    try:
        most: float = ours.recv()
    finally:
        process.join()
    return most


def measure(architecture: Architecture, size: int, rounds: int, threads: int, folder: Path) -> list[Timing]:
    """Time all runtimes in turns."""
    one, image = trained_of(architecture), views_of(trained_of("slim"), Form((size, size)))
    runtimes = {name: runtime(name, one, size, threads) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    for turn in range(rounds + 1):
        for name, each in runtimes.items():
            start = time.perf_counter()
            each.detect(image)
            if turn:
                seconds[name].append(time.perf_counter() - start)
        print(f"\r{architecture} {size}: {turn}/{rounds} ", end="", file=sys.stderr, flush=True)
    eager = float(np.median(seconds["torch"]))
    return [
        Timing(
            architecture,
            size,
            name,
            float(np.median(taken)),
            float(np.quantile(taken, 0.95)),
            eager / float(np.median(taken)),
            peak_mb(architecture, image, name, threads, folder),
        )
        for name, taken in seconds.items()
    ]


def gflops() -> float:
    """Give the pace at which torch multiplies matrices here: what seconds of different computers are compared by."""
    side = 2048
    one = torch.randn(side, side)
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        one @ one
        taken.append(time.perf_counter() - start)
    return 2e-9 * side**3 / float(np.median(taken))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", action="append", choices=("slim", "resnet50"))
    parser.add_argument("--size", action="append", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=psutil.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "onnxruntime"))
    print(f"{platform.processor() or platform.machine()}, {given.threads} threads, {gflops():.0f} GFLOPS, {versions}")
    print(f"slim {find_weights('slim').sha256[:8]}; an image is one view of size x size")
    print(f"{'network':<10}{'size':>6}  {'runtime':<12}{'p50 s':>8}{'p95 s':>8}{'faster':>8}{'peak MB':>9}")
    timings: list[Timing] = []
    with tempfile.TemporaryDirectory() as folder:
        for architecture in given.architecture or ("slim", "resnet50"):
            for size in given.size or SIZES:
                timings += measure(architecture, size, given.rounds, given.threads, Path(folder))
                for t in timings[-len(NAMES) :]:
                    print(
                        f"{t.architecture:<10}{t.size:>6}  {t.runtime:<12}{t.p50_s:>8.3f}{t.p95_s:>8.3f}{t.ratio:>8.2f}"
                        f"{t.peak_mb:>9.0f}"
                    )
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode([t._asdict() for t in timings])))


if __name__ == "__main__":
    main()
