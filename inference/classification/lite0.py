"""EfficientNet-lite0 without its last layer: 3.4 million parameters that learnt from ImageNet to see.

The layers and their names are those of the published weights (Tan & Le 2019, arXiv 1905.11946, in its "lite" form: no
squeeze and excitation, ReLU6). What they make of an image after six of the stages is averaged over the image, so that a
vector holds texture as well as shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

STEM, LAST = 32, 1280
CENTRE, SPREAD = 0.498, 0.502
"""What images between 0 and 1 are centred and scaled by, as in the training of the published weights."""
DARKEST, BRIGHT = 0.04, 0.78
"""Of such an image: background, and how much brighter than that is what a view gives as 1."""
EPSILON = 1e-3
"""Of the normalisation, as published."""


class _Row(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    _Row(1, 3, 1, 1, 16),
    _Row(2, 3, 2, 6, 24),
    _Row(2, 5, 2, 6, 40),
    _Row(3, 3, 2, 6, 80),
    _Row(3, 5, 1, 6, 112),
    _Row(4, 5, 2, 6, 192),
    _Row(1, 3, 1, 6, 320),
)
POOLED = (2, 4, 10, 15)
"""Blocks whose output is averaged into the vector, beside that of the last layer."""
WIDTH = 24 + 40 + 112 + 320 + LAST
"""Of the vector."""


class _Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow pads, one pixel more below and on the right where the stride is two."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch calls it so
        """Convolve."""
        (stride, _), (kernel, _) = self.stride, self.kernel_size
        before, after = [], []
        for size in input.shape[-2:]:
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            before.append(missing // 2)
            after.append(missing - missing // 2)
        padded = functional.pad(input, [before[1], after[1], before[0], after[0]])
        return functional.conv2d(padded, self.weight, None, self.stride, 0, 1, self.groups)


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> _Convolution:
    return _Convolution(inputs, outputs, kernel, stride, groups=groups, bias=False)


class _Bottleneck(nn.Module):
    """Inverted bottleneck."""

    def __init__(self, inputs: int, stage: _Row, stride: int) -> None:
        super().__init__()
        inner = inputs * stage.expansion
        self._expands = stage.expansion > 1
        self._adds = stride == 1 and inputs == stage.channels
        if self._expands:
            self._expand_conv = _convolution(inputs, inner)
            self._bn0 = nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv = _convolution(inner, inner, stage.kernel, stride, inner)
        self._bn1 = nn.BatchNorm2d(inner, EPSILON)
        self._project_conv = _convolution(inner, stage.channels)
        self._bn2 = nn.BatchNorm2d(stage.channels, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Give what the block adds to or makes of its input."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        added: Tensor = x + y if self._adds else y
        return added


class Lite0(nn.Module):
    """The network up to its last layer but one.

    Parameters
    ----------
    channels
        of the input. Published weights are for three colours; what is grey is one channel, whose kernel is their sum.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self._conv_stem = _convolution(channels, STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM, EPSILON)
        blocks, inputs = [], STEM
        for stage in STAGES:
            for number in range(stage.repeats):
                blocks.append(_Bottleneck(inputs, stage, stage.stride if number == 0 else 1))
                inputs = stage.channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _convolution(inputs, LAST)
        self._bn1 = nn.BatchNorm2d(LAST, EPSILON)

    def forward(self, views: Tensor) -> Tensor:
        """Give vectors (N, WIDTH) of square views (N, channels, side, side), whose background is 0.

        Each is the mean over four ways in which an object can lie: as it does, turned by half, and both mirrored at the
        diagonal. What is named shall not depend on them, and the mean tells more than each alone.
        """
        half = torch.cat([views, views.flip((2, 3))])
        lying = torch.cat([half, half.transpose(2, 3)])
        mean: Tensor = self._once(lying).reshape(4, -1, WIDTH).mean(dim=0)
        return mean

    def _once(self, views: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem((views * BRIGHT + (DARKEST - CENTRE)) / SPREAD)))
        pooled = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in POOLED:
                pooled.append(x.mean(dim=(2, 3)))
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return torch.cat([*pooled, x.mean(dim=(2, 3))], dim=1)


def from_published(state: dict[str, Tensor], channels: int = 1) -> dict[str, Tensor]:
    """Turn published weights into those of a `Lite0`: grey images instead of colours, without the last layer."""
    kept = {name: value for name, value in state.items() if not name.startswith("_fc.")}
    stem = kept["_conv_stem.weight"].sum(dim=1, keepdim=True)
    return kept | {"_conv_stem.weight": stem.repeat(1, channels, 1, 1) / channels}
