"""From a focus stack to what the network sees: three channels, the same for a fused view and for a single plane.

0: bright field, relative to its background; 1: crossed polarization above its background, relative to the bright field;
2: sharpness, Laplacian-of-Gaussian energy over its noise. All are made of the square roots of intensities: shot noise
is then equally strong everywhere (Anscombe 1948), and the crossed state becomes about linear in thickness. A state that
was not exposed leaves its channel empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.views.fixed_pattern import BinnedPattern

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
ViewArray: TypeAlias = "Floats | Tensor"
"""Float32 (N, 3, h, w), for the network to look at: arrays on the processor, tensors on a graphics card."""

NETWORK_PIXEL_UM = 0.118
CROSSED = "crossed"
ENERGY_BINNING = 2
ENERGY_SMOOTHING_PX = 1.5
INDEX_SMOOTHING_PX = 2.0
BACKGROUND_CELL_PX = 32
MEDIAN_PX = 5
MOST_DEVIATION = 5.0
BRIGHT_GAIN = 10.0
CROSSED_GAIN = 5.0
SHARPNESS_GAIN = 0.25
SMALLEST_SIGMA_PX = 0.8
FAINTEST = 0.1
"""Sharpness below which nothing is told apart; noise has 1."""
NO_NOISE = 1e-9
"""Energy over the greatest one that is no noise, but rounding where all pixels are equal."""


@dataclass(frozen=True)
class Scale:
    """How many camera pixels make one pixel of the network's input, and the Laplacian's sigma there, in px."""

    binning: int
    sigma_px: float

    @classmethod
    def of(cls, pixel_um: float, sigma_um: float) -> Scale:
        """Whole-number binning that comes nearest to 0.118 um a pixel, where 2.5 um objects are 21 px long."""
        binning = max(1, round(NETWORK_PIXEL_UM / pixel_um))
        return cls(binning, max(SMALLEST_SIGMA_PX, sigma_um / (pixel_um * binning)))


def binned_root(frame: NDArray[np.uint16], scale: Scale, pattern: BinnedPattern | None = None, c: int = 0) -> Floats:
    """Square root of a frame (H, W) averaged over `binning` x `binning` pixels; what remains at the edges is cut.

    The fixed pattern of state `c` is taken off where it is known.
    """
    n = scale.binning
    height, width = frame.shape[0] // n, frame.shape[1] // n
    small = cv2.resize(frame[: height * n, : width * n], (width, height), interpolation=cv2.INTER_AREA)
    even = small.astype(np.float32)
    return np.asarray(cv2.sqrt(even if pattern is None else pattern.remove(even, c)))


def log_energy(root: Floats, scale: Scale) -> Floats:
    """Smoothed square of the Laplacian of Gaussian, at half the size of `root`."""
    laplacian = cv2.Laplacian(cv2.GaussianBlur(root, (0, 0), scale.sigma_px), cv2.CV_32F, ksize=1)
    height, width = root.shape[0] // ENERGY_BINNING, root.shape[1] // ENERGY_BINNING
    energy = cv2.resize(cv2.multiply(laplacian, laplacian), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(energy, (0, 0), ENERGY_SMOOTHING_PX))


class StackViews(NamedTuple):
    """A stack, looked at.

    Attributes
    ----------
    sharpness
        of every plane, (Z, h/2, w/2).
    sharpest
        index of the sharpest plane, fractional, (h/2, w/2).
    taken_from
        plane that each pixel of the fused view is taken from, (h, w).
    roots
        square roots of the intensities of the fused view, (C, h, w).
    fused
        view of the whole stack (3, h, w).
    views
        what the detector is to look at (N, 3, h, w); on a device where the stack was looked at there.
    """

    sharpness: Floats
    sharpest: Floats
    taken_from: NDArray[np.intp]
    roots: Floats
    fused: Floats
    views: ViewArray


class Planes:
    """What has landed of a stack: the root of every plane and its energy, in buffers that are used again."""

    def __init__(
        self,
        channels: int,
        planes: int,
        height: int,
        width: int,
        scale: Scale,
        pattern: BinnedPattern | None = None,
    ) -> None:
        self.scale = scale
        self._pattern = pattern
        self.shape = channels, planes, height, width
        size = height // scale.binning, width // scale.binning
        self.roots: Floats = np.zeros((channels, planes, *size), np.float32)
        """Shape (C, Z, h, w), binned."""
        self._energies: Floats = np.zeros((channels, planes, *(n // ENERGY_BINNING for n in size)), np.float32)

    @classmethod
    def of(cls, stack: NDArray[np.uint16], scale: Scale) -> Planes:
        """Take in a whole stack, CZYX."""
        count, depth, height, width = stack.shape
        planes = cls(count, depth, height, width, scale)
        for c, z in np.ndindex(count, depth):
            planes.add(stack[c, z], c, z)
        return planes

    def add(self, frame: NDArray[np.uint16], c: int, z: int) -> None:
        """Take in one plane (H, W)."""
        self.roots[c, z] = binned_root(frame, self.scale, self._pattern, c)
        self._energies[c, z] = log_energy(self.roots[c, z], self.scale)

    def look(self, polarizations: tuple[str, ...], *, every_plane: bool) -> StackViews:
        """Make views of the stack: one fused from all planes, or one of each plane."""
        sharpness = self.sharpness()
        sharpest = sharpest_plane(sharpness)
        index = plane_index(sharpest, *self.roots.shape[2:])
        roots = fused_roots(self.roots, index)
        fused = fused_input(roots, sharpness, sharpest, polarizations)
        views = [fused]
        if every_plane:
            views = [plane_input(self.roots, sharpness, z, polarizations) for z in range(len(sharpness))]
        return StackViews(sharpness, sharpest, index, roots, fused, np.stack(views))

    def sharpness(self) -> Floats:
        """Energy of every plane over its noise, shape (Z, h/2, w/2), averaged over polarizations; 1 where empty.

        The noise of a polarization is the median energy over all its planes.
        """
        noise = np.array([noise_of(state[:, ::4, ::4]) for state in self._energies])
        weights = (1 / (len(noise) * noise)).astype(np.float32)
        return np.asarray(np.tensordot(weights, self._energies, axes=1))

    def backgrounds_dn(self) -> tuple[float, ...]:
        """Median intensity of each polarization over all its planes, in DN, from every 8th pixel."""
        return tuple(float(np.median(root[:, ::8, ::8])) ** 2 for root in self.roots)


def noise_of(energy: Floats) -> float:
    """Return the median energy of what has any noise.

    Black that was cut off, saturated light and margins without a picture have none, and may fill most of a stack.
    """
    least = NO_NOISE * float(energy.max())
    median = float(np.median(energy))
    if median > least:
        return median
    noisy = energy[energy > least]
    return float(np.median(noisy)) if len(noisy) else 1.0


def sharpest_plane(sharpness: Floats) -> Floats:
    """Index of the sharpest plane at every place, fractional, shape (h/2, w/2).

    Smoothed with the sharpness itself as weight, so that empty places take the plane of the object beside them.
    """
    index = sharpness.argmax(axis=0).astype(np.float32)
    weight = np.maximum(sharpness.max(axis=0), FAINTEST)
    weighted = cv2.GaussianBlur(index * weight, (0, 0), INDEX_SMOOTHING_PX)
    return np.asarray(weighted / cv2.GaussianBlur(weight, (0, 0), INDEX_SMOOTHING_PX))


def plane_index(sharpest: Floats, height: int, width: int) -> NDArray[np.intp]:
    """Whole plane numbers at another size, from those of `sharpest_plane`."""
    resized = cv2.resize(sharpest, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(resized).astype(np.intp)


def gather(stack: NDArray[np.generic], index: NDArray[np.intp]) -> NDArray[np.generic]:
    """CYX from CZYX: every pixel from its own plane, the same one in all channels."""
    return np.take_along_axis(stack, index[None, None], axis=1)[:, 0]


def background(root: Floats) -> Floats:
    """Slowly varying part of a root: medians over coarse cells, of the same shape."""
    height, width = root.shape
    cells = max(1, width // BACKGROUND_CELL_PX), max(1, height // BACKGROUND_CELL_PX)
    coarse = cv2.medianBlur(cv2.resize(root, cells, interpolation=cv2.INTER_AREA), MEDIAN_PX)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))


def level_of(root: Floats) -> float:
    """Return the median of a root, or of what is lit where most is black, as the margin of a mosaic."""
    lit = root[root > 0]
    return float(np.median(root)) or (float(np.median(lit)) if len(lit) else 1.0)


def network_input(roots: Floats, sharpness: Floats, polarizations: tuple[str, ...]) -> Floats:
    """Build the channels of one view, float32 (3, h, w), from its roots (C, h, w) and its sharpness (h/2, w/2)."""
    height, width = roots.shape[1:]
    image = np.zeros((3, height, width), np.float32)
    bright = next((c for c, name in enumerate(polarizations) if name != CROSSED), None)
    reference = level_of(roots[0 if bright is None else bright, ::8, ::8])
    if bright is not None:
        below = background(roots[bright])
        np.clip(
            (roots[bright] - below) * (BRIGHT_GAIN / np.maximum(below, 1.0)),
            -MOST_DEVIATION,
            MOST_DEVIATION,
            out=image[0],
        )
    if CROSSED in polarizations:
        crossed = roots[polarizations.index(CROSSED)]
        np.clip(
            (crossed - background(crossed)) * (CROSSED_GAIN / reference), -MOST_DEVIATION, MOST_DEVIATION, out=image[1]
        )
    level = np.log(np.maximum(sharpness, FAINTEST)) * SHARPNESS_GAIN
    image[2] = cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def fused_roots(roots: Floats, index: NDArray[np.intp]) -> Floats:
    """Fuse a whole stack's roots (C, Z, h, w) to (C, h, w), as `index` (h, w) says."""
    return gather(roots, index).astype(np.float32, copy=False)


def fused_input(roots: Floats, sharpness: Floats, sharpest: Floats, polarizations: tuple[str, ...]) -> Floats:
    """Input (3, h, w) of a whole stack: of its fused roots (C, h, w), and the sharpness (Z, h/2, w/2) of all planes."""
    index = np.rint(sharpest).astype(np.intp)
    return network_input(roots, np.take_along_axis(sharpness, index[None], axis=0)[0], polarizations)


def plane_input(roots: Floats, sharpness: Floats, z: int, polarizations: tuple[str, ...]) -> Floats:
    """Input (3, h, w) of a single plane of a stack's roots (C, Z, h, w)."""
    return network_input(roots[:, z], sharpness[z], polarizations)
