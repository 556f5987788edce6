"""Polarizer and analyser around the slide, with their errors, and polarized light on its way through bodies.

Circular basis: light comes in as R, with a little L where the retarder is not a perfect quarter wave or stands wrong.
The state of partly coherent light is its coherency matrix, <R R*>, <L L*> and <L R*> (Goldstein, Polarized Light, ch. 5
and 6, in another basis); a body acts on it with |k|^2, |f|^2 and f k* of its Jones matrix ((k, f'), (f, k)). For thin
retarders f' differs from f in the sign of its azimuth alone: then k f'* is -f k*, and f f'* has the phase of -(f k*)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.settings import PolarizerErrors
from drivers.virtual_slide.matter import Image

Region = tuple[slice, slice]
"""Rows and columns of a frame."""
CROSSED, PARALLEL = "crossed", "parallel"
TINY = np.float32(1e-12)


def impurity(retarder_error: float, azimuth_error: float) -> complex:
    """Amplitude of the wrong handedness over the right one behind a linear polarizer and a retarder.

    Parameters
    ----------
    retarder_error
        phase beyond a quarter wave, in rad.
    azimuth_error
        of the retarder's axis from 45 degrees.
    """
    half, turn = (np.pi / 2 + retarder_error) / 2, np.pi / 4 + azimuth_error
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    x, y = rotation @ np.diag([np.exp(1j * half), np.exp(-1j * half)]) @ rotation.T @ np.array([1.0, 0.0])
    right, left = (x - 1j * y) / np.sqrt(2), (x + 1j * y) / np.sqrt(2)
    pure, wrong = (right, left) if abs(right) > abs(left) else (left, right)
    return complex(wrong / pure)


@dataclass(frozen=True)
class Polarizers:
    """What light starts as and how it is looked at.

    Attributes
    ----------
    polarizer
        amplitude of the wrong handedness over the right one.
    analyser
        the same of the second polarizer.
    depolarised
        share of either state that is seen in the other, whatever its phase.
    """

    polarizer: complex
    analyser: complex
    depolarised: float

    @classmethod
    def of(cls, errors: PolarizerErrors) -> Polarizers:
        """Polarizers with errors in degrees."""
        return cls(
            impurity(*np.deg2rad([errors.polarizer_retarder_deg, errors.polarizer_azimuth_deg]).tolist()),
            impurity(*np.deg2rad([errors.analyser_retarder_deg, errors.analyser_azimuth_deg]).tolist()),
            errors.depolarised,
        )


class PolarizedLight:
    """Light over a frame, on its way from the polarizer through bodies to the analyser.

    Only where a body lies is anything computed: first `enter` every body's region, then `pass_body` each, the one
    nearest to the condenser first, then look at each region with `analysed`.
    """

    def __init__(self, frame_px: tuple[int, int], polarizers: Polarizers) -> None:
        start, q = polarizers.polarizer, polarizers.analyser
        self._start = (1.0, abs(start) ** 2, start.real, start.imag)
        # Rows a power of two apart would share the same lines of the processor's cache.
        self._state: Image = np.empty((4, frame_px[0], frame_px[1] + 24), np.float32)
        crossed = np.array([abs(q) ** 2, 1.0, 2 * q.real, 2 * q.imag])
        parallel = np.array([1.0, abs(q) ** 2, -2 * q.real, -2 * q.imag])
        depolarised = polarizers.depolarised
        self._analysers = {CROSSED: crossed + depolarised * parallel, PARALLEL: parallel + depolarised * crossed}
        size = abs(start) ** 2
        self._single = np.array(
            [
                [1.0, size, -2 * start.real, -2 * start.imag],
                [size, 1.0, 2 * start.real, 2 * start.imag],
                [start.real, 0.0, 1 - size, 0.0],
                [start.imag, 0.0, 0.0, 1 - size],
            ]
        )

    def empty(self, state: str) -> float:
        """Light of an empty field in a state, over parallel light with perfect polarizers."""
        return float(self._analysers[state] @ self._start)

    def alone(self, state: str) -> NDArray[np.float64]:
        """Weights (1, 4) of |k|^2 - 1, |f|^2, Re and Im of f k*, by which a body alone changes the light of a state.

        What is flipped twice is left out, as it needs leakage in both polarizer and analyser to be seen.
        """
        return np.asarray((self._analysers[state] @ self._single)[None])

    def enter(self, region: Region) -> None:
        """Let light come in from the polarizer."""
        for plane, value in zip(self._state, self._start, strict=True):
            plane[region] = value

    def pass_body(self, region: Region, patch: Image) -> None:
        """Let the light of a region through a body: (h, w, 4), |k|^2 - 1, |f|^2, real and imaginary part of f k*."""
        kept, flipped, x, y = cv2.split(patch)
        kept += 1
        right, left, real, imaginary = (plane[region] for plane in self._state)
        total, difference = right + left, right - left
        new_right = kept * right
        new_right += flipped * left
        new_right -= 2 * (x * real + y * imaginary)
        xx, yy = x * x, y * y
        swing = flipped / (xx + yy + TINY)
        double_real, double_imaginary = swing * (yy - xx), swing * (x * y) * np.float32(-2)
        new_real = x * difference + (kept + double_real) * real + double_imaginary * imaginary
        imaginary[:] = y * difference + (kept - double_real) * imaginary + double_imaginary * real
        real[:] = new_real
        left[:] = (kept + flipped) * total - new_right
        right[:] = new_right

    def analysed(self, region: Region, state: str) -> Image:
        """Intensity of a region behind the analyser, over parallel light that meets no body."""
        seen: Image | None = None
        for plane, share in zip(self._state, self._analysers[state].tolist(), strict=True):
            part = plane[region] * np.float32(share)
            seen = part if seen is None else np.add(seen, part, out=seen)
        assert seen is not None
        return seen


def turned(light: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Matrix (4, 4) that scales and turns the channels |k|^2 - 1, |f|^2, Re and Im of f k* with a body's own scale.

    A body that is turned in its plane by an angle turns the phase of what it flips by twice that.
    """
    cos, sin = np.cos(2 * angle), np.sin(2 * angle)
    matrix = np.eye(4)
    matrix[2:, 2:] = [[cos, -sin], [sin, cos]]
    return np.asarray(matrix * light[None, :])
