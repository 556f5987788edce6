"""Convolutions with fewer multiplications against torch's own."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from inference.network import network
from inference.network.winograd import FEWEST_CHANNELS, WinogradConvolution, is_suited, with_winograd


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(1, most) for most in (3, 5, 21, 21))),
    out=st.integers(1, 5),
    bias=st.booleans(),
)
def test_it_gives_what_the_convolution_gives(seed: int, shape: tuple[int, int, int, int], out: int, bias: bool) -> None:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(shape[1], out, 3, padding=1, bias=bias)
    features = torch.randn(shape)
    with torch.no_grad():
        found, expected = WinogradConvolution(convolution)(features), convolution.double()(features.double())
    # Sums of at most 45 products of about one: float32 has 24 bits, the transforms cost about four of them.
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


def test_other_convolutions_are_left_as_they_are() -> None:
    many = FEWEST_CHANNELS
    assert is_suited(nn.Conv2d(many, many, 3, padding=1))
    others = [
        nn.Conv2d(many, many, 1),
        nn.Conv2d(many, many, 5, padding=1),
        nn.Conv2d(many, many, 3),
        nn.Conv2d(many, many, 3, stride=2, padding=1),
        nn.Conv2d(many, many, 3, padding=2, dilation=2),
        nn.Conv2d(many, many, 3, padding=1, groups=2),
        nn.Conv2d(many, many, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(many - 1, many, 3, padding=1),
        nn.Conv2d(many, many - 1, 3, padding=1),
        nn.Identity(),
    ]
    assert not [module for module in others if is_suited(module)]


def test_a_backbone_keeps_what_it_finds_and_the_network_its_convolutions() -> None:
    torch.manual_seed(1)
    backbone = network.build("slim", ("fossil",)).eval().backbone
    images = torch.randn(2, 3, 96, 160)
    faster = with_winograd(backbone)
    assert sum(isinstance(module, WinogradConvolution) for module in faster.modules()) == 6
    assert not any(isinstance(module, WinogradConvolution) for module in backbone.modules())
    with torch.no_grad():
        for found, expected in zip(faster(images).values(), backbone(images).values(), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
