"""The network at work: views in, detections of objects out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from inference import network
from inference.merging import Detections, merge
from inference.settings import DetectorSettings
from inference.weights_file import find_weights

PLANES_SUPPORT = 2


class Detector:
    """Faster R-CNN with its weights on its device.

    Raises
    ------
    WeightsRefused
        The weights are missing, or of another architecture or other classes than the settings name.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._device = network.pick_device(settings.device)
        weights = find_weights(settings.weights)
        self.weights_sha256 = weights.sha256
        loaded = network.load(weights, settings.architecture, settings.classes)
        self._network = loaded.to(self._device).to(memory_format=torch.channels_last)
        self._batch = 1 if self._device.type == "cpu" else 16

    def detect(self, views: NDArray[np.float32]) -> Detections:
        """Objects in views (N, 3, h, w) of one field, boxes in px of the views, merged, best first.

        `planes` counts views.
        """
        found: list[Detections] = []
        with torch.inference_mode():
            for first in range(0, len(views), self._batch):
                batch = torch.from_numpy(views[first : first + self._batch]).to(self._device)
                for k, output in enumerate(self._network(list(batch))):
                    boxes, scores = output["boxes"].cpu().numpy(), output["scores"].cpu().numpy()
                    plane = np.full(len(scores), first + k, np.int64)
                    found.append(Detections(boxes, scores, output["labels"].cpu().numpy(), plane))
        everything = Detections(
            np.concatenate([f.boxes for f in found]),
            np.concatenate([f.scores for f in found]),
            np.concatenate([f.labels for f in found]),
            np.concatenate([f.planes for f in found]),
        )
        return merge(everything, self._settings.merge_iou, min(PLANES_SUPPORT, len(views)))
