"""What runs the network: torch, or another runtime that finds the same faster. Each is tried before it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from inference.errors import RuntimeRefused
from inference.merging import Detections, overlaps
from inference.onnx_model import OnnxModel, onnx_model
from inference.weights_file import Weights

RuntimeName = Literal["onnxruntime", "torch"]
FASTEST_FIRST: tuple[RuntimeName, ...] = ("onnxruntime", "torch")

WORTH_COMPARING = 0.05
"""Fainter detections come and go with the last bits of a sum."""
BOX_ERROR_PX = 0.5
SCORE_ERROR = 0.02


class Runtime(Protocol):
    """Finds objects in views."""

    name: RuntimeName

    def detect(self, views: NDArray[np.float32]) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""


class TorchRuntime:
    """Torchvision's own network; what all others are measured by."""

    name: RuntimeName = "torch"

    def __init__(self, network: FasterRCNN, device: torch.device) -> None:
        self._device = device
        self._network = network.to(device).to(memory_format=torch.channels_last)
        self._batch = 1 if device.type == "cpu" else 16

    def detect(self, views: NDArray[np.float32]) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        with torch.inference_mode():
            for first in range(0, len(views), self._batch):
                batch = torch.from_numpy(views[first : first + self._batch]).to(self._device)
                for output in self._network(list(batch)):
                    boxes, scores, labels = (output[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
                    found.append(Detections(boxes, scores, labels, np.full(len(scores), len(found), np.int64)))
        return found


class OnnxRuntime:
    """The static graph in onnxruntime; where its suppression did not converge, torchvision's network is asked.

    Raises
    ------
    RuntimeRefused
        The model cannot be loaded.
    """

    name: RuntimeName = "onnxruntime"

    def __init__(self, model: OnnxModel, exact: Runtime, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise RuntimeRefused(f"onnxruntime cannot load {str(model.path)!r} ({error}); delete it") from error
        self._batch = model.batch
        self._exact = exact

    def detect(self, views: NDArray[np.float32]) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        for first in range(0, len(views), self._batch):
            batch = views[first : first + self._batch]
            outputs = self._session.run(None, {"views": batch})
            for k, (boxes, scores, labels, count, converged) in enumerate(zip(*outputs, strict=True)):
                one = Detections(boxes[:count], scores[:count], labels[:count], np.zeros(count, np.int64))
                if not converged:
                    (one,) = self._exact.detect(batch[k : k + 1])
                plane = np.full(len(one), len(found), np.int64)
                found.append(Detections(one.boxes, one.scores, one.labels, plane))
        return found


def open_runtime(
    network: FasterRCNN,
    weights: Weights,
    size: tuple[int, int],
    names: Sequence[RuntimeName],
    threads: int,
    kept_in: Path | None = None,
) -> tuple[Runtime, tuple[str, ...]]:
    """Open the first of some runtimes that finds what it must; with it, why those before it were not taken.

    Parameters
    ----------
    network : on the CPU. size : height, width of the views.
    kept_in : folder of exported models, instead of the user's cache.

    Raises
    ------
    RuntimeRefused
        None of them does.
    """
    refusals: list[str] = []
    torch_runtime = TorchRuntime(network, torch.device("cpu"))
    for name in names:
        if name == "torch":
            return torch_runtime, tuple(refusals)
        try:
            model = onnx_model(network, weights, size, 1, kept_in)
            runtime = OnnxRuntime(model, torch_runtime, threads)
            check_runtime(runtime, *model.reference())
        except RuntimeRefused as error:
            refusals.append(str(error))
        else:
            return runtime, tuple(refusals)
    raise RuntimeRefused(f"no runtime can run the detector: {'; '.join(refusals)}; set detector.runtime to 'auto'")


def check_runtime(runtime: Runtime, views: NDArray[np.float32], expected: Detections) -> None:
    """Try a runtime on views whose detections are known.

    Raises
    ------
    RuntimeRefused
        A detection is missing, or lies or scores otherwise.
    """
    (found,) = runtime.detect(views)
    for one, other in ((expected, found), (found, expected)):
        for k in np.flatnonzero(one.scores > WORTH_COMPARING + SCORE_ERROR):
            alike = (
                (other.labels == one.labels[k])
                & (np.abs(other.boxes - one.boxes[k]).max(axis=1, initial=0) <= BOX_ERROR_PX)
                & (np.abs(other.scores - one.scores[k]) <= SCORE_ERROR)
            )
            if not alike.any():
                near = overlaps(one.boxes[k], other.boxes).max(initial=0)
                raise RuntimeRefused(
                    f"{runtime.name} does not reproduce a reference detection of score {one.scores[k]:.3f} "
                    f"(nearest overlap {near:.2f}); it is not used"
                )
