"""What some weights take for an object though nothing to be found lies there: the best examples of what is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN
from torchvision.ops import box_iou

from inference.annotations.stacks import Views
from inference.network.device import DeviceName

Place = tuple[Views, NDArray[np.float32]]
"""A field, and a box x0, y0, x1, y1 there in px of its views."""


LOWEST_SCORE = 0.2
LARGEST_OVERLAP = 0.3
"""With anything annotated, as intersection over union; closer ones may be the object, badly outlined."""


def find_mistakes(
    network: FasterRCNN, device: DeviceName, fields: Sequence[Views], report: Callable[[int, int], None]
) -> list[Place]:
    """Boxes of what a network wrongly finds in fused views, each with its field.

    The network is left in evaluation mode.
    """
    mistakes: list[Place] = []
    network.eval()
    for number, field in enumerate(fields, start=1):
        view = torch.from_numpy(np.asarray(field.images[0], np.float32)).to(device)
        with torch.inference_mode():
            found = network([view])[0]
        boxes = found["boxes"][found["scores"] >= LOWEST_SCORE].cpu()
        known = torch.from_numpy(field.boxes[field.labels[0] != 0])
        alone = boxes if len(known) == 0 else boxes[box_iou(boxes, known).amax(dim=1) < LARGEST_OVERLAP]
        mistakes += [(field, box) for box in alone.numpy()]
        report(number, len(fields))
    return mistakes
