"""Normalisations folded into the convolutions before them."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

Part = TypeVar("Part", bound=nn.Module)


def folded(part: Part) -> Part:
    """Give a copy of a part, in evaluation mode, that normalises no more; the part itself stays as it is.

    Before a part is made fp16 this is a need: the root of a small variance, and what it divides, would lose too many
    bits.
    """
    copied = copy.deepcopy(part)
    for module in list(copied.modules()):
        _fold(module)
    return copied


def _fold(module: nn.Module) -> None:
    """Fold each child that normalises into the convolution defined just before it, as ResNets of torchvision do."""
    before: nn.Module | None = None
    for name, child in list(module.named_children()):
        if isinstance(before, nn.Conv2d) and isinstance(child, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            mean, variance = child.get_buffer("running_mean"), child.get_buffer("running_var")
            before.weight, before.bias = fuse_conv_bn_weights(
                before.weight, before.bias, mean, variance, child.eps, child.weight, child.bias
            )
            setattr(module, name, nn.Identity())
        before = child
