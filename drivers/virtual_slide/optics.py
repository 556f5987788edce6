"""The light of one object: its image at each defocus and polarization, made once and then interpolated.

An object is a few thin slices of Jones matrices in the circular basis. Circular light of one handedness comes in;
what leaves with the same handedness is seen as `parallel`, what was flipped as `crossed`. The field behind the last
slice is propagated to each focal plane with the angular spectrum, through the pupil of the objective, and summed in
intensity over a few points of the condenser aperture (J. Goodman, Introduction to Fourier Optics, ch. 3 and 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

WAVELENGTH_UM = 0.546
CALCITE_DN = 0.1740
"""Birefringence of calcite at 546 nm."""
QUARTZ_DN = 0.0091
OBJECTIVE_NA = 1.4
CONDENSER_NA = 0.7
IMMERSION_INDEX = 1.515
TEMPLATE_PIXEL_UM = 0.1
"""Just above Nyquist of the intensity, lambda / (4 NA)."""
DEFOCUS_UM = (-4.5, -3.0, -2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.5)
MARGIN_UM = 3.0
"""Defocused light further than this from the outline is not followed."""


@dataclass(frozen=True)
class Slice:
    """A thin layer of an object.

    Attributes
    ----------
    z_um : height relative to the object's reference plane, in stage units (larger is nearer to the condenser).
    phase, absorption, retardance, azimuth : (H, W); isotropic phase in rad, optical density as -ln(transmission),
        phase difference of the retarder and direction of its axis, in rad.
    """

    z_um: float
    phase: Image
    absorption: Image
    retardance: Image
    azimuth: Image


@dataclass(frozen=True)
class Template:
    """The images of one object, centred, sampled at `TEMPLATE_PIXEL_UM`.

    Attributes
    ----------
    transmission : (Z, H, W), parallel light over that of the empty field.
    flipped : (Z, H, W), crossed light over parallel light of the empty field; None without birefringence.
    """

    transmission: Image
    flipped: Image | None


def retardance(thickness_um: Image, birefringence: float) -> Image:
    """Phase difference 2 pi dn d / lambda of a retarder, in rad (Beaufort et al. 2021)."""
    return (2 * np.pi * birefringence / WAVELENGTH_UM * thickness_um).astype(np.float32)


def phase(thickness_um: Image, index_difference: float) -> Image:
    """Phase of a thickness whose index differs from that of the mounting medium, in rad."""
    return (2 * np.pi * index_difference / WAVELENGTH_UM * thickness_um).astype(np.float32)


def make_template(slices: tuple[Slice, ...]) -> Template:
    """Propagate an object to every plane of `DEFOCUS_UM`.

    Light comes from the condenser, from large to small stage z; slices are passed in that order.
    """
    ordered = sorted(slices, key=lambda layer: -layer.z_um)
    height, width = ordered[0].phase.shape
    frequency = _frequencies(height, width)
    axial = _axial_wavenumber(frequency)
    pupil = (frequency <= OBJECTIVE_NA / WAVELENGTH_UM).astype(np.float32)
    kernels = [pupil * np.exp(1j * axial * (ordered[-1].z_um - z)).astype(np.complex64) for z in DEFOCUS_UM]
    birefringent = any(bool(np.any(layer.retardance)) for layer in ordered)
    matrices = [_jones(layer) for layer in ordered]
    steps = [np.exp(1j * axial * (upper.z_um - lower.z_um)).astype(np.complex64) for upper, lower in pairwise(ordered)]
    sources = _sources(height, width)
    parallel = np.zeros((len(DEFOCUS_UM), height, width), np.float32)
    crossed = np.zeros_like(parallel)
    for source in sources:
        same, flipped = _pass_through(source, matrices, steps, birefringent)
        for index, kernel in enumerate(kernels):
            parallel[index] += _intensity(same, kernel)
            if birefringent:
                crossed[index] += _intensity(flipped, kernel)
    fade = _fade(height, width)
    transmission = np.asarray(1 + fade * (_settle(parallel, len(sources)) - 1), np.float32)
    if not birefringent:
        return Template(transmission, None)
    return Template(transmission, np.asarray(fade * _settle(crossed, len(sources)), np.float32))


def between(defocus_um: float) -> tuple[int, int, float, float]:
    """Which two planes of a template make the image at a defocus.

    Returns
    -------
    lower, upper : indices of planes.
    weight : of the upper one.
    strength : below 1 beyond the last plane, where light spreads with the square of the distance.
    """
    last = len(DEFOCUS_UM) - 1
    if defocus_um <= DEFOCUS_UM[0]:
        return 0, 0, 0.0, (DEFOCUS_UM[0] / defocus_um) ** 2
    if defocus_um >= DEFOCUS_UM[-1]:
        return last, last, 0.0, (DEFOCUS_UM[-1] / defocus_um) ** 2
    upper = int(np.searchsorted(DEFOCUS_UM, defocus_um, side="right"))
    lower = upper - 1
    return lower, upper, (defocus_um - DEFOCUS_UM[lower]) / (DEFOCUS_UM[upper] - DEFOCUS_UM[lower]), 1.0


def _frequencies(height: int, width: int) -> Image:
    fy = np.fft.fftfreq(height, TEMPLATE_PIXEL_UM)[:, None]
    fx = np.fft.fftfreq(width, TEMPLATE_PIXEL_UM)[None, :]
    return np.asarray(np.hypot(fy, fx), np.float32)


def _axial_wavenumber(frequency: Image) -> Image:
    cutoff = IMMERSION_INDEX / WAVELENGTH_UM
    return (2 * np.pi * np.sqrt(np.maximum(cutoff**2 - frequency.astype(np.float64) ** 2, 0))).astype(np.float32)


def _sources(height: int, width: int) -> list[NDArray[np.complex64]]:
    """Plane waves of the condenser: the axis and a ring of six, on the grid's own frequencies."""
    ring = 0.75 * CONDENSER_NA / WAVELENGTH_UM
    y = (np.arange(height) * TEMPLATE_PIXEL_UM)[:, None]
    x = (np.arange(width) * TEMPLATE_PIXEL_UM)[None, :]
    waves = [np.ones((height, width), np.complex64)]
    for angle in np.arange(6) * np.pi / 3:
        fy = np.round(ring * np.sin(angle) * height * TEMPLATE_PIXEL_UM) / (height * TEMPLATE_PIXEL_UM)
        fx = np.round(ring * np.cos(angle) * width * TEMPLATE_PIXEL_UM) / (width * TEMPLATE_PIXEL_UM)
        waves.append(np.exp(2j * np.pi * (fy * y + fx * x)).astype(np.complex64))
    return waves


