"""Milliseconds of a 3 x 3 convolution in onnxruntime, plain and as `inference.network.winograd` does it, side by side.

python -m benchmarks.winograd [--rounds N] [--threads N]

Four of a kind one after the other, as in a network; the time of one is told. Where `faster` is above one the other
way pays: `FEWEST_CHANNELS` stands there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import torch
from torch import Tensor, nn

from benchmarks.detector import gflops
from inference.network.winograd import WinogradConvolution
from inference.runtimes.onnx_model import OPSET

KINDS = ((32, 256), (64, 128), (64, 64), (128, 64), (256, 32), (256, 256), (512, 32))
"""Channels and side of what `slim` and `resnet50` convolve, of views of 1024."""
IN_A_ROW = 4
ROUNDS = 20


def session(layers: list[nn.Module], features: Tensor, threads: int, path: Path) -> onnxruntime.InferenceSession:
    """Give layers with rectifiers between them, in onnxruntime."""
    row = nn.Sequential(*(each for layer in layers for each in (layer, nn.ReLU()))).eval()
    program = torch.onnx.export(
        row, (features,), input_names=["features"], opset_version=OPSET, dynamo=True, verbose=False
    )
    assert program is not None
    program.save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Else the threads of one session wait for work, running, while those of the other are timed.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Export, time in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=psutil.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    print(f"{given.threads} threads, {gflops():.0f} GFLOPS, onnxruntime {version('onnxruntime')}")
    print(
        f"{'channels':>8}{'side':>6}{'plain ms':>10}{'p95':>8}{'winograd ms':>13}{'p95':>8}{'faster':>8}{'error':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for channels, side in KINDS:
            plain = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(IN_A_ROW)]
            features = torch.randn(1, channels, side, side)
            both: list[list[nn.Module]] = [[*plain], [WinogradConvolution(layer) for layer in plain]]
            sessions = [
                session(layers, features, given.threads, Path(folder) / f"{k}.onnx") for k, layers in enumerate(both)
            ]
            taken: list[list[float]] = [[], []]
            outputs = [np.empty(0), np.empty(0)]
            for _ in range(given.rounds + 1):
                for k, each in enumerate(sessions):
                    start = time.perf_counter()
                    (outputs[k],) = each.run(None, {"features": features.numpy()})
                    taken[k].append((time.perf_counter() - start) * 1e3 / IN_A_ROW)
            half, most = np.quantile([times[1:] for times in taken], (0.5, 0.95), axis=1)
            error = np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()
            print(
                f"{channels:>8}{side:>6}{half[0]:>10.2f}{most[0]:>8.2f}{half[1]:>10.2f}{most[1]:>8.2f}"
                f"{half[0] / half[1]:>8.2f}{error:>10.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
