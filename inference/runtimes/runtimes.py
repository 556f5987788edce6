"""What runs the network: torch, or the static graph on a runtime that finds the same faster."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inference.errors import RuntimeRefused
from inference.network.detected import Detected
from inference.network.trained import Trained
from inference.objects.merging import Detections, overlaps
from inference.runtimes.onnx_model import OnnxModel
from inference.runtimes.reference import Reference

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN

onnxruntime.disable_telemetry_events()
WORTH_COMPARING = 0.05
"""Fainter detections come and go with the last bits of a sum."""
BOX_ERROR_PX = 0.5
SCORE_ERROR = 0.02


class Runtime(Protocol):
    """Finds objects in views, float32, on whatever device; `name` says for people what does."""

    name: str

    def detect(self, views: Tensor) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""


class TorchRuntime:
    """Torchvision's own network; on the CPU what all others are measured by.

    Parameters
    ----------
    trained
        whose network it is; for another device than the CPU it is copied at once.
    """

    def __init__(self, trained: Trained, device: torch.device) -> None:
        self.name = f"torch on {device.type}"
        self._trained = trained
        self._device = device
        self._batch = 1 if device.type == "cpu" else 16
        if device.type != "cpu":
            # A graphics card shall have room for it before the night, not only when it is first asked.
            _ = self._network

    @cached_property
    def _network(self) -> FasterRCNN:
        network = self._trained.network
        on_device = network if self._device.type == "cpu" else copy.deepcopy(network).to(self._device)
        return on_device.to(memory_format=torch.channels_last)

    def detect(self, views: Tensor) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        # Before the mode is entered: tensors made within it serve for nothing else.
        network = self._network
        with torch.inference_mode():
            for first in range(0, len(views), self._batch):
                batch = views[first : first + self._batch].to(self._device)
                for output in network(list(batch)):
                    boxes, scores, labels = (output[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
                    found.append(Detections(boxes, scores, labels, np.full(len(scores), len(found), np.int64)))
        return found


class GraphRuntime(ABC):
    """The static graph; where its suppression did not converge, torchvision's network is asked.

    Parameters
    ----------
    batch
        views that the graph takes at once.
    exact
        torchvision's network.
    """

    def __init__(self, name: str, batch: int, exact: Runtime) -> None:
        self.name = name
        self._batch = batch
        self._exact = exact

    @abstractmethod
    def run(self, views: Tensor) -> Sequence[NDArray[Any]]:
        """Give the outputs of the graph, as in `detected.Detected`, for views (batch, 3, h, w)."""

    def detect(self, views: Tensor) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        for first in range(0, len(views), self._batch):
            some = views[first : first + self._batch]
            missing = self._batch - len(some)
            whole = functional.pad(some, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else some
            rows = zip(*self.run(whole), strict=True)
            for view, (boxes, scores, labels, count, converged) in zip(some, rows, strict=False):
                one = Detections(boxes[:count], scores[:count], labels[:count], np.zeros(count, np.int64))
                if not converged:
                    (one,) = self._exact.detect(view[None])
                plane = np.full(len(one), len(found), np.int64)
                found.append(Detections(one.boxes, one.scores, one.labels, plane))
        return found


class OnnxRuntime(GraphRuntime):
    """The static graph in onnxruntime, on the processor or through CUDA.

    Raises
    ------
    RuntimeRefused
        The model cannot be loaded, or onnxruntime would run it on another device than asked for.
    """

    def __init__(self, model: OnnxModel, exact: Runtime, threads: int, device: torch.device) -> None:
        super().__init__(f"onnxruntime on {device.type}", model.form.batch, exact)
        provider = provider_for(device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # What a provider cannot do is the processor's; but the whole of it shall not become so in silence.
        providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
        try:
            self._session = onnxruntime.InferenceSession(model.path, options, providers=providers, enable_fallback=0)
        except Exception as error:
            raise RuntimeRefused(f"onnxruntime cannot load {str(model.path)!r} ({error}); delete it") from error
        if self._session.get_providers()[0] != provider:
            raise RuntimeRefused(
                f"onnxruntime {onnxruntime.__version__} cannot use CUDA here and would take the processor; its log "
                "says which library of CUDA or cuDNN it misses"
            )

    def run(self, views: Tensor) -> Sequence[NDArray[Any]]:
        """Give the outputs of the graph, as in `detected.Detected`, for views (batch, 3, h, w)."""
        outputs: Sequence[NDArray[Any]]
        if not views.is_cuda:
            outputs = self._session.run(None, {"views": views.numpy()})
            return outputs
        there = views.contiguous()
        torch.cuda.current_stream(there.device).synchronize()
        binding = self._session.io_binding()
        place = there.device.index or 0
        binding.bind_input("views", "cuda", place, np.float32, tuple(there.shape), there.data_ptr())
        for name in Detected._fields:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        outputs = binding.copy_outputs_to_cpu()
        return outputs


def provider_for(device: torch.device) -> str:
    """Name what onnxruntime calls a device.

    Raises
    ------
    RuntimeRefused
        The onnxruntime that is installed knows no such device.
    """
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeRefused(
            f"onnxruntime {onnxruntime.__version__} was built without CUDA; 'pip uninstall onnxruntime', then 'pip "
            "install --force-reinstall --no-deps onnxruntime-gpu'"
        )
    return provider


def check_runtime(runtime: Runtime, reference: Reference) -> None:
    """Try a runtime on views whose detections are known.

    Raises
    ------
    RuntimeRefused
        A detection is missing, or lies or scores otherwise.
    """
    (found,) = runtime.detect(reference.views)
    expected = reference.expected
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
