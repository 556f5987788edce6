"""What `channels` does, with torch on a device: frames go there as they land, and stay there until they are views.

Every filter and every change of scale is a matrix for the rows and one for the columns, multiplied in full 32 bit;
mirrored edges and parts of pixels are in the matrices. On a CPU OpenCV is many times as fast, so this is for GPUs. Its
arithmetic is that of `channels`, to which the tests hold it on CPU tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from inference.views.channels import (
    BACKGROUND_CELL_PX,
    BRIGHT_GAIN,
    CROSSED,
    CROSSED_GAIN,
    ENERGY_BINNING,
    ENERGY_SMOOTHING_PX,
    FAINTEST,
    INDEX_SMOOTHING_PX,
    MEDIAN_PX,
    MOST_DEVIATION,
    NO_NOISE,
    SHARPNESS_GAIN,
    Floats,
    Scale,
    StackViews,
)
from inference.views.fixed_pattern import BinnedPattern

Matrices = tuple[Tensor, Tensor]
"""For the rows (new rows, rows), and for the columns, transposed (columns, new columns)."""


class DevicePlanes:
    """What has landed of a stack, on a device, in buffers that are used again; see `channels.Planes`.

    Parameters
    ----------
    channels
        of the stacks, CZYX.
    planes
        of the stacks, CZYX.
    height
        of the stacks, CZYX.
    width
        of the stacks, CZYX.
    device
        "cuda"; any other that torch knows works too, only not faster.
    pattern
        to be taken off every frame, where it is known.
    """

    def __init__(
        self,
        channels: int,
        planes: int,
        height: int,
        width: int,
        scale: Scale,
        device: str,
        pattern: BinnedPattern | None = None,
    ) -> None:
        self.scale, self._device = scale, device
        self.shape = channels, planes, height, width
        size = height // scale.binning, width // scale.binning
        coarse = size[0] // ENERGY_BINNING, size[1] // ENERGY_BINNING
        on_gpu = device == "cuda"
        self._roots = torch.zeros(channels, planes, *size, device=device)
        self._energies = torch.zeros(channels, planes, *coarse, device=device)
        # Torch knows unsigned 16 bit by name only; the bits are the same.
        self._pinned = torch.zeros(channels, planes, height, width, dtype=torch.int16, pin_memory=on_gpu)
        self._landing = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
        self._pattern: tuple[Tensor, Tensor, float] | None = None
        if pattern is not None:
            offset_dn, gains = (torch.from_numpy(values).to(device) for values in (pattern.offset_dn, pattern.gains))
            self._pattern = offset_dn, gains, pattern.level_dn
        cells = [max(1, n // BACKGROUND_CELL_PX) for n in size]
        self._smooth_roots = self._matrices(_blurring, size, scale.sigma_px)
        self._curve = self._matrices(_curvature, size)
        self._halve = self._matrices(_shrinking, size, coarse)
        self._smooth_energies = self._matrices(_blurring, coarse, ENERGY_SMOOTHING_PX)
        self._smooth_index = self._matrices(_blurring, coarse, INDEX_SMOOTHING_PX)
        self._double = self._matrices(_widening, coarse, size)
        self._shrink = self._matrices(_shrinking, size, cells)
        self._widen = self._matrices(_widening, cells, size)

    def _matrices(self, make: Callable[..., Floats], *arguments: Sequence[int] | float) -> Matrices:
        """Matrices for rows and for columns; of a pair of lengths each takes its own."""
        of_axis = [[each if isinstance(each, float) else each[axis] for each in arguments] for axis in (0, 1)]
        rows, columns = (torch.from_numpy(make(*each)).to(self._device) for each in of_axis)
        return rows, columns.T

    def add(self, frame: NDArray[np.uint16], c: int, z: int) -> None:
        """Take in one plane (H, W); on a GPU its way there and its energy go on while the next one is exposed."""
        self._pinned[c, z].numpy()[:] = frame.view(np.int16)
        with self._on_landing_stream():
            values = self._pinned[c, z].to(self._device, non_blocking=True).to(torch.int32).bitwise_and(0xFFFF)
            n = self.scale.binning
            even = functional.avg_pool2d(values.float()[None, None], n)[0, 0].add(0.5).floor()
            if self._pattern is not None:
                offset_dn, gains, level_dn = self._pattern
                even = ((even - offset_dn) * gains[c] + level_dn).clamp(min=0)
            root = even.sqrt()
            self._roots[c, z] = root
            smooth = _apply(self._smooth_roots, root)
            laplacian = self._curve[0] @ smooth + smooth @ self._curve[1]
            energy = _apply(self._halve, laplacian.square())
            self._energies[c, z] = _apply(self._smooth_energies, energy)

    def look(self, polarizations: tuple[str, ...], *, every_plane: bool) -> StackViews:
        """See `channels.Planes.look`; the views stay on the device."""
        if self._landing is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._landing)
        noise = _noise_of(self._energies[:, :, ::4, ::4].flatten(1))
        sharpness = (self._energies / (len(noise) * noise.reshape(-1, 1, 1, 1))).sum(dim=0)
        sharpest = self._sharpest(sharpness)
        index = _apply(self._double, sharpest).round().long()
        roots = self._roots.gather(1, index.expand(len(self._roots), 1, *index.shape))[:, 0]
        fused = self._input(roots, sharpness.gather(0, sharpest.round().long()[None])[0], polarizations)
        views = fused[None]
        if every_plane:
            views = torch.stack(
                [self._input(self._roots[:, z], sharpness[z], polarizations) for z in range(len(sharpness))]
            )
        return StackViews(
            sharpness=sharpness.cpu().numpy(),
            sharpest=sharpest.cpu().numpy(),
            taken_from=index.cpu().numpy(),
            roots=roots.cpu().numpy(),
            fused=fused.cpu().numpy(),
            views=views,
        )

    def backgrounds_dn(self) -> tuple[float, ...]:
        """Median intensity of each polarization over all its planes, in DN, from every 8th pixel."""
        return tuple(self._roots[:, :, ::8, ::8].flatten(1).quantile(0.5, dim=1).square().tolist())

    def _sharpest(self, sharpness: Tensor) -> Tensor:
        best, index = sharpness.max(dim=0)
        weight = best.clamp(min=FAINTEST)
        return _apply(self._smooth_index, index * weight) / _apply(self._smooth_index, weight)

    def _input(self, roots: Tensor, sharpness: Tensor, polarizations: tuple[str, ...]) -> Tensor:
        image = torch.zeros(3, *roots.shape[1:], device=self._device)
        bright = next((c for c, name in enumerate(polarizations) if name != CROSSED), None)
        reference = _level_of(roots[0 if bright is None else bright, ::8, ::8].flatten())
        if bright is not None:
            below = self._background(roots[bright])
            image[0] = (roots[bright] - below) * (BRIGHT_GAIN / below.clamp(min=1.0))
        if CROSSED in polarizations:
            crossed = roots[polarizations.index(CROSSED)]
            image[1] = (crossed - self._background(crossed)) * (CROSSED_GAIN / reference)
        image[:2].clamp_(-MOST_DEVIATION, MOST_DEVIATION)
        image[2] = _apply(self._double, sharpness.clamp(min=FAINTEST).log() * SHARPNESS_GAIN)
        return image

    def _background(self, root: Tensor) -> Tensor:
        coarse = _apply(self._shrink, root)
        around = MEDIAN_PX // 2
        edged = functional.pad(coarse[None, None], (around,) * 4, mode="replicate")
        near = functional.unfold(edged, MEDIAN_PX)[0].median(dim=0).values
        return _apply(self._widen, near.reshape(coarse.shape))

    @contextmanager
    def _on_landing_stream(self) -> Iterator[None]:
        if self._landing is None:
            yield
            return
        with torch.cuda.stream(self._landing):
            yield


def _noise_of(energy: Tensor) -> Tensor:
    """See `channels.noise_of`; of each row (C, N)."""
    least = NO_NOISE * energy.amax(dim=1)
    median = energy.quantile(0.5, dim=1)
    noisy = torch.where(energy > least[:, None], energy, torch.nan).nanquantile(0.5, dim=1).nan_to_num(nan=1.0)
    return torch.where(median > least, median, noisy)


def _level_of(root: Tensor) -> Tensor:
    """See `channels.level_of`."""
    median, lit = root.quantile(0.5), torch.where(root > 0, root, torch.nan).nanquantile(0.5).nan_to_num(nan=1.0)
    return torch.where(median > 0, median, lit)


def _apply(matrices: Matrices, image: Tensor) -> Tensor:
    """Filter or resample an image (h, w) along its columns, then along its rows."""
    rows, columns = matrices
    return rows @ image @ columns


def _blurring(length: int, sigma: float) -> Floats:
    """Gaussian blur (length, length), mirrored at the ends; its kernel is as long as OpenCV makes it."""
    kernel = cv2.getGaussianKernel(round(sigma * 8 + 1) | 1, sigma, cv2.CV_32F).ravel()
    return _filtering(length, kernel.astype(np.float32))


def _curvature(length: int) -> Floats:
    """Second difference (length, length), mirrored at the ends."""
    return _filtering(length, np.array([1, -2, 1], np.float32))


def _filtering(length: int, kernel: Floats) -> Floats:
    around = len(kernel) // 2
    source = np.pad(np.arange(length), around, mode="reflect")
    weights = np.zeros((length, length), np.float32)
    for k, weight in enumerate(kernel):
        np.add.at(weights, (np.arange(length), source[k : k + length]), weight)
    return weights


def _shrinking(many: int, few: int) -> Floats:
    """Mean over equal lengths (few, many), parts of pixels counted as such."""
    edges = np.arange(few + 1) * many / few
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(many)
    inside = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return np.asarray(inside * few / many, np.float32)


def _widening(few: int, many: int) -> Floats:
    """Linear interpolation between pixels' centres (many, few), constant beyond the outermost."""
    at = np.clip((np.arange(many) + 0.5) * few / many - 0.5, 0, few - 1)
    below = np.minimum(np.floor(at).astype(int), max(few - 2, 0))
    weights = np.zeros((many, few), np.float32)
    weights[np.arange(many), below] = 1 - (at - below)
    if few > 1:
        weights[np.arange(many), below + 1] += at - below
    return weights
