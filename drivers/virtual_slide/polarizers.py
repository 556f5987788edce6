"""Polarizer and analyser around the slide, with their errors, and polarized light on its way through bodies.

Circular basis: light comes in as R, with a little L where the retarder is not a perfect quarter wave or stands wrong.
The state of partly coherent light is its coherency matrix, <R R*>, <L L*> and <L R*> (Goldstein, Polarized Light, ch. 5
and 6, in another basis); a body acts on it with |k|^2, |f|^2 and f k* of its Jones matrix ((k, f'), (f, k)). For thin
retarders f' differs from f in the sign of its azimuth alone, so that k f'* is -f k*, and f f'* has the phase of -(f k*)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.settings import PolarizerErrors
from drivers.virtual_slide.matter import Image

CROSSED, PARALLEL = "crossed", "parallel"
TINY = np.float32(1e-12)


def impurity(retarder_error: float, azimuth_error: float) -> complex:
    """Amplitude of the wrong handedness over the right one behind a linear polarizer and a retarder.

    Parameters
    ----------
    retarder_error : phase beyond a quarter wave, in rad. azimuth_error : of the retarder's axis from 45 degrees.
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
    polarizer, analyser : amplitude of the wrong handedness over the right one.
    depolarised : share of either state that is seen in the other, whatever its phase.
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

    def empty(self, state: str) -> float:
        """Light of an empty field in a state."""
        ray = PolarizedLight((1, 1), self)
        return float(ray.analysed(state)[0, 0])


class PolarizedLight:
    """Light over a patch of the frame, on its way from the polarizer through bodies to the analyser."""

    def __init__(self, shape: tuple[int, int], polarizers: Polarizers) -> None:
        self._polarizers = polarizers
        start = polarizers.polarizer
        self._right: Image = np.full(shape, 1.0, np.float32)
        self._left: Image = np.full(shape, abs(start) ** 2, np.float32)
        self._real: Image = np.full(shape, start.real, np.float32)
        self._imaginary: Image = np.full(shape, start.imag, np.float32)

    def pass_body(self, part: tuple[slice, slice], body: tuple[Image, Image, Image, Image]) -> None:
        """Let the light of a part of the patch through a body: |k|^2, |f|^2, real and imaginary part of f k*."""
        kept, flipped, x, y = body
        right, left, real, imaginary = (
            plane[part] for plane in (self._right, self._left, self._real, self._imaginary)
        )  # fmt: skip
        moved = 2 * (x * real + y * imaginary)
        total, difference = right + left, right - left
        swing = flipped / (x * x + y * y + TINY)
        double_real, double_imaginary = swing * (y * y - x * x), swing * (-2 * x * y)
        new_right = kept * right + flipped * left - moved
        left[:] = (kept + flipped) * total - new_right
        right[:] = new_right
        new_real = x * difference + kept * real + double_real * real + double_imaginary * imaginary
        imaginary[:] = y * difference + kept * imaginary + double_imaginary * real - double_real * imaginary
        real[:] = new_real

    def analysed(self, state: str) -> Image:
        """Intensity behind the analyser, over parallel light that meets no body."""
        q = self._polarizers.analyser
        mixed = 2 * (q.real * self._real + q.imag * self._imaginary)
        crossed = self._left + abs(q) ** 2 * self._right + mixed
        parallel = self._right + abs(q) ** 2 * self._left - mixed
        one, other = (crossed, parallel) if state == CROSSED else (parallel, crossed)
        return np.asarray(one + np.float32(self._polarizers.depolarised) * other, np.float32)


def turned(light: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Matrix (4, 4) that scales and turns the channels |k|^2 - 1, |f|^2, Re and Im of f k* with a body's own scale.

    A body that is turned in its plane by an angle turns the phase of what it flips by twice that.
    """
    cos, sin = np.cos(2 * angle), np.sin(2 * angle)
    matrix = np.eye(4)
    matrix[2:, 2:] = [[cos, -sin], [sin, cos]]
    return np.asarray(matrix * light[None, :], np.float32)
