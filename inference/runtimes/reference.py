"""What a runtime must find before it is trusted: views, and what torchvision's own network finds in them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from inference.objects.merging import Detections

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN

SAMPLE = "sample.safetensors"


@dataclass(frozen=True)
class Reference:
    """Views, and what is to be found in them.

    Attributes
    ----------
    views
        float32 (1, 3, height, width).
    expected
        boxes in px, best first.
    """

    views: NDArray[np.float32]
    expected: Detections

    @classmethod
    def of(cls, network: FasterRCNN, size: tuple[int, int]) -> Reference:
        """Lay the shipped sample over a whole view, again and again, and ask a network on the CPU what is there.

        Parameters
        ----------
        size
            height, width of the view, px.
        """
        # What was found is read again without it.
        import torch

        with as_file(files("inference") / "weights" / SAMPLE) as shipped:
            sample = safetensors.numpy.load_file(shipped)["views"].astype(np.float32)
        height, width = size
        times = 1, 1, -(-height // sample.shape[2]), -(-width // sample.shape[3])
        views = np.ascontiguousarray(np.tile(sample, times)[:, :, :height, :width])
        with torch.inference_mode():
            (found,) = network([torch.from_numpy(views[0])])
        return cls(views, _detections({name: values.numpy() for name, values in found.items()}))

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote."""
        kept = safetensors.numpy.load_file(path)
        return cls(kept["views"].astype(np.float32), _detections(kept))

    def save(self, path: Path) -> None:
        """Write a safetensors file; the views in fp16, as the sample is."""
        found = self.expected
        kept: dict[str, NDArray[Any]] = {
            "views": self.views.astype(np.float16),
            "boxes": found.boxes,
            "scores": found.scores,
            "labels": found.labels,
        }
        safetensors.numpy.save_file(kept, path)


def _detections(found: dict[str, NDArray[np.generic]]) -> Detections:
    scores = found["scores"].astype(np.float32)
    return Detections(
        found["boxes"].astype(np.float32), scores, found["labels"].astype(np.int64), np.zeros(len(scores), np.int64)
    )
