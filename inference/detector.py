"""The network at work: views in, detections of objects out."""

from __future__ import annotations

import logging

import numpy as np

from inference.network.device import DeviceName, pick_device
from inference.network.trained import Trained
from inference.objects.merging import Detections, merge
from inference.runtimes.choice import fastest_first, open_runtime
from inference.runtimes.runtimes import Runtime
from inference.settings import DetectorSettings
from inference.views.channels import ViewArray

PLANES_SUPPORT = 2

_log = logging.getLogger(__name__)


class ViewDetector:
    """Faster R-CNN with its weights on its device.

    The fastest runtime is taken that finds what torchvision's network finds, for each size of views when it is first
    met. Why another was not taken is logged as a warning, and kept.

    Attributes
    ----------
    refusals
        why runtimes were not taken, so far; a sentence each.

    Raises
    ------
    WeightsRefused
        The weights are missing, or of another architecture or other classes than the settings name.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._device = pick_device(settings.device)
        self._trained = Trained.of(settings, settings.threads)
        self._runtimes: dict[tuple[int, int], Runtime] = {}
        self.refusals: tuple[str, ...] = ()

    @property
    def weights_sha256(self) -> str:
        """Hex sha256 of the weights file."""
        return self._trained.weights.sha256

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Name what runs the network, and for which size of views."""
        return tuple(f"{runtime.name}, {h} x {w} px" for (h, w), runtime in self._runtimes.items())

    @property
    def device(self) -> DeviceName:
        """What the network runs on."""
        return self._device

    def detect(self, views: ViewArray) -> Detections:
        """Objects in views of one field, boxes in px of the views, merged, best first.

        `planes` counts views.

        Raises
        ------
        RuntimeRefused
            The runtime that the settings name cannot be used.
        """
        found = self._runtime((views.shape[2], views.shape[3])).detect(views)
        everything = Detections(
            np.concatenate([f.boxes for f in found]),
            np.concatenate([f.scores for f in found]),
            np.concatenate([f.labels for f in found]),
            np.concatenate([f.planes for f in found]),
        )
        return merge(everything, self._settings.merge_iou, min(PLANES_SUPPORT, len(views)))

    def _runtime(self, size: tuple[int, int]) -> Runtime:
        if size not in self._runtimes:
            self._runtimes[size] = self._open(size)
        return self._runtimes[size]

    def _open(self, size: tuple[int, int]) -> Runtime:
        settings = self._settings
        names = fastest_first(self._device) if settings.runtime == "auto" else (settings.runtime,)
        runtime, refusals = open_runtime(self._trained, size, names, self._device, settings.threads)
        for refusal in refusals:
            _log.warning("%s", refusal)
        self.refusals += refusals
        _log.info("the detector runs on %s for views of %d x %d px", runtime.name, *size)
        return runtime
