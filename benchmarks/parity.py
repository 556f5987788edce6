"""Whether the static graph, exported and run by onnxruntime on the processor, finds what torchvision's network finds.

python -m benchmarks.parity [--threads N] [--case "slim 2048 1 winograd" ...] [--resnet50 WEIGHTS --class NAME ...]

`winograd` is the graph that a processor runs, in fp32 too. All look at the sample that is shipped with the weights of
`slim`, tiled over the view. No weights of resnet50 are shipped: where none are given it has fresh ones, with the spread
of its last layers raised so that its scores differ. A detection is matched by the one of the same class that overlaps
it most, each by one. `left` is the greatest score of what is left over.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from inference.network import network
from inference.network.detected import Precision
from inference.network.trained import Trained
from inference.network.weights_file import Weights
from inference.objects.merging import Detections, overlaps
from inference.runtimes.onnx_model import Form, onnx_model
from inference.runtimes.onnx_runtime import OnnxRuntime
from inference.runtimes.reference import Reference
from inference.runtimes.torch_runtime import TorchRuntime
from inference.settings import DetectorSettings

CASES = (
    "slim 512 1 fp32",
    "slim 512 2 fp32",
    "slim 512 1 winograd",
    "slim 1024 1 winograd",
    "slim 2048 1 winograd",
    "slim 512 1 fp16",
    "slim 1024 1 fp16",
    "resnet50 512 1 fp32",
    "resnet50 512 1 winograd",
)
NOISE = 0.02
SAME_OBJECT = 0.9
"""Least overlap of two boxes that are the same detection."""


class Parity(NamedTuple):
    """How two runtimes' detections compare.

    Their numbers, how many are matched, the largest errors among these, and the greatest score of the others.
    """

    expected: int
    found: int
    matched: int
    box_error_px: float
    score_error: float
    left: float


def compare(expected: Detections, found: Detections) -> Parity:
    """Match detections of one view, best first."""
    free = np.ones(len(found), bool)
    boxes, scores, left = [0.0], [0.0], [0.0]
    for k in range(len(expected)):
        near = np.where(free & (found.labels == expected.labels[k]), overlaps(expected.boxes[k], found.boxes), 0)
        if near.max(initial=0) >= SAME_OBJECT:
            other = near.argmax()
            free[other] = False
            boxes.append(float(np.abs(expected.boxes[k] - found.boxes[other]).max()))
            scores.append(float(np.abs(expected.scores[k] - found.scores[other])))
        else:
            left.append(float(expected.scores[k]))
    left.append(float(found.scores[free].max(initial=0)))
    return Parity(len(expected), len(found), len(boxes) - 1, max(boxes), max(scores), max(left))


def views_of(trained: Trained, form: Form) -> NDArray[np.float32]:
    """Different views of the shipped sample, tiled: as it is, and mirrored.

    With a little noise: of tiles that are all the same, which score the same, any may be taken.
    """
    (view,) = Reference.of(trained.network, form.size).views
    views = np.stack([view[:, :, ::-1] if k % 2 else view for k in range(form.batch)])
    noise: NDArray[np.float32] = torch.randn(views.shape, generator=torch.Generator().manual_seed(1)).numpy()
    seen: NDArray[np.float32] = views + np.float32(NOISE) * noise
    return seen


def trained_of(architecture: str, resnet50: Path | None = None, classes: Sequence[str] = ()) -> Trained:
    """Give the network to be judged; the large one with weights for some classes, or with fresh ones."""
    if architecture == "slim":
        return Trained.of(DetectorSettings())
    if resnet50 is not None:
        return Trained.of(DetectorSettings(architecture="resnet50", weights=resnet50, classes=tuple(classes)))
    torch.manual_seed(1)
    fresh = network.build("resnet50", ("fossil",)).eval()
    with torch.no_grad():
        fresh.roi_heads.box_predictor.cls_score.weight.mul_(30)
        fresh.roi_heads.box_predictor.bbox_pred.weight.mul_(10)
    return Trained(Weights(Path("fresh"), "f" * 64), "resnet50", ("fossil",), lambda: fresh)


def judge(trained: Trained, form: Form, threads: int, kept_in: Path | None) -> tuple[list[Parity], float, float]:
    """Compare on every view; with seconds an image of torch, and of onnxruntime."""
    views = views_of(trained, form)
    exact = TorchRuntime(trained, "cpu")
    runtime = OnnxRuntime(onnx_model(trained, form, kept_in), lambda: exact, threads, "cpu")
    seconds = []
    for one in (exact, runtime):
        one.detect(views)
        begun = time.perf_counter()
        found = one.detect(views)
        seconds.append((time.perf_counter() - begun) / len(views))
        if one is exact:
            expected = found
    return [compare(*pair) for pair in zip(expected, found, strict=True)], seconds[0], seconds[1]


def main() -> None:
    """Export, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--resnet50", type=Path)
    parser.add_argument("--class", action="append", dest="classes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        f"{'network':<10}{'size':>6}{'batch':>6}{'':>10}{'torch':>7}{'found':>7}{'matched':>9}{'box px':>9}{'score':>9}"
        f"{'left':>7}{'torch s':>9}{'onnx s':>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for case in given.case or CASES:
            architecture, size, batch, precision = case.split()
            in_form: Precision = "fp16" if precision == "fp16" else "fp32"
            form = Form((int(size), int(size)), int(batch), in_form, winograd=precision == "winograd")
            one = trained_of(architecture, given.resnet50, given.classes or ())
            views, torch_s, onnx_s = judge(one, form, given.threads, Path(folder))
            for view in views:
                print(
                    f"{architecture:<10}{size:>6}{batch:>6}{precision:>10}{view.expected:>7}{view.found:>7}{view.matched:>9}"
                    f"{view.box_error_px:>9.4f}{view.score_error:>9.5f}{view.left:>7.3f}{torch_s:>9.3f}{onnx_s:>8.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
