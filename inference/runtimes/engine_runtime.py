"""The static graph as a TensorRT engine on a graphics card. Written without one at hand: not yet executed on any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from inference.errors import RuntimeRefused
from inference.network.detected import Detected
from inference.runtimes.engines import Engine, library, load
from inference.runtimes.runtimes import GraphRuntime, Runtime
from inference.views.channels import ViewArray


class EngineRuntime(GraphRuntime):
    """An engine with a stream and buffers of its own, made once: nothing is allocated for a view.

    Raises
    ------
    RuntimeRefused
        The engine cannot be loaded here, or is not of this detector.
    """

    def __init__(self, engine: Engine, exact: Callable[[], Runtime]) -> None:
        card = engine.card
        super().__init__(f"{card.library} {card.version} in {card.precision}", card.batch, exact)
        self._engine = load(engine.path)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeRefused(f"{self.name} finds no room on the graphics card; close what else runs there")
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._device = {name: self._buffer(name, "cuda") for name in ("views", *Detected._fields)}
        # Page-locked, so that copies run on the stream as the engine does.
        self._host = {name: torch.empty_like(there, device="cpu").pin_memory() for name, there in self._device.items()}
        for name, there in self._device.items():
            if not self._context.set_tensor_address(name, there.data_ptr()):
                raise RuntimeRefused(
                    f"{str(engine.path)!r} has no {name!r}; build it again with 'lamelle engine build'"
                )

    def run(self, views: ViewArray) -> Sequence[NDArray[Any]]:
        """Give the outputs of the graph, as in `detected.Detected`, for views (batch, 3, h, w).

        Raises
        ------
        RuntimeRefused
            The engine could not be executed.
        """
        given = torch.as_tensor(views)
        source = given if given.is_cuda else self._host["views"].copy_(given)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._device["views"].copy_(source, non_blocking=True)
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise RuntimeRefused(f"{self.name} failed at {len(views)} views; set detector.runtime to 'onnxruntime'")
            for name in Detected._fields:
                self._host[name].copy_(self._device[name], non_blocking=True)
        self._stream.synchronize()
        # Copies: the buffers are written again with the next views.
        return [self._host[name].numpy().copy() for name in Detected._fields]

    def _buffer(self, name: str, device: str) -> torch.Tensor:
        types = library().DataType
        torch_types = {
            types.FLOAT: torch.float32,
            types.HALF: torch.float16,
            types.INT64: torch.int64,
            types.INT32: torch.int32,
            types.BOOL: torch.bool,
        }
        shape = tuple(self._engine.get_tensor_shape(name))
        return torch.empty(shape, dtype=torch_types[self._engine.get_tensor_dtype(name)], device=device)
