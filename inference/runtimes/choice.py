"""Which runtime is taken: the fastest for the device that finds what it must. Each is tried before it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from inference.errors import InferenceError, RuntimeRefused
from inference.network.device import DeviceName
from inference.network.trained import Trained
from inference.runtimes.onnx_model import Form, onnx_model
from inference.runtimes.reference import Reference
from inference.runtimes.runtimes import Runtime, check_runtime

RuntimeName = Literal["tensorrt", "onnxruntime", "torch"]


def fastest_first(device: DeviceName) -> tuple[RuntimeName, ...]:
    """Runtimes for a device, in the order in which they are tried."""
    return ("onnxruntime", "torch") if device == "cpu" else ("tensorrt", "onnxruntime", "torch")


def open_runtime(
    trained: Trained,
    size: tuple[int, int],
    names: Sequence[RuntimeName],
    device: DeviceName,
    threads: int,
    kept_in: Path | None = None,
) -> tuple[Runtime, tuple[str, ...]]:
    """Open the first of some runtimes that finds what it must; with it, why those before it were not taken.

    Parameters
    ----------
    size
        height, width of the views, px.
    threads
        of the processor.
    kept_in
        folder of exported models and engines, instead of the user's cache.

    Raises
    ------
    RuntimeRefused
        None of them does.
    """
    refusals: list[str] = []
    for name in names:
        try:
            return _tried(name, trained, size, device, threads, kept_in), tuple(refusals)
        except RuntimeRefused as error:
            refusals.append(str(error))
    raise RuntimeRefused(f"no runtime can run the detector: {'; '.join(refusals)}; set detector.runtime to 'auto'")


def _tried(
    name: RuntimeName, trained: Trained, size: tuple[int, int], device: DeviceName, threads: int, kept_in: Path | None
) -> Runtime:
    try:
        runtime, reference = _open(name, trained, size, device, threads, kept_in)
        if reference is not None:
            check_runtime(runtime, reference)
    except InferenceError:
        raise
    except Exception as error:
        # Each library has errors of its own, and some fail with the first views only.
        raise RuntimeRefused(f"{name} failed when it was tried ({error}); it is not used") from error
    return runtime


def _open(
    name: RuntimeName, trained: Trained, size: tuple[int, int], device: DeviceName, threads: int, kept_in: Path | None
) -> tuple[Runtime, Reference | None]:
    """Open a runtime, and give what it must find; none where it is what the others are measured by.

    Each is imported when it is its turn, and its library with it: torch takes a second and 200 MB.
    """

    @cache
    def exact() -> Runtime:
        from inference.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(trained, device)

    if device == "cuda":
        # A graphics card shall have room for it before the night, not only when it is first asked.
        exact()
    match name:
        case "tensorrt":
            from inference.runtimes.engine_runtime import EngineRuntime
            from inference.runtimes.engines import engine, library

            # What is not installed is found out before half a minute goes into a model for it.
            library()
            model = onnx_model(trained, Form(size, precision="fp16"), kept_in)
            return EngineRuntime(engine(model, kept_in), exact), model.reference()
        case "onnxruntime":
            from inference.runtimes.onnx_runtime import OnnxRuntime, provider_for

            provider_for(device)
            # In fp32, so that weights which fp16 is too coarse for have somewhere to go.
            model = onnx_model(trained, Form(size, winograd=device == "cpu"), kept_in)
            return OnnxRuntime(model, exact, threads, device), model.reference()
        case "torch":
            return exact(), Reference.of(trained.network, size) if device == "cuda" else None
