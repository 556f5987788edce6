"""The light of one body: how it changes polarized light at each defocus, made once and then interpolated.

Circular light of one handedness comes in; what leaves with the same handedness is seen as `parallel`, what was flipped
as `crossed`. Each slice is a Jones matrix a pixel in the circular basis. The complex amplitude is propagated from slice
to slice and on to each focal plane with the angular spectrum, through the pupil of the objective, and only there summed
in intensity, over points of the condenser's aperture and of the lamp's band (J. Goodman, Introduction to Fourier
Optics, ch. 3, 4 and 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from drivers.virtual_slide.matter import REFERENCE_WAVELENGTH_UM, Body, Image, Slice

OBJECTIVE_NA = 1.4
IMMERSION_INDEX = 1.515
NEAR_UM = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.3, 3.2, 4.5)
"""Distances from the nearest slice at which the light is made."""
FARTHEST_UM = NEAR_UM[-1]
INSIDE_STEP_UM = 0.5
"""Steps of the planes between the lowest and the highest slice."""
CONDENSER_RINGS = ((0.0, 1, 0.0), (0.5, 6, 0.0), (0.87, 6, 0.5))
"""Radius as a share of the aperture, points on it, turn in points: about even over a disc."""
BAND = (-1.22, 0.0, 1.22)
"""Wavelengths in standard deviations; three of equal weight have the variance of the band."""
FADE_UM = 1.2

Complex = NDArray[np.complex128]
"""In double precision, as products of complex numbers are rounded differently by different CPUs."""
Jones = tuple[Complex, Complex, Complex]


@dataclass(frozen=True)
class Mount:
    """What lies around the bodies and how they are lit.

    Attributes
    ----------
    medium_index
        refractive index of the mounting medium.
    condenser_na
        aperture of the illumination.
    wavelength_um
        middle of the lamp's band.
    bandwidth_um
        its full width at half maximum.
    """

    medium_index: float = 1.56
    condenser_na: float = 0.5
    wavelength_um: float = REFERENCE_WAVELENGTH_UM
    bandwidth_um: float = 0.02


@dataclass(frozen=True)
class BodyLight:
    """What a body does to light at each focal plane, per pixel, averaged over the lamp.

    With k the amplitude that keeps its handedness and f the one that is flipped:

    Attributes
    ----------
    planes_um
        (Z,) focal planes, above the body's reference plane, ascending.
    kept
        (Z, H, W), |k|^2.
    flipped
        (Z, H, W), |f|^2.
    coherence
        (Z, H, W) complex, f k*. Both of the last are None for a body without birefringence.
    """

    planes_um: NDArray[np.float64]
    kept: Image
    flipped: Image | None
    coherence: NDArray[np.complex64] | None


@dataclass(frozen=True)
class _AperturePoint:
    """One point of the condenser's aperture, in one colour: spatial frequency over 1/um, wavelength."""

    fx: float
    fy: float
    wavelength_um: float


def focal_planes(depth_um: tuple[float, float]) -> NDArray[np.float64]:
    """Choose the planes at which a body of some depth is imaged: dense around and in it, sparse away from it."""
    low, high = depth_um
    inside = np.linspace(low, high, max(1, int(np.ceil((high - low) / INSIDE_STEP_UM))) + 1) if high > low else [low]
    below, above = [low - d for d in NEAR_UM[:0:-1]], [high + d for d in NEAR_UM[1:]]
    return np.array([*below, *inside, *above])


