"""Weights in memory, and the network that they are of. It is built when it is first asked for.

A night whose model is exported already may never ask: torchvision takes two seconds and 170 MB to be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import safetensors.torch

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
    def of(cls, settings: DetectorSettings) -> Trained:
        """Read what settings name; the file is not needed any more.

        Raises
        ------
        WeightsRefused
            The weights are missing, or not of the architecture and classes that the settings name. Whether those that
            another program wrote fit, `network` tells, or `weights_proof.prove_weights` before.
        """
        weights = find_weights(settings.weights)
        architecture, classes = settings.architecture, settings.classes
        header = check_weights(weights.path, architecture, classes)
        state = safetensors.torch.load(weights.path.read_bytes())

        def build() -> FasterRCNN:
            from inference.network.network import of_state

            return of_state(state, header, architecture, classes, weights.path)

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
