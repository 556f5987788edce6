"""What a graphics card makes of it: every runtime, whole stacks from host memory to crops, and a training.

python -m benchmarks.gpu [--size 2048] [--planes 15] [--minutes 10] [--rounds 20] [--device cuda] [--json FILE]

First the card's own limits, as a product of matrices and a copy reach them. Then seconds a view for every runtime that
can be used, with the share of the card's arithmetic at that precision (operations as torch counts them in the eager
network); why others cannot is said. Then stacks of two polarizations from host memory to crops: `landing` is the work
on frames while they arrive, `behind` what is left after the last one. At last `resnet50` is trained on emulated fields
for so many minutes, and judged on slides that it never saw. With `--device cpu --size 256 --planes 3
--minutes 0.1 --rounds 2 --fields 2` it is seen to run at all, anywhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parity import trained_of, views_of
from daemon.config.loading import load
from daemon.emulation.export import export, override
from daemon.training import train
from inference.analyser import Analyser
from inference.annotations.stacks import find_stacks
from inference.errors import RuntimeRefused
from inference.network import network
from inference.network.device import DeviceName
from inference.runtimes.choice import RuntimeName, open_runtime
from inference.runtimes.onnx_model import Form
from inference.settings import Architecture, CropSettings, DetectorSettings, FocusSettings
from inference.training.settings import TrainingSettings
from inference.training.train import Progress

CONFIG = Path(__file__).parents[1] / "configs" / "emulated.yaml"
SIDE = 8192
NAMES: tuple[RuntimeName, ...] = ("tensorrt", "onnxruntime", "torch")
ARCHITECTURES: tuple[Architecture, ...] = ("slim", "resnet50")
PIXEL_UM = 0.118
"""Of the stacks: they are looked at without binning, so that views are as large as frames."""
POLARIZATIONS = ("crossed", "parallel")
BATCH = {"cuda": 8, "cpu": 1}
TRIAL_STEPS = {"cuda": 20, "cpu": 2}


class Measured(msgspec.Struct):
    """Everything, for `--json`."""

    device: str
    versions: dict[str, str]
    limits: dict[str, float] = {}
    runtimes: list[dict[str, object]] = []
    stacks: list[dict[str, object]] = []
    training: dict[str, object] = {}


def seconds(work: Callable[[], object], rounds: int, device: DeviceName) -> list[float]:
    """Time some work to its end, after one round that is not counted."""
    taken = []
    for _ in range(rounds + 1):
        settle(device)
        start = time.perf_counter()
        work()
        settle(device)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def settle(device: DeviceName) -> None:
    """Wait until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize(device)


