"""What a graph gives, and in which precision; known without the network that it is of."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Precision = Literal["fp32", "fp16"]


class Detected(NamedTuple):
    """What a graph gives for a batch of B views.

    Attributes
    ----------
    boxes
        float32 (B, D, 4) x0, y0, x1, y1 in px, best first.
    scores
        float32 (B, D).
    labels
        int64 (B, D), from 1.
    found
        int64 (B,), how many of the D are detections; the rest has the score 0.
    converged
        bool (B,), whether suppression came to its end, so that the result is torchvision's.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    found: Tensor
    converged: Tensor
