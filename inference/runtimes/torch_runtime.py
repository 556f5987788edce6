"""Torchvision's own network; on the processor what all other runtimes are measured by."""

from __future__ import annotations

import copy

import numpy as np
import torch

from inference.network.device import DeviceName
from inference.network.trained import Trained
from inference.objects.merging import Detections
from inference.views.channels import ViewArray


class TorchRuntime:
    """Torchvision's network on a device.

    Parameters
    ----------
    trained
        whose network it is; for another device than the CPU it is copied.
    """

    def __init__(self, trained: Trained, device: DeviceName) -> None:
        self.name = f"torch on {device}"
        self._device = device
        self._batch = 1 if device == "cpu" else 16
        network = trained.network if device == "cpu" else copy.deepcopy(trained.network).to(device)
        self._network = network.to(memory_format=torch.channels_last)

    def detect(self, views: ViewArray) -> list[Detections]:
        """Objects in each of some views (N, 3, h, w), boxes in px, best first; `planes` counts views."""
        found: list[Detections] = []
        with torch.inference_mode():
            for first in range(0, len(views), self._batch):
                batch = torch.as_tensor(views[first : first + self._batch]).to(self._device)
                for output in self._network(list(batch)):
                    boxes, scores, labels = (output[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
                    found.append(Detections(boxes, scores, labels, np.full(len(scores), len(found), np.int64)))
        return found
