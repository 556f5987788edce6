"""The static graph in onnxruntime, on the processor or through CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.errors import RuntimeRefused
from inference.network.device import DeviceName
from inference.runtimes.onnx_model import OnnxModel
from inference.runtimes.runtimes import GraphRuntime, Runtime
from inference.views.channels import ViewArray

onnxruntime.disable_telemetry_events()


class OnnxRuntime(GraphRuntime):
    """The static graph as a session of onnxruntime.

    Raises
    ------
    RuntimeRefused
        The model cannot be loaded, or onnxruntime would run it on another device than asked for.
    """

    def __init__(self, model: OnnxModel, exact: Callable[[], Runtime], threads: int, device: DeviceName) -> None:
        super().__init__(f"onnxruntime on {device}", model.form.batch, exact)
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

    def run(self, views: ViewArray) -> Sequence[NDArray[Any]]:
        """Give the outputs of the graph, as in `detected.Detected`, for views (batch, 3, h, w)."""
        outputs: Sequence[NDArray[Any]]
        if isinstance(views, np.ndarray):
            outputs = self._session.run(None, {"views": views})
            return outputs
        # What lies on a graphics card lies there as torch's.
        import torch

        from inference.network.detected import Detected

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


def provider_for(device: DeviceName) -> str:
    """Name what onnxruntime calls a device.

    Raises
    ------
    RuntimeRefused
        The onnxruntime that is installed knows no such device.
    """
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeRefused(
            f"onnxruntime {onnxruntime.__version__} was built without CUDA; 'pip uninstall onnxruntime', then 'pip "
            "install --force-reinstall --no-deps onnxruntime-gpu'"
        )
    return provider