Jones = tuple[NDArray[np.complex64], NDArray[np.complex64], NDArray[np.complex64]]


def _jones(layer: Slice) -> Jones:
    """Give what keeps its handedness, what is flipped, and what is flipped back, in the circular basis."""
    scalar = np.exp(-layer.absorption / 2 + 1j * layer.phase)
    flip = 1j * np.sin(layer.retardance / 2) * scalar
    turn = np.exp(2j * layer.azimuth)
    keep = np.cos(layer.retardance / 2) * scalar
    return keep.astype(np.complex64), (flip * turn).astype(np.complex64), (flip / turn).astype(np.complex64)


def _pass_through(
    source: NDArray[np.complex64],
    matrices: list[Jones],
    steps: list[NDArray[np.complex64]],
    birefringent: bool,
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Spectra of both handednesses behind the last slice."""
    same, flipped = source, np.zeros_like(source)
    for index, (keep, flip, flip_back) in enumerate(matrices):
        if index:
            same = _inverse(_forward(same) * steps[index - 1])
            if birefringent:
                flipped = _inverse(_forward(flipped) * steps[index - 1])
        same, flipped = keep * same + flip_back * flipped, flip * same + keep * flipped
    return _forward(same), _forward(flipped)


def _intensity(spectrum: NDArray[np.complex64], kernel: NDArray[np.complex64]) -> Image:
    field = _inverse(spectrum * kernel)
    return np.asarray(field.real**2 + field.imag**2, np.float32)


def _forward(field: NDArray[np.complex64]) -> NDArray[np.complex64]:
    return cv2.dft(field.view(np.float32).reshape(*field.shape, 2)).view(np.complex64)[..., 0]


def _inverse(spectrum: NDArray[np.complex64]) -> NDArray[np.complex64]:
    pairs = spectrum.view(np.float32).reshape(*spectrum.shape, 2)
    return cv2.dft(pairs, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE).view(np.complex64)[..., 0]


def _settle(images: Image, sources: int) -> Image:
    """Average over the sources; blur with defocus, as a point of the condenser stands for a patch of its aperture."""
    images /= sources
    for index, defocus in enumerate(DEFOCUS_UM):
        sigma = 0.12 * abs(defocus) / TEMPLATE_PIXEL_UM
        if sigma > 0.5:
            cv2.GaussianBlur(images[index], (0, 0), sigma, dst=images[index])
    return images


def _fade(height: int, width: int) -> Image:
    """One inside, falling to zero over the last micrometre, so that no patch shows its edge."""

    def ramp(n: int) -> Image:
        distance = (np.minimum(np.arange(n), n - 1 - np.arange(n)) * TEMPLATE_PIXEL_UM).astype(np.float32)
        return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(distance / 1.2, 0, 1)), np.float32)

    return np.asarray(ramp(height)[:, None] * ramp(width)[None, :], np.float32)
