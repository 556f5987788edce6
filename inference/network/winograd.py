"""Convolutions of 3 x 3 with a quarter of the multiplications, for processors, which multiply at their limit.

Winograd's minimal filtering F(4 x 4, 3 x 3): a tile of 6 x 6 and the kernel are both transformed, multiplied element by
element, and transformed back to 4 x 4 (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section
4.3). Written as a convolution and products of matrices, which every runtime has. Libraries for graphics cards choose
such algorithms by themselves.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.network.folding import Part, folded

FEWEST_CHANNELS = 128
"""With fewer the transforms cost as much as the multiplications that they save (benchmarks/winograd.py)."""

TILE, SIDE = 4, 6
"""What a tile gives, and what it takes, along each axis."""
_OF_TILE = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_OF_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div(24)
_BACK = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)


class WinogradConvolution(nn.Module):
    """What a convolution of 3 x 3 gives, from and to (B, C, h, w); sums differ in their last bits.

    Parameters
    ----------
    convolution
        one of those that `is_suited` names.
    """

    of_tile: Tensor
    kernels: Tensor
    back: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        kernels = torch.einsum("ai,koij,bj->abko", _OF_KERNEL, weight.double(), _OF_KERNEL)
        self.register_buffer("kernels", kernels.flatten(0, 1).to(weight.dtype))
        self.register_buffer("of_tile", torch.kron(_OF_TILE, _OF_TILE).reshape(SIDE**2, 1, SIDE, SIDE).to(weight.dtype))
        self.register_buffer("back", _BACK.to(weight.dtype))
        bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("bias", bias.reshape(-1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Convolve (B, C, h, w), with a border of zeros."""
        batch, channels, height, width = features.shape
        if batch > 1:
            return torch.cat([self(one[None]) for one in features])
        rows, columns = -(-height // TILE), -(-width // TILE)
        border = 1, 1 + columns * TILE - width, 1, 1 + rows * TILE - height
        # Each channel as an image of its own: all are transformed alike.
        alone = functional.pad(features.reshape(channels, 1, height, width), border)
        tiles = functional.conv2d(alone, self.of_tile, stride=TILE).flatten(2)
        products = self.kernels @ tiles.transpose(0, 1)
        # Down first, then across: so what is laid in order at last are whole rows, not values one by one.
        down = (self.back @ products.reshape(SIDE, -1)).reshape(TILE, SIDE, -1)
        across = (down.transpose(1, 2) @ self.back.T).reshape(TILE, -1, rows, columns * TILE)
        whole = across.permute(1, 2, 0, 3).reshape(1, -1, rows * TILE, columns * TILE)
        return whole[:, :, :height, :width] + self.bias


def is_suited(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution that Winograd's does faster."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.stride == module.dilation == module.padding == (1, 1)
        and module.padding_mode == "zeros"
        and module.groups == 1
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )


def with_winograd(part: Part) -> Part:
    """Give a copy of a part, in evaluation mode, whose large convolutions are Winograd's; normalisations are folded."""
    copied = folded(part)
    for module in list(copied.modules()):
        for name, child in list(module.named_children()):
            if is_suited(child):
                setattr(module, name, WinogradConvolution(child))
    return copied
