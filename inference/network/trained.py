"""Weights in memory, and the network that they are of. It is built when it is first asked for.

A night whose model is exported already may never ask: torch and torchvision take seconds and 400 MB to be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from inference.network.weights_file import Weights, check_weights, find_weights
from inference.settings import Architecture, DetectorSettings

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN


@dataclass(frozen=True)
class Trained:
    """Weights and what they were trained for.

    Attributes
    ----------
    build
        makes their network, in evaluation mode, float32, on the CPU.
    """

    weights: Weights
    architecture: Architecture
    classes: tuple[str, ...]
    build: Callable[[], FasterRCNN]

    @classmethod
    def of(cls, settings: DetectorSettings, threads: int | None = None) -> Trained:
        """Read what settings name; the file is not needed any more.

        Parameters
        ----------
        threads
            how many torch computes with in this process once the network is built; its own choice if None.

        Raises
        ------
        WeightsRefused
            The weights are missing, or not of the architecture and classes that the settings name. Whether those that
            another program wrote fit, `network` tells, or `weights_proof.prove_weights` before.
        """
        weights = find_weights(settings.weights)
        architecture, classes = settings.architecture, settings.classes
        header = check_weights(weights.path, architecture, classes)
        content = weights.path.read_bytes()

        def build() -> FasterRCNN:
            import safetensors.torch
            import torch

            from inference.network.network import of_state

            if threads is not None:
                torch.set_num_threads(threads)
            return of_state(safetensors.torch.load(content), header, architecture, classes, weights.path)

        return cls(weights, architecture, classes, build)

    @cached_property
    def network(self) -> FasterRCNN:
        """Their network.

        Raises
        ------
        WeightsRefused
            The weights are of another network.
        """
        return self.build()