def illuminate(body: Body, mount: Mount, fade: bool = True) -> BodyLight:
    """Propagate a body's light to every focal plane.

    Light comes from the condenser, from large to small stage z. With `fade` the change dies away towards the border
    of the grid, so that no patch shows its edge.
    """
    slices = sorted(body.slices, key=lambda layer: -layer.z_um)
    height, width = slices[0].thickness.shape
    planes = focal_planes(body.depth_um)
    flips = body.birefringent
    kept = np.zeros((len(planes), height, width), np.float32)
    flipped = np.zeros_like(kept) if flips else None
    coherence = np.zeros(kept.shape, np.complex64) if flips else None
    frequency_y = fft.fftfreq(height, body.pixel_um)[:, None]
    frequency_x = fft.fftfreq(width, body.pixel_um)[None, :]
    frequency = np.hypot(frequency_y, frequency_x)
    sources = _sources(mount)
    for wavelength in sorted({source.wavelength_um for source in sources}):
        axial = 2 * np.pi * np.sqrt(np.maximum((IMMERSION_INDEX / wavelength) ** 2 - frequency**2, 0))
        pupil = frequency <= OBJECTIVE_NA / wavelength
        matrices = [_jones(layer, mount.medium_index, wavelength) for layer in slices]
        steps = [_cis(axial * (upper.z_um - lower.z_um)) for upper, lower in pairwise(slices)]
        spectra = [
            _pass_through(_plane_wave(source, height, width, body.pixel_um), matrices, steps, slices, flips)
            for source in sources
            if source.wavelength_um == wavelength
        ]
        for index, z in enumerate(planes):
            kernel = np.where(pupil, _cis(axial * (slices[-1].z_um - z)), 0j)
            for same, turned in spectra:
                k = fft.ifft2(same * kernel, overwrite_x=True)
                kept[index] += _intensity(k)
                if flipped is not None and coherence is not None:
                    f = fft.ifft2(turned * kernel, overwrite_x=True)
                    flipped[index] += _intensity(f)
                    coherence[index] += f * k.conj()
    border = _fade(height, width, body.pixel_um) if fade else np.ones((height, width), np.float32)
    share = np.float32(1 / len(sources))
    kept = np.asarray(1 + border * (kept * share - 1), np.float32)
    if flipped is None or coherence is None:
        return BodyLight(planes, kept, None, None)
    return BodyLight(planes, kept, border * flipped * share, border * coherence * share)


def _sources(mount: Mount) -> list[_AperturePoint]:
    deviation = mount.bandwidth_um / 2.355
    colours = [mount.wavelength_um + share * deviation for share in BAND]
    points: list[_AperturePoint] = []
    for ring, (radius, count, turn) in enumerate(CONDENSER_RINGS):
        for number in range(count):
            angle = (number + turn) * 2 * np.pi / count
            colour = colours[1] if ring == 0 else colours[(number + ring) % len(colours)]
            frequency = radius * mount.condenser_na / colour
            points.append(_AperturePoint(frequency * np.cos(angle), frequency * np.sin(angle), colour))
    return points


def _plane_wave(source: _AperturePoint, height: int, width: int, pixel_um: float) -> Complex:
    """Oblique plane wave, on the nearest frequency of the grid, so that it closes on itself."""
    rows, columns = round(source.fy * height * pixel_um), round(source.fx * width * pixel_um)
    y, x = np.arange(height)[:, None] / height, np.arange(width)[None, :] / width
    return _cis(2 * np.pi * (rows * y + columns * x))


def _jones(layer: Slice, medium_index: float, wavelength_um: float) -> Jones:
    """Give what keeps its handedness, what is flipped, and what is flipped back, in the circular basis."""
    half = np.pi * np.abs(layer.retardation_um(wavelength_um)) / wavelength_um
    path = 2 * np.pi * layer.excess_path_um(medium_index) / wavelength_um
    scalar = np.exp(1j * path)
    if layer.absorption is not None:
        scalar *= np.exp(-layer.absorption / 2)
    keep, flip = np.cos(half) * scalar, 1j * np.sin(half) * scalar
    if layer.azimuth is None:
        nothing = np.zeros_like(keep)
        return scalar, nothing, nothing
    turn = np.exp(2j * layer.azimuth)
    return keep, flip * turn, flip / turn


def _pass_through(
    wave: Complex, matrices: list[Jones], steps: list[Complex], slices: list[Slice], flips: bool
) -> tuple[Complex, Complex]:
    """Spectra of both handednesses behind the last slice."""
    same, turned = wave, np.zeros_like(wave)
    for index, (keep, flip, flip_back) in enumerate(matrices):
        if index and slices[index - 1].z_um != slices[index].z_um:
            same = fft.ifft2(fft.fft2(same) * steps[index - 1])
            if flips:
                turned = fft.ifft2(fft.fft2(turned) * steps[index - 1])
        same, turned = keep * same + flip_back * turned, flip * same + keep * turned
    return fft.fft2(same), fft.fft2(turned)


def _cis(phase: NDArray[np.float64]) -> Complex:
    return np.asarray(np.exp(1j * phase))


def _intensity(field: Complex) -> Image:
    return np.asarray(field.real**2 + field.imag**2, np.float32)


def _fade(height: int, width: int, pixel_um: float) -> Image:
    """One inside, falling to zero towards the border."""

    def ramp(n: int) -> NDArray[np.float64]:
        distance = np.minimum(np.arange(n), n - 1 - np.arange(n)) * pixel_um
        return 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / FADE_UM, 0, 1))

    return np.asarray(np.outer(ramp(height), ramp(width)), np.float32)
