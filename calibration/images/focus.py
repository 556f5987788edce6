"""Where a mini-slide is in focus: the bounded search for a first plane, and the plane that follows its height and tilt.

Heights are stage z in um, places stage x and y in um; larger z brings the objective closer to the sample.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

HUBER = 1.5
"""Error, in standard deviations, beyond which a point counts ever less (Huber 1964)."""
CAUCHY = 2.4
"""Wander, in standard deviations, at which it is held back half as much (Cauchy's weights, 95 % efficient)."""
ITERATIONS = 8
ROUNDING_UM = 1e-6


@dataclass(frozen=True)
class ExposeSweep:
    """Planes to expose at `first_z_um + k * step_um`, upwards; answered by the sharpness of each."""

    first_z_um: float
    step_um: float
    planes: int

    @property
    def heights_um(self) -> tuple[float, ...]:
        """Stage z of every plane."""
        return tuple(self.first_z_um + k * self.step_um for k in range(self.planes))


@dataclass(frozen=True)
class FoundFocus:
    """What a search found: the sharpest height, and its sharpness over that of the median plane.

    `at_edge` : it is the lowest or highest height that could be searched, so focus may lie outside.
    """

    z_um: float
    contrast: float
    at_edge: bool


FocusSearch = Generator[ExposeSweep, Sequence[float], FoundFocus | None]


@dataclass(frozen=True)
class SearchBounds:
    """How a search goes: from `low_um` to `high_um` in `coarse_um`, then about the best plane in `fine_um`.

    `planes` is the most that one sweep may expose. `blank_contrast` is the least contrast of a field with objects.
    """

    low_um: float
    high_um: float
    coarse_um: float
    fine_um: float
    planes: int
    blank_contrast: float

    def __post_init__(self) -> None:
        if not (self.low_um <= self.high_um and self.coarse_um > 0 and self.fine_um > 0 and self.planes >= 1):
            raise ValueError(f"{self} cannot be searched; heights must be ordered, steps positive, planes at least 1")


def search_focus(bounds: SearchBounds) -> FocusSearch:
    """Find the sharpest height within bounds, coarse to fine; never asks for a plane outside them.

    A step generator: it yields the sweeps to expose, is sent the sharpness of their planes, and returns what it found,
    None for a blank field, whose planes do not differ.
    """
    heights, sharpness = yield from _expose(bounds, bounds.low_um, bounds.high_um, bounds.coarse_um)
    best = int(np.argmax(sharpness))
    contrast = contrast_of(sharpness)
    if not contrast >= bounds.blank_contrast:
        return None
    around = heights[best]
    low, high = max(bounds.low_um, around - bounds.coarse_um), min(bounds.high_um, around + bounds.coarse_um)
    if bounds.fine_um < bounds.coarse_um and high > low:
        heights, sharpness = yield from _expose(bounds, low, high, bounds.fine_um)
    z = peak(heights, sharpness)
    return FoundFocus(z, contrast, at_edge=min(z - bounds.low_um, bounds.high_um - z) < ROUNDING_UM)


def contrast_of(sharpness: Sequence[float] | Vector) -> float:
    """Sharpness of the best plane over that of the median plane; 1 where nothing is sharper than anything else."""
    median = float(np.median(sharpness))
    best = float(np.max(sharpness))
    if median <= 0:
        return math.inf if best > 0 else 1.0
    return best / median


def peak(heights_um: Sequence[float] | Vector, sharpness: Sequence[float] | Vector) -> float:
    """Height of greatest sharpness, by a parabola through the best plane and its equidistant neighbours."""
    best = int(np.argmax(sharpness))
    if best in (0, len(sharpness) - 1):
        return float(heights_um[best])
    below, here, above = (float(s) for s in sharpness[best - 1 : best + 2])
    curvature = below - 2 * here + above
    shift = 0.0 if curvature == 0 else 0.5 * (below - above) / curvature
    return float(heights_um[best]) + shift * float(heights_um[best + 1] - heights_um[best])


def _expose(
    bounds: SearchBounds, low_um: float, high_um: float, step_um: float
) -> Generator[ExposeSweep, Sequence[float], tuple[Vector, Vector]]:
    """Heights and sharpness from `low_um` upwards in sweeps of as many planes as are allowed."""
    count = 1 + math.floor((high_um - low_um) / step_um + ROUNDING_UM)
    first = low_um + ((high_um - low_um) - (count - 1) * step_um) / 2
    sharpness: list[float] = []
    while len(sharpness) < count:
        planes = min(bounds.planes, count - len(sharpness))
        answer = yield ExposeSweep(first + len(sharpness) * step_um, step_um, planes)
        if len(answer) != planes:
            raise ValueError(f"{len(answer)} values of sharpness answer a sweep of {planes} planes")
        sharpness.extend(answer)
    return first + step_um * np.arange(count, dtype=np.float64), np.asarray(sharpness, dtype=np.float64)


@dataclass(frozen=True)
class Plane:
    """Height of a mini-slide: a tilted plane that drifts from field to field, and how sure it is.

    `height_um` holds at `origin` (x, y in um, number of the field); `slopes` are um per um along x, um per um along y,
    and um per field; `covariance` is that of the four, shape (4, 4).
    """

    origin: tuple[float, float, float]
    height_um: float
    slopes: tuple[float, float, float]
    covariance: Vector

    def predict(self, x_um: float, y_um: float, field: float) -> float:
        """Height at a place when the field of that number is taken, um."""
        return self.height_um + float(np.dot(self.slopes, self._from_origin(x_um, y_um, field)))

    def uncertainty(self, x_um: float, y_um: float, field: float) -> float:
        """Return the standard deviation of the height at a place, um."""
        term = np.concatenate([[1.0], self._from_origin(x_um, y_um, field)])
        return float(np.sqrt(term @ self.covariance @ term))

    def _from_origin(self, x_um: float, y_um: float, field: float) -> Vector:
        return np.array([x_um, y_um, field]) - self.origin


@dataclass(frozen=True)
class Expected:
    """Standard deviations of what a mini-slide may do: its tilt, its drift, and the error of a single height."""

    tilt_um_per_mm: float
    drift_um_per_field: float
    noise_um: float


def fit_plane(points: Vector, expected: Expected) -> Plane:
    """Fit a plane to points that may be few, collinear, or partly wrong, on a mini-slide that drifts and may jump.

    Each point has a level of its own, z = level + slopes (x, y) + error, and the next level is this one + drift +
    wander. All are drawn towards 0 as strongly as expected, so that what the points do not tell (one point, or the tilt
    across a row) stays level. By iterated weights the error has Huber's tails, so that a wrong point has little force,
    and the wander Cauchy's, so that a jump of the whole mini-slide is followed and does not bend the plane.

    Parameters
    ----------
    points
        shape (N, 4): x, y and z in um, number of the field, never falling; N at least 1.
    expected
        all greater than 0.

    Returns
    -------
    Plane
        With the level of the last point.
    """
    count = len(points)
    origin = points[-1, [0, 1, 3]]
    base = float(np.median(points[:, 2]))
    tilt, drift, noise = expected.tilt_um_per_mm / 1e3, expected.drift_um_per_field, expected.noise_um
    fields = np.diff(points[:, 3])[:, None]
    # Unknowns: slopes along x and y, drift, levels. Rows: what is expected of the slopes, errors, wander.
    expectations = np.eye(3, 3 + count) / [[tilt], [tilt], [drift]]
    errors = np.hstack([points[:, :2] - origin[:2], np.zeros((count, 1)), np.eye(count)]) / noise
    wander = np.hstack([np.zeros((count - 1, 2)), -fields, np.diff(np.eye(count), axis=0)])
    wander /= drift * np.sqrt(np.maximum(fields, 1))
    terms = np.vstack([expectations, errors, wander])
    heights = np.zeros(len(terms))
    heights[3 : 3 + count] = (points[:, 2] - base) / noise
    weights = np.ones(len(terms))
    for _ in range(ITERATIONS):
        weighted = terms.T * weights
        information = weighted @ terms
        solution = np.linalg.solve(information, weighted @ heights)
        residuals = np.abs(heights - terms @ solution)
        weights[3 : 3 + count] = HUBER / np.maximum(residuals[3 : 3 + count], HUBER)
        weights[3 + count :] = 1 / (1 + (residuals[3 + count :] / CAUCHY) ** 2)
    shown = [len(solution) - 1, 0, 1, 2]
    return Plane(
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        height_um=base + float(solution[-1]),
        slopes=(float(solution[0]), float(solution[1]), float(solution[2])),
        covariance=np.asarray(np.linalg.inv(information)[np.ix_(shown, shown)], dtype=np.float64),
    )