def p50_p95(taken: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return float(np.median(taken)), float(np.quantile(taken, 0.95))


def limits(side: int, rounds: int, device: DeviceName) -> dict[str, float]:
    """Arithmetic in operations a second, copies in bytes a second."""
    found = {}
    for name, kind in (("fp32", torch.float32), ("fp16", torch.float16)):
        one = torch.randn(side, side, device=device).to(kind)
        found[name] = 2 * side**3 / p50_p95(seconds(partial(torch.matmul, one, one), rounds, device))[0]
    some = torch.zeros(side * side, device=device)
    other = torch.empty_like(some)
    found["memory"] = 2 * some.nbytes / p50_p95(seconds(partial(other.copy_, some), rounds, device))[0]
    host = torch.zeros(side * side, pin_memory=device == "cuda")
    found["upload"] = host.nbytes / np.median(seconds(lambda: other.copy_(host), rounds, device))
    return {name: float(value) for name, value in found.items()}


def time_runtimes(
    architecture: Architecture, size: int, rounds: int, device: DeviceName, peak: dict[str, float]
) -> list[dict[str, object]]:
    """Time each runtime on one view that lies on the device; those that refuse say why."""
    trained = trained_of(architecture)
    view = views_of(trained, Form((size, size)))
    there = torch.from_numpy(view).to(device)
    given = view if device == "cpu" else there
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        trained.network([torch.from_numpy(view[0])])
    operations = counter.get_total_flops()
    rows: list[dict[str, object]] = []
    for name in NAMES:
        try:
            runtime, _ = open_runtime(trained, (size, size), (name,), device, torch.get_num_threads())
        except RuntimeRefused as error:
            rows.append({"network": architecture, "runtime": name, "refused": str(error)})
            continue
        precision = "fp16" if "fp16" in runtime.name else "fp32"
        p50, p95 = p50_p95(seconds(lambda runtime=runtime: runtime.detect(given), rounds, device))  # type: ignore[misc]
        share = operations / p50 / peak[precision]
        rows.append({"network": architecture, "runtime": runtime.name, "p50_s": p50, "p95_s": p95, "share": share})
    eager = network.load(trained.weights, architecture, trained.classes) if architecture == "slim" else trained.network
    eager, half = eager.to(device), device == "cuda"
    with torch.inference_mode(), torch.autocast(device, torch.float16 if half else torch.bfloat16):
        taken = seconds(lambda: eager([there[0]]), rounds, device)
    p50, p95 = p50_p95(taken)
    share = operations / p50 / peak["fp16"]
    name16 = f"torch on {device}, autocast"
    return [*rows, {"network": architecture, "runtime": name16, "p50_s": p50, "p95_s": p95, "share": share}]


def time_stacks(size: int, planes: int, rounds: int, device: DeviceName) -> list[dict[str, object]]:
    """Time whole stacks from host memory to crops, in both modes."""
    sample = views_of(trained_of("slim"), Form((size, size)))[0]
    frame = np.clip(20_000 * (1 + 0.1 * sample[0]), 0, 65_535).astype(np.uint16)
    stack = np.stack([np.stack([np.roll(frame, z, axis=0) for z in range(planes)])] * len(POLARIZATIONS))
    rows: list[dict[str, object]] = []
    for mode in ("fused", "planes"):
        settings = DetectorSettings(mode=mode, device=device)
        analyser = Analyser(settings, CropSettings(), FocusSettings(), PIXEL_UM, POLARIZATIONS)
        landing, behind, found = [], [], 0
        for _ in range(rounds + 1):
            settle(device)
            start = time.perf_counter()
            session = analyser.open(stack)
            for c, z in np.ndindex(stack.shape[:2]):
                session.add(c, z)
            settle(device)
            landed = time.perf_counter()
            found = len(session.finish().objects)
            landing.append(landed - start)
            behind.append(time.perf_counter() - landed)
        rows.append(
            {
                "mode": mode,
                "shape": stack.shape,
                "objects": found,
                **dict(zip(("landing_p50_s", "landing_p95_s"), p50_p95(landing[1:]), strict=True)),
                **dict(zip(("behind_p50_s", "behind_p95_s"), p50_p95(behind[1:]), strict=True)),
            }
        )
    return rows


def train_for(minutes: float, fields: int, device: DeviceName, folder: Path) -> dict[str, object]:
    """Train the large network for so long, and judge it."""
    config = load(CONFIG)
    data = folder / "fields"
    export(override(config, {}, seed=31, collection=31, profile="easy"), data, (1, 2, 3, 4, 5, 6), fields)
    annotated = find_stacks([data], config.detector.classes)
    into = folder / "resnet50.safetensors"
    began: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "training":
            began.append(time.perf_counter())

    settings = TrainingSettings(
        architecture="resnet50",
        classes=config.detector.classes,
        steps=TRIAL_STEPS[device],
        batch=BATCH[device],
        judgements=1,
    )
    train.train(annotated, folder / "trial.safetensors", settings, FocusSettings(), "", watch)
    rate = (len(began) - 1) / (began[-1] - began[0])
    steps = max(1, round(60 * minutes * rate))
    card = train.train(annotated, into, replace(settings, steps=steps), FocusSettings(), "", lambda _: None)
    fused = card.figures[0]
    return {"steps": steps, "steps_per_s": rate, "seconds": card.seconds, "ap50": fused.ap50, "objects": fused.objects}


def line(row: dict[str, object]) -> str:
    """Format a row for people."""
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
    )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--planes", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fields", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device answers; see that it runs at all with --device cpu --size 256 --minutes 0.1")
    device: DeviceName = given.device
    name = torch.cuda.get_device_name(device) if given.device == "cuda" else "CPU"
    result = Measured(name, {one: version(one) for one in ("torch", "torchvision", "onnxruntime")})
    print(name, ", ".join(f"{one} {number}" for one, number in result.versions.items()))
    result.limits = limits(SIDE if given.device == "cuda" else SIDE // 16, given.rounds, device)
    print(", ".join(f"{one} {value / 1e12:.3f} T/s" for one, value in result.limits.items()))
    for architecture in ARCHITECTURES:
        for row in time_runtimes(architecture, given.size, given.rounds, device, result.limits):
            print(line(row), flush=True)
            result.runtimes.append(row)
    for row in time_stacks(given.size, given.planes, given.rounds, device):
        print(line(row), flush=True)
        result.stacks.append(row)
    with tempfile.TemporaryDirectory() as folder:
        result.training = train_for(given.minutes, given.fields, device, Path(folder))
    print(line(result.training))
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))


if __name__ == "__main__":
    main()
