"""A small residual network that learns from nothing: for whole stacks in the night, too many for EfficientNet-lite0.

After He 2015 (arXiv 1512.03385), ResNet-18 in its order of layers, a quarter as wide. The planes are the channels of
its input, so that the first layer compares them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64, 128)
BLOCKS = 2
"""A stage."""
POOLED = 3
"""Last stages whose output is averaged, and whose greatest values are taken, into the vector."""
WIDTH = 2 * sum(WIDTHS[-POOLED:])
"""Of the vector."""


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give what two convolutions add to their input."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Small(nn.Module):
    """The network up to its last layer but one.

    Parameters
    ----------
    channels
        of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        stages, inputs = [], WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            first = _Residual(inputs, width, 1 if number == 0 else 2)
            stages.append(nn.Sequential(first, *(_Residual(width, width, 1) for _ in range(BLOCKS - 1))))
            inputs = width
        self.stages = nn.ModuleList(stages)

    def forward(self, views: Tensor) -> Tensor:
        """Give vectors (N, WIDTH) of views (N, channels, h, w)."""
        x = functional.relu(self.stem_norm(self.stem(views)))
        pooled = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number >= len(self.stages) - POOLED:
                pooled += [x.mean(dim=(2, 3)), x.amax(dim=(2, 3))]
        return torch.cat(pooled, dim=1)
